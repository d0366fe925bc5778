/* declare: the layers that SAM's parts are made of, by the names PyTorch gives them, with PyTorch's initial
 * values (U(-k, k), k = 1 / sqrt(inputs of an output), for weights and biases alike). */
#ifndef LETHE_SEGMENT_DECLARE_H
#define LETHE_SEGMENT_DECLARE_H

#include "core/params.h"

/* PREFIX.weight [out, in] and PREFIX.bias [out]; `prefix` is built by the format. b may be NULL: has none. */
void declare_linear(Params *p, Tensor **w, Tensor **b, int64_t out, int64_t in, const char *format, ...)
    PRINTF_LIKE(6, 7);
/* weight and bias [n], 1 and 0 */
void declare_norm(Params *p, Tensor **w, Tensor **b, int64_t n, const char *format, ...) PRINTF_LIKE(5, 6);
/* weight [out, in, k, k] (grouped: `in` of one group) */
void declare_conv(Params *p, Tensor **w, Tensor **b, int64_t out, int64_t in, int64_t k, const char *format,
                  ...) PRINTF_LIKE(7, 8);
/* weight [in, out, 2, 2], of a transposed convolution that doubles the sides */
void declare_up(Params *p, Tensor **w, Tensor **b, int64_t in, int64_t out, const char *format, ...)
    PRINTF_LIKE(6, 7);
/* PREFIX.weight [rows, cols], N(0, 1): torch's Embedding */
Tensor *declare_embedding(Params *p, int64_t rows, int64_t cols, const char *format, ...) PRINTF_LIKE(4, 5);

#endif
