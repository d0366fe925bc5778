/* pool2d: the maximum or the mean of each window of a picture.
 * x (B, C, H, W)  ->  y (B, C, H', W') like x, H' = (H + 2 pad - size) / stride + 1, rounded down.
 * i[0] = which, i[1] = size, i[2] = stride, i[3] = pad (at most size / 2).
 * The mean counts the padding as zeros (torch's default); the maximum does not see it and takes the first of
 * equals. d max: dy goes to the element that was taken; d mean: dy / size^2 to each.
 * Backward reads the saved places of the maxima. */
#include "core/ops.h"

#include <math.h>

static void shape(OpCall *c) {
    const Tensor *x = c->in[0];
    int64_t size = c->i[1], stride = c->i[2], pad = c->i[3];
    if (x->ndim != 4 || size < 1 || stride < 1 || pad < 0 || pad > size / 2)
        op_die(c, "x (B, C, H, W), a positive size and stride and a pad of at most half the size are wanted");
    int64_t dim[4] = {x->dim[0], x->dim[1], (x->dim[2] + 2 * pad - size) / stride + 1,
                      (x->dim[3] + 2 * pad - size) / stride + 1};
    if (x->dim[2] + 2 * pad < size || x->dim[3] + 2 * pad < size) op_die(c, "the picture is too small");
    op_out(c, 0, x->dtype, 4, dim);
    if (c->i[0] == POOL_MAX) op_save(c, 0, DT_I32, 4, dim);
}

/* The part of a window that lies inside the picture: rows top .. bottom - 1, columns left .. right - 1. */
typedef struct Window {
    int64_t top, bottom, left, right;
} Window;

static Window window_of(const OpCall *c, int64_t row, int64_t col) {
    int64_t size = c->i[1], high = c->in[0]->dim[2], wide = c->in[0]->dim[3];
    int64_t top = row * c->i[2] - c->i[3], left = col * c->i[2] - c->i[3];
    Window w = {top, top + size, left, left + size};
    if (w.top < 0) w.top = 0;
    if (w.left < 0) w.left = 0;
    if (w.bottom > high) w.bottom = high;
    if (w.right > wide) w.right = wide;
    return w;
}

static void forward_ref(OpCall *c) {
    const Tensor *x = c->in[0], *y = c->out[0];
    int64_t planes = x->dim[0] * x->dim[1], each = x->dim[2] * x->dim[3], wide = x->dim[3];
    int64_t high_out = y->dim[2], wide_out = y->dim[3];
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < planes; p++)
        for (int64_t i = 0; i < high_out * wide_out; i++) {
            Window w = window_of(c, i / wide_out, i % wide_out);
            int64_t best = w.top * wide + w.left;
            real sum = 0;
            for (int64_t r = w.top; r < w.bottom; r++)
                for (int64_t q = w.left; q < w.right; q++) {
                    real v = tensor_at(x, p * each + r * wide + q);
                    sum += v;
                    if (!(v <= tensor_at(x, p * each + best))) best = r * wide + q; /* a NaN is taken */
                }
            int64_t at = p * high_out * wide_out + i;
            if (c->save[0]) tensor_i32(c->save[0])[at] = (int32_t)best;
            tensor_put(y, at, c->save[0] ? tensor_at(x, p * each + best) : sum / (real)(c->i[1] * c->i[1]));
        }
}

static void backward_ref(OpCall *c) {
    const Tensor *dy = c->out[0]->grad;
    Tensor *dx = op_grad(c, 0, NULL);
    if (!dx) return;
    int64_t planes = dx->dim[0] * dx->dim[1], each = dx->dim[2] * dx->dim[3], wide = dx->dim[3];
    int64_t high_out = dy->dim[2], wide_out = dy->dim[3];
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < planes; p++)
        for (int64_t i = 0; i < high_out * wide_out; i++) {
            int64_t at = p * high_out * wide_out + i;
            real g = tensor_at(dy, at);
            if (c->save[0]) {
                tensor_add(dx, p * each + tensor_i32(c->save[0])[at], g);
                continue;
            }
            Window w = window_of(c, i / wide_out, i % wide_out);
            for (int64_t r = w.top; r < w.bottom; r++)
                for (int64_t q = w.left; q < w.right; q++)
                    tensor_add(dx, p * each + r * wide + q, g / (real)(c->i[1] * c->i[1]));
        }
}

static const Probe probes[] = {
    {.about = "maximum of 3, stride 2, pad 1", .in = {{4, {2, 3, 7, 6}}}, .i = {POOL_MAX, 3, 2, 1}},
    {.about = "maximum of 2", .in = {{4, {1, 2, 4, 6}}}, .i = {POOL_MAX, 2, 2, 0}},
    {.about = "maximum, all below 0", .in = {{4, {1, 2, 5, 5}, -2, -1}}, .i = {POOL_MAX, 3, 1, 1}},
    {.about = "mean of 2", .in = {{4, {2, 3, 5, 6}}}, .i = {POOL_MEAN, 2, 2, 0}},
    {.about = "mean of 3, overlapping, padded", .in = {{4, {1, 2, 5, 4}}}, .i = {POOL_MEAN, 3, 2, 1}},
};

const Op pool2d_row = {
    .name = "pool2d",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(pool2d_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_ref), ON_CUDA(pool2d_backward_cuda)},
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_pool2d(Step *s, Tensor *x, PoolKind kind, int size, int stride, int pad) {
    return op_run(s, &pool2d_row, &(OpCall){.in = {x}, .i = {kind, size, stride, pad}});
}
