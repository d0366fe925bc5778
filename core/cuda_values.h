/* cuda_values: what products and convolutions on the GPU want around the library's call: operands in one
 * type, results added to what is there, sums over rows and over pictures. */
#ifndef LETHE_CUDA_VALUES_H
#define LETHE_CUDA_VALUES_H

#include "core/op.h"

/* A tensor's values in the type that is wanted: in place, as the parameter's kept copy, or converted into
 * scratch memory, which operand_close gives back. */
typedef struct Operand {
    const void *data;
    void *scratch;
} Operand;

C_BEGIN

Operand operand_open(OpCall *c, const Tensor *t, DType type); /* NULL: NULL */
void operand_close(OpCall *c, Operand *o);

/* A result on its way into a gradient: in the gradient's memory where that is to be overwritten and has the
 * type, else in scratch memory, from where result_close adds it. */
typedef struct Result {
    Tensor *to;
    DType type;
    bool fresh;
    void *data, *scratch;
} Result;
Result result_open(OpCall *c, Tensor *to, DType type, bool fresh);
void result_close(OpCall *c, Result *r);

/* sum[j] of x (rows, cols); sum[k] of x (batch, planes, places). Added, or put when fresh. */
void columns_sum(OpCall *c, DType type, const void *x, int64_t rows, int64_t cols, float *sum, bool fresh);
void planes_sum_cuda(const Tensor *x, float *sum, bool fresh);
/* x (batch, planes, ..) += shift[plane], f32. */
void planes_shift_cuda(const Tensor *x, const float *shift);

C_END

#endif
