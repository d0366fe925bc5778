/* along: a loss whose value, and whose gradient by a tensor of the tape, are known already: worked out on the
 * host (a distance to a class), or over all ranks (a sum that couples the samples of a batch). */
#ifndef LETHE_UNLEARN_ALONG_H
#define LETHE_UNLEARN_ALONG_H

#include "core/step.h"

/* x, f32 or bf16, and gradient[count of x], which is copied -> a scalar: `value`, and d scalar / d x =
 * gradient. */
Tensor *loss_along(Step *s, Tensor *x, const real *gradient, double value);

#endif
