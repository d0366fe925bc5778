/* lira: the likelihood ratio attack. For each example, the logit confidences (measure_logit_confidence) of
 * shadow models that had it and of those that had not are taken for two normal distributions; a model under
 * attack is asked in which of them its own value lies.
 *
 * LiRA (Carlini et al. 2022) asks whether a model was trained on an example. U-LiRA (Hayes et al. 2024) asks
 * whether an unlearned model still shows it: "in" are then shadow models that were trained on the example and
 * unlearned it by the method under test, "out" those that never had it (and unlearned something else); the
 * numbers are the same. An attack per example as here, not one for the whole population, is what finds the
 * examples that a method fails on. */
#ifndef LETHE_UNLEARN_LIRA_H
#define LETHE_UNLEARN_LIRA_H

#include "core/base.h"

typedef struct LiraShadows {
    const double *phi; /* [models, examples] logit confidences */
    const uint8_t *in; /* [models, examples] 1: this model had this example */
    int64_t models, examples;
} LiraShadows;

typedef enum {
    LIRA_ONLINE, /* log N(phi; in) - log N(phi; out): above 0, "in" is the likelier */
    LIRA_OFFLINE /* (phi - mean) / spread under "out" alone: the paper's 1 - P(N > phi) in the same order, but
                    without its ties at 1. 0 is the middle of "out", not a boundary */
} LiraKind;

enum {
    LIRA_LEAST = 2, /* values of a kind that each example needs */
    LIRA_OWN = 32   /* from so many of a kind for every example, each has its own spread; below, all share the
                       pooled one, since a spread from few values is noise (Carlini et al. 2022) */
};
#define LIRA_LEAST_SPREAD 1e-6 /* where all values of an example are equal */

typedef struct LiraNote {
    int64_t least_in, least_out; /* of any example; least_in is of no matter offline */
    bool pooled;                 /* spreads were shared */
} LiraNote;

/* target [targets, examples]: values of the models under attack -> score, of that shape, higher for "in".
 * Refused: an example with fewer than LIRA_LEAST values of a kind that is needed. `note` may be NULL.
 * roc_measure tells what the scores are worth, with roc_balanced_accuracy at 0 for the online kind. */
bool lira_score(double *score, const LiraShadows *s, const double *target, int64_t targets, LiraKind kind,
                LiraNote *note, Error *e);

/* N(in) / (N(in) + N(out)) of an online score: the probability of "in" where both were as likely before. */
double lira_probability(double score);

#endif
