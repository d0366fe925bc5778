/* conv2d: y = x * w + b; the sum is written out in core/conv.h.
 * x (B, C, H, W)  w (O, C / groups, k, l)  b (O) or absent  ->  y (B, O, H', W') in the step's compute type,
 * H' = (H + 2 pad - k) / stride + 1, rounded down.   i[0] = stride, i[1] = pad, i[2] = groups.
 * dx, dw: the same products, summed the other ways,  db = sum dy.   Backward reads x and w.
 * Patch embedding needs no convolution: see patchify. */
#include "core/conv.h"
#include "core/op/simd.h"
#include "core/ops.h"

static Conv conv_of(const OpCall *c) {
    const Tensor *x = c->in[0], *w = c->in[1];
    Conv v = {.batch = x->dim[0], .groups = c->i[2], .in = x->dim[1], .high = x->dim[2], .wide = x->dim[3]};
    v.out = w->dim[0], v.k_high = w->dim[2], v.k_wide = w->dim[3];
    v.stride = c->i[0], v.pad = c->i[1];
    v.high_out = (v.high + 2 * v.pad - v.k_high) / v.stride + 1;
    v.wide_out = (v.wide + 2 * v.pad - v.k_wide) / v.stride + 1;
    return v;
}

static void shape(OpCall *c) {
    const Tensor *x = c->in[0], *w = c->in[1], *b = c->in[2];
    if (x->ndim != 4 || w->ndim != 4 || w->dtype != DT_F32)
        op_die(c, "x (B, C, H, W) and an f32 w (O, C, k, l) are wanted");
    if (c->i[0] < 1 || c->i[1] < 0 || c->i[2] < 1)
        op_die(c, "stride and groups must be positive, pad not negative");
    if (x->dim[1] % c->i[2] || w->dim[0] % c->i[2] || w->dim[1] != x->dim[1] / c->i[2])
        op_die(c, "channels and groups do not fit");
    if (b && (tensor_count(b) != w->dim[0] || b->dtype != DT_F32))
        op_die(c, "b must have an f32 value a row of w");
    if (x->dim[2] + 2 * c->i[1] < w->dim[2] || x->dim[3] + 2 * c->i[1] < w->dim[3])
        op_die(c, "the picture is smaller than the window");
    Conv v = conv_of(c);
    int64_t dim[4] = {v.batch, v.out, v.high_out, v.wide_out};
    op_out(c, 0, c->step->compute, 4, dim);
}

static double flops(const OpCall *c, bool backward) {
    double once = 2.0 * (double)tensor_count(c->out[0]) * (double)(tensor_count(c->in[1]) / c->in[1]->dim[0]);
    return backward ? once * (c->in[0]->needs_grad + c->in[1]->needs_grad) : once;
}

static void forward_one(void *self, int64_t x, int64_t w, int64_t y) {
    OpCall *c = self;
    tensor_add(c->out[0], y, tensor_at(c->in[0], x) * tensor_at(c->in[1], w));
}

static void forward_ref(OpCall *c) {
    Conv v = conv_of(c);
    int64_t n = tensor_count(c->out[0]);
    for (int64_t i = 0; i < n; i++)
        tensor_put(c->out[0], i, c->in[2] ? tensor_at(c->in[2], i / (v.high_out * v.wide_out) % v.out) : 0);
    conv_walk(&v, forward_one, c);
}

static void backward_one(void *self, int64_t x, int64_t w, int64_t y) {
    OpCall *c = self;
    real g = tensor_at(c->out[0]->grad, y);
    Tensor *dx = op_grad(c, 0, NULL), *dw = op_grad(c, 1, NULL);
    if (dx) tensor_add(dx, x, g * tensor_at(c->in[1], w));
    if (dw) tensor_add(dw, w, g * tensor_at(c->in[0], x));
}

