/* measures: numbers that papers on unlearning report of a model's outputs and accuracies. Logarithms are
 * natural, accuracies are shares 0 .. 1.
 *
 * Functions of one row take what they are given; those that return bool check it (finite, probabilities that
 * sum to 1, labels within the classes) and say in an Error what is wrong. */
#ifndef LETHE_UNLEARN_MEASURES_H
#define LETHE_UNLEARN_MEASURES_H

#include "core/base.h"

/* What a classifier said about n samples. */
typedef struct Predictions {
    const double *prob;   /* [n, classes], a row sums to 1 within 1e-3 */
    const int32_t *label; /* [n], the true class; NULL where nobody asks */
    int64_t n;            /* > 0 */
    int classes;          /* > 1 */
} Predictions;

/* `what` begins the message ("forgotten samples"). `labels`: they must be there. */
bool predictions_check(const char *what, const Predictions *p, bool labels, Error *e);

/* ---------------------------------------------------------------------------------------- one sample --- */

/* logit [classes] -> prob [classes]; may be the same memory. */
void measure_softmax(const double *logit, int classes, double *prob);
/* -sum p log p: 0 .. log(classes). */
double measure_entropy(const double *prob, int classes);
/* -(1 - p_y) log p_y - sum over the others of p log(1 - p), each log's argument at least 1e-30; Song and
 * Mittal 2021. 0 for the right class with certainty. (What SalUn's code computes under this name differs: it
 * writes log p for log(1 - p), and every sample's label into every row.) */
double measure_modified_entropy(const double *prob, int classes, int label);
/* log p_y - log of the sum of the others' p, from logits: the logit of the confidence, near normal over
 * models trained anew; Carlini et al. 2022. Exact for any finite logits: where public code adds 1e-45 to both
 * sums, and so stops at +-103, this goes on. */
double measure_logit_confidence(const double *logit, int classes, int label);
/* Jensen-Shannon divergence of two distributions, 0 .. log 2. */
double measure_js(const double *p, const double *q, int classes);

/* -------------------------------------------------------------------------------------- many samples --- */

/* measure_logit_confidence of each row of logit [n, classes] -> out [n]. */
bool measure_logit_confidences(double *out, const double *logit, const int32_t *label, int64_t n, int classes,
                               Error *e);
/* Zero-retrain forgetting: 1 - mean JS(unlearned || an untrained network) over the same samples; Chundawat et
 * al. 2023, in the paper's form (the public code divides by the number of classes once more and
 * swaps the arguments). 1 - log 2 .. 1; the target is a retrained model's value, not 1. */
bool measure_zrf(double *out, const Predictions *unlearned, const Predictions *untrained, Error *e);
/* Mean over samples of the Euclidean distance of the two models' probabilities; Golatkar et al. 2021. */
bool measure_activation_distance(double *out, const Predictions *unlearned, const Predictions *retrained,
                                 Error *e);

/* ------------------------------------------------------------------------------------- of accuracies --- */

typedef enum {
    AUS_CLASS,  /* whole classes are forgotten: their accuracy should be 0 */
    AUS_SAMPLES /* samples are: their accuracy should be that of test samples */
} AusKind;

/* Adaptive unlearning score (1 - (test before - test)) / (1 + d) with d the forgotten samples' distance from
 * where they should be; Cotogni et al. 2023 (DUCK). `before`, `test`: test accuracy (of retained
 * classes) of the original and of the unlearned model. 1 is perfect; can exceed 1 where test rose. */
bool measure_aus(double *out, AusKind kind, double before, double test, double forgotten, Error *e);
/* Mean |method - retrained| over n figures of one unit, each already a mean over seeds; with UA, RA, TA and
 * MIA in percent it is the average gap of Fan et al. 2024 (SalUn). */
bool measure_average_gap(double *out, const double *method, const double *retrained, int n, Error *e);
/* Tug of war: the product of 1 - |method - retrained| over the accuracies on forgotten, retained and test
 * samples; Zhao et al. 2024. 0 .. 1. */
bool measure_tow(double *out, const double method[3], const double retrained[3], Error *e);

#endif
