/* embed: the representations of a whole set by the model as it stands, each image as it is, in the memory of
 * every rank. */
#ifndef LETHE_UNLEARN_EMBED_H
#define LETHE_UNLEARN_EMBED_H

#include "unlearn/unlearn.h"

typedef struct Embeddings {
    int64_t n, d;
    float *e;       /* [n][d] TaskClass.features */
    int32_t *label; /* [n] -1: none */
    int64_t *id;    /* [n] */
} Embeddings;

/* Collective. n may be less than the set has: images that cannot be read are left out. An error if it is 0.
 */
bool embed_set(Unlearn *u, UnlearnSet set, Embeddings *out, Error *e);
void embed_close(Embeddings *x); /* a zeroed one is fine */

/* Features of a batch by the model as it stands: f32 [B, D] in the step, off the tape, not training. */
Tensor *embed_batch(Unlearn *u, const Batch *b);

#endif
