/* cuda_gemm: C = A B on the GPU, by cuBLASLt, with what may be done to C on the way. The algorithm of a shape
 * is chosen at its first use and kept, descriptors and all: later calls allocate nothing and may be captured.
 * Sums are made in f32 and in an order that depends on nothing but the shape. f32 is multiplied as f32, not
 * as TF32. Main thread only. */
#ifndef LETHE_CUDA_GEMM_H
#define LETHE_CUDA_GEMM_H

#include "core/gemm.h"

/* All may be absent. */
typedef struct GemmMore {
    const void *bias; /* [c.cols], of c's type: C = A B + bias */
    bool gelu;        /* then C = gelu(C), in the tanh form */
    void *pre;        /* with gelu: C before it, of c's type and layout */
    void *row_sum;    /* [c.rows], of c's type: the sums of A's rows, overwritten */
} GemmMore;

C_BEGIN

/* a and b have one type, f32 or bf16, and in each of the three one stride is 1; c is f32 or bf16 (f32 with
 * f32 operands), its col is 1. With accumulate: C += A B, without bias and gelu. False, and nothing is done:
 * cuBLASLt has no kernel that does `more` in this shape. more may be NULL, and then the product is always
 * made. */
bool cuda_gemm(Mat a, Mat b, Mat c, const GemmMore *more, bool accumulate);

C_END

#endif
