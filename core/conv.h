/* conv: two-dimensional convolution (cross-correlation, as in all of deep learning) and its two adjoints.
 *
 * y[n, o, i, j] = sum over c, k, l of x[n, c, i stride + k - pad, j stride + l - pad] w[o, c, k, l], x being
 * 0 outside; with groups, o and c within the same group. x (batch, in, high, wide)  w (out, in / groups,
 * k_high, k_wide)  y (batch, out, high_out, wide_out). On the CPU conv_forward and conv_data are oneDNN's,
 * whose primitives are made at the first use of a shape and kept. To one output channel conv_forward is a
 * product of matrices (conv_thin); so is conv_weight: oneDNN's own sums over the batch depend on the number
 * of threads. */
#ifndef LETHE_CONV_H
#define LETHE_CONV_H

#include "core/step.h"

typedef struct Conv {
    int64_t batch, groups;
    int64_t in, high, wide;
    int64_t out, high_out, wide_out;
    int64_t k_high, k_wide, stride, pad;
} Conv;

C_BEGIN

/* Every product of the sum: each(self, place in x, place in w, place in y). For reference kernels. */
void conv_walk(const Conv *v, void (*each)(void *self, int64_t x, int64_t w, int64_t y), void *self);

/* x, y and dy, dx may be f32 or bf16, weights and bias (one value an output channel, or NULL) are f32. With
 * `compute` bf16 operands are rounded to bf16 first and summed in f32; where the processor does not know bf16
 * the work is done in f32. */
void conv_forward(Step *s, DType compute, const Conv *v, const Tensor *x, const Tensor *w, const Tensor *bias,
                  const Tensor *y);
void conv_data(Step *s, DType compute, const Conv *v, const Tensor *w, const Tensor *dy, const Tensor *dx);
/* Called by conv_forward where v->out, groups and stride are 1 and y is f32. */
void conv_thin(Step *s, DType compute, const Conv *v, const Tensor *x, const Tensor *w, const Tensor *bias,
               const Tensor *y);
/* dw = the gradient, or dw += it without `fresh`. */
void conv_weight(Step *s, DType compute, const Conv *v, const Tensor *x, const Tensor *dy, const Tensor *dw,
                 bool fresh);

C_END

#endif