static void backward_ref(OpCall *c) {
    Conv v = conv_of(c);
    const Tensor *dy = c->out[0]->grad;
    Tensor *db = op_grad(c, 2, NULL);
    for (int64_t i = 0; db && i < tensor_count(dy); i++)
        tensor_add(db, i / (v.high_out * v.wide_out) % v.out, tensor_at(dy, i));
    conv_walk(&v, backward_one, c);
}

#ifndef LETHE_DOUBLE
static void forward_cpu(OpCall *c) {
    Conv v = conv_of(c);
    conv_forward(c->step, c->step->compute, &v, c->in[0], c->in[1], c->in[2], c->out[0]);
}

static void backward_cpu(OpCall *c) {
    Conv v = conv_of(c);
    const Tensor *dy = c->out[0]->grad;
    bool fresh;
    Tensor *db = op_grad(c, 2, NULL), *dw = op_grad(c, 1, &fresh);
    if (db) planes_sum(dy, tensor_real(db));
    if (dw) conv_weight(c->step, c->step->compute, &v, c->in[0], dy, dw, fresh);
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    Scope scope = scope_open(c->step);
    const Tensor *to = fresh ? dx : step_tensor(c->step, dx->dtype, dx->ndim, dx->dim);
    conv_data(c->step, c->step->compute, &v, c->in[1], dy, to);
    if (to != dx) tensor_accumulate(dx, to, false);
    scope_close(c->step, scope, NULL);
}
#endif

static const Probe probes[] = {
    {.about = "3 x 3, padded", .in = {{4, {2, 4, 6, 5}}, {4, {6, 4, 3, 3}}, {1, {6}}}, .i = {1, 1, 1}},
    {.about = "stride 2 that leaves a rest",
     .in = {{4, {2, 3, 8, 6}}, {4, {5, 3, 3, 3}}, {1, {5}}},
     .i = {2, 1, 1}},
    {.about = "1 x 1, no bias", .in = {{4, {2, 5, 4, 3}}, {4, {7, 5, 1, 1}}}, .i = {1, 0, 1}},
    {.about = "groups, not square, wide pad",
     .in = {{4, {2, 4, 5, 6}}, {4, {8, 2, 3, 2}}, {1, {8}}},
     .i = {1, 2, 2}},
    {.about = "depthwise, stride 2", .in = {{4, {2, 6, 7, 5}}, {4, {6, 1, 3, 3}}, {1, {6}}}, .i = {2, 1, 6}},
    {.about = "patches", .in = {{4, {2, 3, 8, 8}}, {4, {16, 3, 4, 4}}, {1, {16}}}, .i = {4, 0, 1}},
    {.about = "one place", .in = {{4, {1, 2, 3, 3}}, {4, {4, 2, 3, 3}}, {1, {4}}}, .i = {1, 0, 1}},
    {.about = "to one channel", .in = {{4, {2, 3, 5, 4}}, {4, {1, 3, 3, 2}}, {1, {1}}}, .i = {1, 1, 1}},
    {.about = "to one channel, wide pad", .in = {{4, {1, 2, 3, 2}}, {4, {1, 2, 3, 2}}}, .i = {1, 2, 1}},
    {.about = "frozen weight",
     .in = {{4, {1, 3, 4, 4}}, {4, {2, 3, 3, 3}, .constant = true}},
     .i = {1, 1, 1}},
    {.about = "the picture is no variable",
     .in = {{4, {1, 3, 4, 4}, .constant = true}, {4, {2, 3, 3, 3}}},
     .i = {1, 1, 1}},
};

const Op conv2d_row = {
    .name = "conv2d",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_cpu), ON_CUDA(conv2d_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_cpu), ON_CUDA(conv2d_backward_cuda)},
    .needs = NEED_IN(0) | NEED_IN(1),
    .flops = flops,
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_conv2d(Step *s, Tensor *x, Tensor *w, Tensor *b, int stride, int pad, int groups) {
    return op_run(s, &conv2d_row, &(OpCall){.in = {x, w, b}, .i = {stride, pad, groups}});
}
