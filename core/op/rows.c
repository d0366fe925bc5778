#include "core/op/simd.h"

#ifndef LETHE_DOUBLE

#include <string.h>

enum { STRIPES = 16, STRIP = 1024 };

/* Stripes of rows are summed by themselves, then in order: the same sum for any number of threads. */
void columns_add(OpCall *c, const Tensor *t, int64_t rows, int64_t cols, float *sum) {
    float *scratch = op_scratch(c, (size_t)STRIPES * (size_t)cols * 2 * sizeof(float));
#pragma omp parallel for schedule(static, 1)
    for (int64_t stripe = 0; stripe < STRIPES; stripe++) {
        float *part = scratch + stripe * 2 * cols, *room = part + cols;
        memset(part, 0, (size_t)cols * sizeof(float));
        for (int64_t r = rows * stripe / STRIPES; r < rows * (stripe + 1) / STRIPES; r++) {
            const float *row = row_load(t, r, cols, room);
#pragma omp simd
            for (int64_t j = 0; j < cols; j++) part[j] += row[j];
        }
    }
    for (int64_t stripe = 0; stripe < STRIPES; stripe++)
        for (int64_t j = 0; j < cols; j++) sum[j] += scratch[stripe * 2 * cols + j];
    op_scratch_free(c, scratch);
}

void planes_shift(const Tensor *t, const float *shift) {
    int64_t planes = t->dim[0] * t->dim[1], each = tensor_count(t) / planes;
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < planes; p++) {
        float by = shift[p % t->dim[1]];
        for (int64_t i = p * each; i < (p + 1) * each; i++) tensor_add(t, i, by);
    }
}

void planes_sum(const Tensor *t, float *sum) {
    int64_t channels = t->dim[1], each = tensor_count(t) / (t->dim[0] * channels);
#pragma omp parallel for schedule(static)
    for (int64_t ch = 0; ch < channels; ch++) {
        double all = 0;
        for (int64_t b = 0; b < t->dim[0]; b++) {
            int64_t at = (b * channels + ch) * each;
#pragma omp simd reduction(+ : all)
            for (int64_t i = at; i < at + each; i++) all += (double)tensor_at(t, i);
        }
        sum[ch] += (float)all;
    }
}

void tensor_accumulate(const Tensor *to, const Tensor *from, bool fresh) {
    int64_t total = tensor_count(to), strips = (total + STRIP - 1) / STRIP;
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < strips; p++) {
        float room_a[STRIP], room_b[STRIP], out[STRIP];
        int64_t at = p * STRIP, n = total - at < STRIP ? total - at : STRIP;
        const float *b = tensor_strip(from, at, n, room_b);
        if (fresh) {
            tensor_strip_put(to, at, n, b);
            continue;
        }
        const float *a = tensor_strip(to, at, n, room_a);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) out[i] = a[i] + b[i];
        tensor_strip_put(to, at, n, out);
    }
}

#else

void tensor_accumulate(const Tensor *to, const Tensor *from, bool fresh) {
    int64_t n = tensor_count(to);
    for (int64_t i = 0; i < n; i++)
        tensor_real(to)[i] = (fresh ? 0 : tensor_real(to)[i]) + tensor_real(from)[i];
}

#endif
