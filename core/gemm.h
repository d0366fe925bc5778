/* gemm: C = A B, or C += A B, on the CPU, by oneDNN. Primitives are made at the first use of a shape and
 * kept, each thread its own; later calls find them. */
#ifndef LETHE_GEMM_H
#define LETHE_GEMM_H

#include "core/step.h"

/* A matrix as it is multiplied: rows x cols, element (i, j) at data[i * row + j * col]. */
typedef struct Mat {
    void *data;
    DType dtype;
    int64_t rows, cols, row, col;
} Mat;

static inline Mat mat(const Tensor *t, int64_t rows, int64_t cols) {
    return (Mat){t->data, t->dtype, rows, cols, cols, 1};
}
static inline Mat mat_transposed(Mat m) {
    return (Mat){m.data, m.dtype, m.cols, m.rows, m.col, m.row};
}

/* c (f32 or bf16) = a b + bias. a and b may be f32 or bf16; with `compute` bf16 both are rounded to bf16
 * first and products are summed in f32. bias: f32 [c.cols] or NULL. With accumulate (f32 c, no bias): c += a
 * b. */
void gemm(Step *s, DType compute, Mat a, Mat b, Mat c, const float *bias, bool accumulate);

/* True where the processor multiplies bf16 natively (AVX512-BF16 or AMX); elsewhere gemm still works in bf16,
 * through f32. */
bool gemm_bf16_native(void);

/* For `lethe bench`: how fast the same products run alone. gemm_count_reset starts counting; gemm_measure
 * then runs every shape that was asked for since, `times` times each, on its own, and returns FLOP/s over all
 * of them in the mix of the count (median time of each shape); *flops is the FLOP of that mix. */
void gemm_count_reset(void);
double gemm_measure(Step *s, int times, double *flops);

#endif
