/* roc: how well a score tells positives (members) from negatives, over all thresholds. Samples of equal score
 * stand or fall together, so no order among ties can flatter an attack. */
#ifndef LETHE_UNLEARN_ROC_H
#define LETHE_UNLEARN_ROC_H

#include "core/base.h"

enum { ROC_RATES = 3 };
extern const double roc_rate[ROC_RATES]; /* 0.001, 0.01, 0.1 */

typedef struct Roc {
    double auc;            /* area under the curve; a tie counts half: 0.5 says nothing */
    double tpr[ROC_RATES]; /* the largest true positive rate at a false positive rate of at most roc_rate[i],
                              no point of the curve being made up between two; with fewer than 1 / roc_rate[i]
                              negatives that allows none at all */
    double best;           /* the largest balanced accuracy of any threshold: chosen after the fact, so above
                              0.5 even for noise */
    int64_t positives, negatives;
} Roc;

/* score [n], positive [n] (0 or 1); a higher score means positive. Needs one of each. */
bool roc_measure(Roc *out, const double *score, const uint8_t *positive, int64_t n, Error *e);

/* Mean of true positive and true negative rate where score > threshold is called positive. */
bool roc_balanced_accuracy(double *out, const double *score, const uint8_t *positive, int64_t n,
                           double threshold, Error *e);

#endif
