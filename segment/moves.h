/* moves: between tokens and pictures: what SAM's parts do to pass tensors to one another. */
#ifndef LETHE_SEGMENT_MOVES_H
#define LETHE_SEGMENT_MOVES_H

#include "core/step.h"

Tensor *picture_of(Step *s, Tensor *x, int64_t grid); /* [B, g g, D] -> [B, D, g, g] */
Tensor *tokens_of(Step *s, Tensor *x);                /* [B, D, g, g] -> [B, g g, D] */

#endif
