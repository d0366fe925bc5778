/* audit: what a model still shows of forgotten samples. The same figures are measured of the model before, of
 * the one after, and, where there is one, of a reference that was trained without them; what counts is how
 * near the second comes to the third (Triantafillou et al. 2024; Fan et al. 2024), not how bad it looks by
 * itself. */
#ifndef LETHE_UNLEARN_AUDIT_H
#define LETHE_UNLEARN_AUDIT_H

#include "unlearn/interval.h"
#include "unlearn/observe.h"

#define AUDIT_FIELDS(X)                                                                                      \
    X(INT, relearn_steps, "audit.relearn_steps", "100", 0, 1e6, "",                                          \
      "relearning: updates at most; 0: not tried")                                                           \
    X(INT, relearn_every, "audit.relearn_every", "5", 1, 1e6, "", "relearning: updates between two looks")   \
    X(REAL, relearn_lr, "audit.relearn_lr", "1e-4", 0, 10, "", "relearning: AdamW's learning rate")          \
    X(REAL, relearn_margin, "audit.relearn_margin", "5", 0, 100, "",                                         \
      "relearning: done this many percent below the score of before")                                        \
    X(REAL, relearn_few, "audit.relearn_few", "0.1", 0, 1, "",                                               \
      "relearning on forgotten samples: this share of them, one at least")                                   \
    X(BOOL, quantise, "audit.quantise", "true", 0, 0, "", "measure again with weights of 8 and 4 bits")      \
    X(BOOL, probe, "audit.probe", "true", 0, 0, "", "linear probe of the features")                          \
    X(INT, probe_folds, "audit.probe_folds", "5", 2, 100, "", "parts of its cross-validation")               \
    X(INT, most, "audit.most", "10000", 10, 1e7, "", "samples of a set that attacks look at")
typedef struct AuditSettings {
    RECIPE_MEMBERS(AUDIT_FIELDS)
} AuditSettings;
extern const RecipeTable audit_table;

/* key, short name, unit, what it is */
#define AUDIT_FIGURES(X)                                                                                     \
    X(ua, "UA", "%", "forgotten samples that the model judges wrong (unlearn accuracy)")                     \
    X(ra, "RA", "%", "retained samples that it judges right")                                                \
    X(ta, "TA", "%", "unseen samples, of classes that stay, that it judges right")                           \
    X(ka, "KA", "%", "unseen samples of what was forgotten whole that it judges right")                      \
    X(mia, "MIA", "%", "forgotten samples that a membership attack takes for never seen (SVC, confidence)")  \
    X(mia_correctness, "MIA, correctness", "%", "the same attack by whether the class is right")             \
    X(mia_entropy, "MIA, entropy", "%", "the same by the entropy of the classes")                            \
    X(mia_modified, "MIA, m-entropy", "%", "the same by Song and Mittal's modified entropy")                 \
    X(mia_probability, "MIA, probabilities", "%", "the same by all classes' probabilities")                  \
    X(auc, "AUC", "", "area under the curve of telling forgotten from unseen samples by their loss")         \
    X(tpr, "TPR at 1 % FPR", "%",                                                                            \
      "forgotten samples found by loss when one unseen sample in 100 is accused")                            \
    X(loss_attack, "loss attack", "%",                                                                       \
      "pairs of forgotten and unseen samples told apart by their loss; 50: a coin")                          \
    X(zrf, "ZRF", "", "likeness to an untrained model on forgotten samples (zero retrain forgetting)")       \
    X(probe, "probe", "%", "a linear probe's accuracy in telling the forgotten apart by their features")     \
    X(chance, "probe's chance", "%", "the same by guessing the commonest")                                   \
    X(relearn, "relearning", "updates",                                                                      \
      "updates on retained samples until the forgotten are known as before")                                 \
    X(relearn_few, "relearning, few", "updates",                                                             \
      "updates on a few of the forgotten until all are known as before")                                     \
    X(ua_int8, "UA, 8 bits", "%", "UA with weights of 8 bits")                                               \
    X(ra_int8, "RA, 8 bits", "%", "RA with weights of 8 bits")                                               \
    X(mia_int8, "MIA, 8 bits", "%", "MIA with weights of 8 bits")                                            \
    X(ua_int4, "UA, 4 bits", "%", "UA with weights of 4 bits")                                               \
    X(ra_int4, "RA, 4 bits", "%", "RA with weights of 4 bits")                                               \
    X(mia_int4, "MIA, 4 bits", "%", "MIA with weights of 4 bits")                                            \
    X(moved, "moved", "%", "distance of the weights from those before, of their length")                     \
    X(gap, "gap", "points", "mean distance of UA, RA, TA and MIA from the reference (average gap)")          \
    X(aus, "AUS", "", "adaptive unlearning score: 1 where test accuracy stays and forgetting is right")      \
    X(tow, "ToW", "", "tug of war: 1 where UA, RA and TA are the reference's")                               \
    X(ks, "KS p", "", "forget quality: p-value that both models' confidences on the forgotten are alike")    \
    X(js, "JS", "", "distance of their histograms (0: alike)")                                               \
    X(activation, "activation", "", "mean distance of both models' outputs on the forgotten")                \
    X(lira_auc, "U-LiRA AUC", "", "per-example attack with shadow models; 0.5: nothing found")               \
    X(lira_tpr, "U-LiRA TPR", "%", "found by it when one in 100 is accused")                                 \
    X(seconds, "time", "s", "what unlearning took")                                                          \
    X(rte, "time ratio", "%", "of what retraining took")                                                     \
    X(work, "work ratio", "%", "samples that went forward and backward, of those of retraining")

