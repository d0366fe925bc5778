/* softmax: y_j = exp(x_j) / sum_k exp(x_k) over the last axis, computed from x - max x.
 * x (.., D)  ->  y like x.   dx = y (dy - sum_k dy_k y_k).   Backward reads y. */
#include "core/op/simd.h"
#include "core/ops.h"

#include <math.h>
#include <omp.h>

static void shape(OpCall *c) {
    if (c->in[0]->dtype != DT_F32 && c->in[0]->dtype != DT_BF16) op_die(c, "f32 or bf16 is wanted");
    op_out_like(c, 0, c->in[0]);
}

static void forward_ref(OpCall *c) {
    const Tensor *x = c->in[0];
    int64_t d = tensor_last(x), rows = tensor_rows(x);
    for (int64_t r = 0; r < rows; r++) {
        double top = -INFINITY, sum = 0;
        for (int64_t j = 0; j < d; j++) top = fmax(top, (double)tensor_at(x, r * d + j));
        for (int64_t j = 0; j < d; j++) sum += exp((double)tensor_at(x, r * d + j) - top);
        for (int64_t j = 0; j < d; j++)
            tensor_put(c->out[0], r * d + j, (real)(exp((double)tensor_at(x, r * d + j) - top) / sum));
    }
}

static void backward_ref(OpCall *c) {
    const Tensor *y = c->out[0], *dy = y->grad;
    Tensor *dx = op_grad(c, 0, NULL);
    int64_t d = tensor_last(y), rows = tensor_rows(y);
    for (int64_t r = 0; dx && r < rows; r++) {
        real dot = 0;
        for (int64_t j = 0; j < d; j++) dot += tensor_at(dy, r * d + j) * tensor_at(y, r * d + j);
        for (int64_t j = 0; j < d; j++)
            tensor_add(dx, r * d + j, tensor_at(y, r * d + j) * (tensor_at(dy, r * d + j) - dot));
    }
}

#ifndef LETHE_DOUBLE
static void forward_cpu(OpCall *c) {
    const Tensor *x = c->in[0];
    int64_t d = tensor_last(x), rows = tensor_rows(x);
    float *scratch = op_scratch(c, (size_t)omp_get_max_threads() * (size_t)d * 2 * sizeof(float));
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        float *room = scratch + (int64_t)omp_get_thread_num() * 2 * d;
        const float *xr = row_load(x, r, d, room);
        float *yr = row_room(c->out[0], r, d, room + d), top = xr[0], sum = 0;
#pragma omp simd reduction(max : top)
        for (int64_t j = 0; j < d; j++) top = xr[j] > top ? xr[j] : top;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < d; j++) {
            yr[j] = fast_exp(xr[j] - top);
            sum += yr[j];
        }
        float inverse = 1.0f / sum;
#pragma omp simd
        for (int64_t j = 0; j < d; j++) yr[j] *= inverse;
        row_store(c->out[0], r, d, yr);
    }
    op_scratch_free(c, scratch);
}

static void backward_cpu(OpCall *c) {
    const Tensor *y = c->out[0], *dy = y->grad;
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    int64_t d = tensor_last(y), rows = tensor_rows(y);
    float *scratch = op_scratch(c, (size_t)omp_get_max_threads() * (size_t)d * 3 * sizeof(float));
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        float *room = scratch + (int64_t)omp_get_thread_num() * 3 * d, dot = 0;
        const float *yr = row_load(y, r, d, room), *gr = row_load(dy, r, d, room + d);
#pragma omp simd reduction(+ : dot)
        for (int64_t j = 0; j < d; j++) dot += gr[j] * yr[j];
        float *out = row_room(dx, r, d, room + 2 * d);
        if (fresh) {
#pragma omp simd
            for (int64_t j = 0; j < d; j++) out[j] = yr[j] * (gr[j] - dot);
        } else {
            const float *old = row_load(dx, r, d, room + 2 * d);
#pragma omp simd
            for (int64_t j = 0; j < d; j++) out[j] = old[j] + yr[j] * (gr[j] - dot);
        }
        row_store(dx, r, d, out);
    }
    op_scratch_free(c, scratch);
}
#endif

static const Probe probes[] = {
    {.about = "rows", .in = {{3, {2, 3, 7}, -4, 4}}},
    {.about = "wide", .in = {{2, {3, 70}, -4, 4}}},
    {.about = "large values", .in = {{2, {4, 5}, 990, 1000}}},
    {.about = "one column", .in = {{2, {4, 1}}}},
};

const Op softmax_row = {
    .name = "softmax",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_cpu), ON_CUDA(softmax_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_cpu), ON_CUDA(softmax_backward_cuda)},
    .needs = NEED_OUT(0),
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_softmax(Step *s, Tensor *x) {
    return op_run(s, &softmax_row, &(OpCall){.in = {x}});
}
