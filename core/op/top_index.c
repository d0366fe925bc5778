/* top_index: where the k foremost elements of each row are.
 * x (N, P) f32  ->  y (N, k) i32: the indices of the k least values of m, in ascending order of index.
 * i[0] = kind, i[1] = k:   m = x (least), -x (greatest) or |x| (nearest to zero).
 * Of equal values those of lower index come first; a NaN counts as infinity. No derivative. */
#include "core/ops.h"

#include <math.h>
#include <string.h>

static void shape(OpCall *c) {
    const Tensor *x = c->in[0];
    if (x->ndim != 2 || x->dtype != DT_F32) op_die(c, "x (N, P) in f32 is wanted");
    if (c->i[1] < 1 || c->i[1] > x->dim[1]) op_die(c, "k must be in 1 .. P");
    int64_t dim[2] = {x->dim[0], c->i[1]};
    op_out(c, 0, DT_I32, 2, dim);
}

static real measure(int64_t kind, real x) {
    if (x != x) return INFINITY;
    if (kind == TOP_LEAST) return x;
    return kind == TOP_GREATEST || x < 0 ? -x : x;
}

/* By the definition: an element is taken if fewer than k come before it. */
static void forward_ref(OpCall *c) {
    int64_t rows = c->in[0]->dim[0], n = c->in[0]->dim[1], k = c->i[1];
    for (int64_t r = 0; r < rows; r++) {
        const real *x = tensor_real(c->in[0]) + r * n;
        int32_t *y = tensor_i32(c->out[0]) + r * k;
        for (int64_t i = 0; i < n; i++) {
            real mine = measure(c->i[0], x[i]);
            int64_t before = 0;
            for (int64_t j = 0; j < n; j++) {
                real other = measure(c->i[0], x[j]);
                before += other < mine || (other == mine && j < i);
            }
            if (before < k) *y++ = (int32_t)i;
        }
    }
}

/* ---- CPU: the k-th value, found digit by digit, then one walk in order ---- */

#ifndef LETHE_DOUBLE
enum { DIGIT = 11, DIGITS = 1 << DIGIT };

/* Whole numbers in the order of m. */
static uint32_t key_of(int64_t kind, float x) {
    float m = measure(kind, x) + 0.0F; /* -0 becomes 0 */
    uint32_t u;
    memcpy(&u, &m, sizeof u);
    return u >> 31 ? ~u : u | 0x80000000U;
}

/* The k-th least key of a row; *ties gets how many of the keys equal to it are among the first k. */
static uint32_t threshold_of(int64_t kind, const float *x, int64_t n, int64_t k, int64_t *ties) {
    uint32_t found = 0;
    for (int shift = 32 - DIGIT; shift > -DIGIT; shift -= DIGIT) {
        int low = shift < 0 ? 0 : shift, width = DIGIT + shift - low; /* of this digit */
        uint32_t count[DIGITS] = {0}, digit = 0;
        for (int64_t i = 0; i < n; i++) {
            uint32_t key = key_of(kind, x[i]);
            if ((uint64_t)key >> (low + width) == (uint64_t)found >> (low + width))
                count[key >> low & ((1U << width) - 1)]++;
        }
        while (count[digit] < k) k -= count[digit++];
        found |= digit << low;
    }
    *ties = k;
    return found;
}

static void forward_cpu(OpCall *c) {
    int64_t rows = c->in[0]->dim[0], n = c->in[0]->dim[1], k = c->i[1];
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const float *x = tensor_real(c->in[0]) + r * n;
        int32_t *y = tensor_i32(c->out[0]) + r * k;
        int64_t ties;
        uint32_t last = threshold_of(c->i[0], x, n, k, &ties);
        for (int64_t i = 0; i < n; i++) {
            uint32_t key = key_of(c->i[0], x[i]);
            if (key < last || (key == last && ties-- > 0)) *y++ = (int32_t)i;
        }
    }
}
#endif

/* ---- the row ---- */

static const Probe probes[] = {
    {.about = "least", .in = {{2, {3, 40}}}, .i = {TOP_LEAST, 7}},
    {.about = "greatest", .in = {{2, {3, 40}}}, .i = {TOP_GREATEST, 13}},
    {.about = "nearest to zero", .in = {{2, {3, 40}}}, .i = {TOP_NEAR_ZERO, 9}},
    {.about = "all", .in = {{2, {2, 5}}}, .i = {TOP_LEAST, 5}},
    {.about = "all the same", .in = {{2, {2, 70}, 2, 2}}, .i = {TOP_GREATEST, 33}},
};

const Op top_index_row = {
    .name = "top_index",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_cpu), ON_CUDA(top_index_forward_cuda)},
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_top_index(Step *s, Tensor *x, TopKind kind, int64_t k) {
    return op_run(s, &top_index_row, &(OpCall){.in = {x}, .i = {kind, k}});
}
