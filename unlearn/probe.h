/* probe: can what was forgotten still be read off? From features by a linear probe (do they tell the
 * forgotten people apart?), from losses by the attack of the NeurIPS 2023 challenge's starting kit (do they
 * tell forgotten samples from never seen ones?). Both are logistic regressions, judged on samples that they
 * did not learn from. */
#ifndef LETHE_UNLEARN_PROBE_H
#define LETHE_UNLEARN_PROBE_H

#include "unlearn/interval.h"
#include "unlearn/logistic.h"

typedef struct ProbeResult {
    Interval accuracy; /* share of all n samples told right by the fit that had not seen them; Wilson, 95 % */
    double chance;     /* share of the commonest class */
    int classes;
    bool converged; /* every fit did */
} ProbeResult;

/* Cross-validated accuracy of a linear probe. x [n, columns] features, label [n] any numbers; the classes are
 * those that occur, of each two samples at least. 2 .. n folds; features are standardised, if at all, by
 * what each fit learns from. */
bool probe_features(ProbeResult *out, const double *x, const int32_t *label, int64_t n, int columns,
                    int folds, const LogisticSettings *settings, uint64_t seed, Error *e);

enum { PROBE_SPLITS = 10, PROBE_LEAST = 10 };

typedef struct ProbeLosses {
    double accuracy; /* mean over the splits; 0.5 is a coin */
    double spread;   /* standard deviation over them */
    int64_t each;    /* samples of either kind that took part */
} ProbeLosses;

/* Loss-based membership attack: as many forgotten as unseen samples (of the larger side a part is drawn), ten
 * times cut into nine tenths to learn from and one to be judged by, the same number of both kinds in each; an
 * unstandardised regression with l2 = 1 on the loss alone. PROBE_LEAST losses of each kind, at least. */
bool probe_losses(ProbeLosses *out, const double *forgotten, int64_t n, const double *unseen, int64_t m,
                  uint64_t seed, Error *e);

#endif
