/* cosine: cosines between vectors, by ops that have derivatives. */
#ifndef LETHE_UNLEARN_COSINE_H
#define LETHE_UNLEARN_COSINE_H

#include "core/step.h"

/* x [B, D], to [B, D] f32 off the tape -> [B] f32: the cosine of each row of x with that row of `to`. */
Tensor *cosine_of(Step *s, Tensor *x, Tensor *to);

/* Rows of `x` [n, d] scaled to length 1 in place; rows of zeros stay. */
void cosine_unit(real *x, int64_t n, int64_t d);

#endif
