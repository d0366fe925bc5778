/* svc: membership inference by a support vector classifier, as the code of Jia et al. 2023 (Unlearn-Sparse)
 * and Fan et al. 2024 (SalUn) does it, and as papers since report under "MIA": one feature a sample; an RBF
 * classifier (C = 3, gamma = 1 / columns, libsvm's defaults) learns to tell retained from test samples and is
 * asked about the forgotten ones. MIA-efficacy is the percentage of them that it takes for never seen. The
 * figure is read beside a retrained model's, which is not 100.
 *
 * Their code takes the first |test| retained samples, of a shuffled set, and all test samples, and does not
 * ask whether there are that many retained: the classifier then leans to the larger side. Here it is
 * min(|retained|, |test|) of both, evenly spread over each, since sets come class by class here.
 *
 * Time is quadratic: 10 000 + 10 000 samples and 5 000 forgotten take a few seconds (tests/test_audit_stats.c
 * prints how many). libsvm's messages are silenced, for the whole process. */
#ifndef LETHE_UNLEARN_SVC_H
#define LETHE_UNLEARN_SVC_H

#include "unlearn/measures.h"

enum { SVC_MOST = 100000 }; /* samples of one kind */

typedef enum {
    SVC_CONFIDENCE,       /* p_y: what papers report */
    SVC_CORRECTNESS,      /* 1 if the first of the largest p is p_y */
    SVC_ENTROPY,          /* measure_entropy */
    SVC_MODIFIED_ENTROPY, /* measure_modified_entropy */
    SVC_PROBABILITY,      /* all of p: `classes` columns */
    SVC_FEATURES
} SvcFeature;

const char *svc_feature_name(SvcFeature f); /* "confidence" */

typedef struct SvcPoints {
    const double *x; /* [n, columns]; the columns are svc_attack's */
    int64_t n;
} SvcPoints;

typedef struct SvcResult {
    double efficacy; /* percent of the forgotten that are taken for never seen */
    double shadow;   /* percent of the samples learnt from that are told right: near 50, the classifier could
                        not tell them apart, and efficacy says little */
    int64_t each;    /* samples of either kind that were learnt from */
} SvcResult;

/* On features already at hand. All three need a sample at least; none may have more than SVC_MOST. Where no
 * two samples differ, every answer is the same: shadow is 50 and efficacy 0 or 100. */
bool svc_attack(SvcResult *out, SvcPoints retained, SvcPoints test, SvcPoints forgotten, int columns,
                Error *e);

/* On a feature of one model's outputs; all three with labels and of as many classes. */
bool svc_membership(SvcResult *out, SvcFeature feature, const Predictions *retained, const Predictions *test,
                    const Predictions *forgotten, Error *e);

#endif
