#include "core/conv.h"

#ifndef LETHE_DOUBLE

#include "core/gemm.h"

/* Rows of patches multiplied at once: few enough that gemm sums them in one order on any number of threads.
 */
enum { ROWS = 1024 };

/* Row r of `patches` is the patch under place r of y, row r of `grads` what y's channels have there. */
static void gather(const Conv *v, const Tensor *x, const Tensor *dy, int64_t first, int64_t rows,
                   const Tensor *patches, const Tensor *grads) {
    int64_t places = v->high_out * v->wide_out, taps = v->in * v->k_high * v->k_wide;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        int64_t n = (first + r) / places, place = (first + r) % places;
        int64_t top = place / v->wide_out * v->stride - v->pad,
                left = place % v->wide_out * v->stride - v->pad;
        for (int64_t o = 0; o < v->out; o++)
            tensor_put(grads, r * v->out + o, tensor_at(dy, (n * v->out + o) * places + place));
        for (int64_t run = 0; run < v->in * v->k_high; run++) { /* k_wide neighbours of one row of x */
            int64_t c = run / v->k_high, row = top + run % v->k_high, to = r * taps + run * v->k_wide;
            int64_t from = ((n * v->in + c) * v->high + row) * v->wide + left;
            for (int64_t k = 0; k < v->k_wide; k++) {
                bool inside = row >= 0 && row < v->high && left + k >= 0 && left + k < v->wide;
                tensor_put(patches, to + k, inside ? tensor_at(x, from + k) : 0);
            }
        }
    }
}

static void weight_whole(Step *s, DType compute, const Conv *v, const Tensor *x, const Tensor *dy,
                         const Tensor *dw, bool fresh) {
    int64_t total = v->batch * v->high_out * v->wide_out, taps = v->in * v->k_high * v->k_wide;
    int64_t rows = total < ROWS ? total : ROWS, wide[2] = {rows, taps}, narrow[2] = {rows, v->out};
    Scope scope = scope_open(s);
    Tensor *patches = step_tensor(s, compute, 2, wide), *grads = step_tensor(s, compute, 2, narrow);
    for (int64_t first = 0; first < total; first += ROWS) {
        int64_t n = total - first < ROWS ? total - first : ROWS;
        gather(v, x, dy, first, n, patches, grads);
        gemm(s, compute, mat_transposed(mat(grads, n, v->out)), mat(patches, n, taps), mat(dw, v->out, taps),
             NULL, first > 0 || !fresh);
    }
    scope_close(s, scope, NULL);
}

/* One element of dw: its x and dy planes, shifted against each other. */
static double weight_one(const Conv *v, const Tensor *x, const Tensor *dy, int64_t o, int64_t c, int64_t row,
                         int64_t col) {
    double sum = 0;
    int64_t left = 0, right = v->wide_out; /* columns of y whose partner lies inside x */
    while (left < right && left * v->stride + col < 0) left++;
    while (right > left && (right - 1) * v->stride + col >= v->wide) right--;
    for (int64_t n = 0; n < v->batch; n++)
        for (int64_t i = 0; i < v->high_out; i++) {
            int64_t r = i * v->stride + row;
            if (r < 0 || r >= v->high) continue;
            int64_t x_at = ((n * v->in + c) * v->high + r) * v->wide + col;
            int64_t y_at = ((n * v->out + o) * v->high_out + i) * v->wide_out;
            float line = 0;
#pragma omp simd reduction(+ : line)
            for (int64_t j = left; j < right; j++)
                line += tensor_at(x, x_at + j * v->stride) * tensor_at(dy, y_at + j);
            sum += (double)line;
        }
    return sum;
}

/* Groups are narrow (depthwise: one channel), too small for products of matrices. */
static void weight_groups(const Conv *v, const Tensor *x, const Tensor *dy, const Tensor *dw, bool fresh) {
    int64_t in = v->in / v->groups, out = v->out / v->groups, window = v->k_high * v->k_wide;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < v->out * in * window; i++) {
        int64_t o = i / (in * window), c = o / out * in + i / window % in;
        double sum = weight_one(v, x, dy, o, c, i / v->k_wide % v->k_high - v->pad, i % v->k_wide - v->pad);
        tensor_real(dw)[i] = (fresh ? 0 : tensor_real(dw)[i]) + (float)sum;
    }
}

void conv_weight(Step *s, DType compute, const Conv *v, const Tensor *x, const Tensor *dy, const Tensor *dw,
                 bool fresh) {
    if (v->groups > 1)
        weight_groups(v, x, dy, dw, fresh);
    else
        weight_whole(s, gemm_bf16_native() ? compute : DT_F32, v, x, dy, dw, fresh);
}

#endif
