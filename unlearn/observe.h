/* observe: what a model says about each sample of a set, under the same conditions every time: not augmented,
 * not training, masks that never change. Audits are made of it. */
#ifndef LETHE_UNLEARN_OBSERVE_H
#define LETHE_UNLEARN_OBSERVE_H

#include "unlearn/unlearn.h"

typedef struct Observed {
    int64_t n;
    int64_t *id;
    int32_t *label, *identity;
    double *loss;    /* [n] the task's own */
    int classes;     /* 0: the model has none, and the next two are NULL */
    double *logit;   /* [n, classes] */
    double *prob;    /* [n, classes] */
    int columns;     /* of the features; 0: not asked for */
    double *feature; /* [n, columns] */
} Observed;

/* `most` > 0: so many of the samples, evenly spread over the set. Every rank sees all of them. */
bool observe(Observed *out, Unlearn *u, UnlearnSet set, int64_t most, bool features, Error *e);
void observed_close(Observed *o); /* a zeroed one is fine */

#endif