#define AUDIT_ENUM(key, name, unit, about) FIGURE_##key,
typedef enum { AUDIT_FIGURES(AUDIT_ENUM) FIGURES } Figure;
#undef AUDIT_ENUM

typedef struct FigureRow {
    const char *key, *name, *unit, *about;
} FigureRow;
extern const FigureRow figure_row[FIGURES];

/* The unit of a figure of an audit whose score is a share, or a loss: UA and its kin are then the loss
 * itself. */
const char *figure_unit(Figure f, bool share);

/* How the forgotten come back: the score after each look. */
enum { AUDIT_CURVE = 128 };
typedef struct AuditCurve {
    int n;
    double step[AUDIT_CURVE], score[AUDIT_CURVE];
    bool reached;
} AuditCurve;

typedef struct Audit {
    Interval figure[FIGURES]; /* value NAN: not measured; lo, hi NAN: no interval is known; audit_beyond */
    const char *score;        /* what UA, RA and TA go by: "top1", "miou_box", "loss" */
    bool share;               /* UA is 100 - score and RA the score; else all are the score itself (a loss) */
    Observed forget, retain, test, kin;
    AuditCurve retained, few; /* relearning */
} Audit;

/* A figure that is more than `value`, by nobody knows how much: what was tried ended there. lo is NAN. */
Interval audit_beyond(double value);
bool audit_is_beyond(const Interval *i);

/* Between these two, what is drawn for a sample, masks and prompts, is the same whatever the model, before or
 * after, and whatever its seed. */
typedef struct AuditDraws {
    uint64_t seed, step;
} AuditDraws;
AuditDraws audit_draws_fix(Unlearn *u);
void audit_draws_back(Unlearn *u, AuditDraws own);

/* Of the weights in u->task, which come back unchanged. `before`: of the model before, for what relearning
 * has to reach (NULL: this is it). Collective. */
bool audit_measure(Audit *a, Unlearn *u, const AuditSettings *set, const Audit *before, Error *e);
void audit_close(Audit *a); /* a zeroed one is fine */

/* Fills in what `a` says in the light of the model before and, if not NULL, of a reference. */
bool audit_compare(Audit *a, const Unlearn *u, const Audit *before, const Audit *reference, Error *e);

/* The mean distance of UA, RA, TA and MIA, of those that both have; NAN where there are none. Losses have no
 * points: theirs is in percent of the other's. `share`: the score is no loss. */
bool audit_gap(double *out, const Interval *mine, const Interval *other, bool share, Error *e);

/* Means with Student's intervals over n audits of the same, one a seed; n = 1: as it is. Where one is beyond
 * what was tried, so is the mean. */
bool audit_average(Interval out[FIGURES], const Audit *const *list, int n, Error *e);

/* {"ua": {"value": .., "lo": .., "hi": ..}, "relearn": {"value": 100, "at_least": true}, ..}: what was
 * measured, as compact JSON. False if it does not fit. */
bool audit_json(const Interval figure[FIGURES], char *out, size_t size);

/* for unlearn/audit_relearn.c */
bool audit_relearn(Audit *a, Unlearn *u, const AuditSettings *set, const Audit *before, Error *e);

#endif
