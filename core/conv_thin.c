/* Convolution to one channel. oneDNN computes output channels sixteen at a time; here a product of matrices
 * gives each tap of the kernel its plane, and the planes are added, each moved by its tap. */
#include "core/conv.h"

#ifndef LETHE_DOUBLE
#include "core/gemm.h"

/* Row i of y, which begins with `bias`, from the planes [k_high k_wide, high wide] of one picture. */
static void row_add(const Conv *v, const float *plane, float bias, int64_t i, float *y) {
    for (int64_t j = 0; j < v->wide_out; j++) y[j] = bias;
    for (int64_t k = 0; k < v->k_high; k++) {
        int64_t row = i + k - v->pad;
        if (row < 0 || row >= v->high) continue;
        for (int64_t l = 0; l < v->k_wide; l++) {
            const float *x = plane + ((k * v->k_wide + l) * v->high + row) * v->wide;
            int64_t move = l - v->pad, from = move < 0 ? -move : 0, to = v->wide - move;
            if (to > v->wide_out) to = v->wide_out;
#pragma omp simd
            for (int64_t j = from; j < to; j++) y[j] += x[j + move];
        }
    }
}

void conv_thin(Step *s, DType compute, const Conv *v, const Tensor *x, const Tensor *w, const Tensor *bias,
               const Tensor *y) {
    int64_t taps = v->k_high * v->k_wide, places = v->high * v->wide;
    Scope scope = scope_open(s);
    Tensor *plane = step_tensor(s, DT_F32, 2, (int64_t[]){taps, places});
    const float *from = tensor_real(plane), begin = bias ? tensor_real(bias)[0] : 0;
    for (int64_t n = 0; n < v->batch; n++) {
        Mat picture = mat(x, v->in, places);
        picture.data = (char *)x->data + (size_t)(n * v->in * places) * dtype_size(x->dtype);
        gemm(s, compute, mat_transposed(mat(w, v->in, taps)), picture, mat(plane, taps, places), NULL, false);
        float *to = tensor_real(y) + n * v->high_out * v->wide_out;
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < v->high_out; i++) row_add(v, from, begin, i, to + i * v->wide_out);
    }
    scope_close(s, scope, NULL);
}
#endif
