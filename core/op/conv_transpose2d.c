/* conv_transpose2d: the adjoint of conv2d, plus b: y[n, o, i stride + k - pad, j stride + l - pad] gathers
 * x[n, c, i, j] w[c, o, k, l].
 * x (B, C, H, W)  w (C, O / groups, k, l)  b (O) or absent  ->  y (B, O, H', W') in the step's compute type,
 * H' = (H - 1) stride - 2 pad + k + extra.   i[0] = stride, i[1] = pad, i[2] = groups, i[3] = extra, less
 * than stride: which of the sizes that conv2d would shrink to H is meant (torch's output_padding). So y is
 * the picture and x the result of the convolution with this w:  dx = dy * w,  dw = that of conv2d with the
 * two changed about,  db = sum dy.   Backward reads x and w. */
#include "core/conv.h"
#include "core/op/simd.h"
#include "core/ops.h"

/* The convolution that leads from y to x. */
static Conv conv_of(const OpCall *c) {
    const Tensor *x = c->in[0], *w = c->in[1];
    Conv v = {.batch = x->dim[0],
              .groups = c->i[2],
              .out = x->dim[1],
              .high_out = x->dim[2],
              .wide_out = x->dim[3]};
    v.in = w->dim[1] * v.groups, v.k_high = w->dim[2], v.k_wide = w->dim[3];
    v.stride = c->i[0], v.pad = c->i[1];
    v.high = (v.high_out - 1) * v.stride - 2 * v.pad + v.k_high + c->i[3];
    v.wide = (v.wide_out - 1) * v.stride - 2 * v.pad + v.k_wide + c->i[3];
    return v;
}

static void shape(OpCall *c) {
    const Tensor *x = c->in[0], *w = c->in[1], *b = c->in[2];
    if (x->ndim != 4 || w->ndim != 4 || w->dtype != DT_F32)
        op_die(c, "x (B, C, H, W) and an f32 w (C, O, k, l) are wanted");
    if (c->i[0] < 1 || c->i[1] < 0 || c->i[2] < 1)
        op_die(c, "stride and groups must be positive, pad not negative");
    if (c->i[3] < 0 || c->i[3] >= c->i[0]) op_die(c, "the extra rows must be fewer than the stride");
    if (w->dim[0] != x->dim[1] || x->dim[1] % c->i[2]) op_die(c, "channels and groups do not fit");
    Conv v = conv_of(c);
    if (b && (tensor_count(b) != v.in || b->dtype != DT_F32)) op_die(c, "b must have an f32 value a channel");
    if (v.high < 1 || v.wide < 1) op_die(c, "nothing is left of the picture");
    int64_t dim[4] = {v.batch, v.in, v.high, v.wide};
    op_out(c, 0, c->step->compute, 4, dim);
}

static double flops(const OpCall *c, bool backward) {
    double once = 2.0 * (double)tensor_count(c->in[0]) * (double)(tensor_count(c->in[1]) / c->in[1]->dim[0]);
    return backward ? once * (c->in[0]->needs_grad + c->in[1]->needs_grad) : once;
}

static void forward_one(void *self, int64_t y, int64_t w, int64_t x) {
    OpCall *c = self;
    tensor_add(c->out[0], y, tensor_at(c->in[0], x) * tensor_at(c->in[1], w));
}

static void forward_ref(OpCall *c) {
    Conv v = conv_of(c);
    int64_t n = tensor_count(c->out[0]);
    for (int64_t i = 0; i < n; i++)
        tensor_put(c->out[0], i, c->in[2] ? tensor_at(c->in[2], i / (v.high * v.wide) % v.in) : 0);
    conv_walk(&v, forward_one, c);
}

static void backward_one(void *self, int64_t y, int64_t w, int64_t x) {
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
        tensor_add(db, i / (v.high * v.wide) % v.in, tensor_at(dy, i));
    conv_walk(&v, backward_one, c);
}

#ifndef LETHE_DOUBLE
static void forward_cpu(OpCall *c) {
    Conv v = conv_of(c);
    conv_data(c->step, c->step->compute, &v, c->in[1], c->in[0], c->out[0]);
    if (c->in[2]) planes_shift(c->out[0], tensor_real(c->in[2]));
}

static void backward_cpu(OpCall *c) {
    Conv v = conv_of(c);
    const Tensor *dy = c->out[0]->grad;
    bool fresh;
    Tensor *db = op_grad(c, 2, NULL), *dw = op_grad(c, 1, &fresh);
    if (db) planes_sum(dy, tensor_real(db));
    if (dw) conv_weight(c->step, c->step->compute, &v, dy, c->in[0], dw, fresh);
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    Scope scope = scope_open(c->step);
    const Tensor *to = fresh ? dx : step_tensor(c->step, dx->dtype, dx->ndim, dx->dim);
    conv_forward(c->step, c->step->compute, &v, dy, c->in[1], NULL, to);
    if (to != dx) tensor_accumulate(dx, to, false);
    scope_close(c->step, scope, NULL);
}
#endif

static const Probe probes[] = {
    {.about = "twice the size", .in = {{4, {2, 4, 3, 5}}, {4, {4, 3, 2, 2}}, {1, {3}}}, .i = {2, 0, 1, 0}},
    {.about = "overlapping, groups",
     .in = {{4, {1, 4, 4, 3}}, {4, {4, 3, 3, 3}}, {1, {6}}},
     .i = {2, 1, 2, 0}},
    {.about = "extra row and column, no bias",
     .in = {{4, {2, 3, 4, 4}}, {4, {3, 2, 3, 3}}},
     .i = {2, 1, 1, 1}},
    {.about = "stride 1, not square",
     .in = {{4, {1, 2, 4, 5}}, {4, {2, 5, 3, 2}}, {1, {5}}},
     .i = {1, 0, 1, 0}},
    {.about = "depthwise", .in = {{4, {2, 4, 3, 3}}, {4, {4, 1, 4, 4}}, {1, {4}}}, .i = {2, 1, 4, 0}},
    {.about = "frozen weight",
     .in = {{4, {1, 2, 3, 3}}, {4, {2, 3, 2, 2}, .constant = true}},
     .i = {2, 0, 1, 0}},
};

const Op conv_transpose2d_row = {
    .name = "conv_transpose2d",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_cpu), ON_CUDA(conv_transpose2d_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_cpu), ON_CUDA(conv_transpose2d_backward_cuda)},
    .needs = NEED_IN(0) | NEED_IN(1),
    .flops = flops,
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_conv_transpose2d(Step *s, Tensor *x, Tensor *w, Tensor *b, int stride, int pad, int extra,
                            int groups) {
    return op_run(s, &conv_transpose2d_row, &(OpCall){.in = {x, w, b}, .i = {stride, pad, groups, extra}});
}
