/* scale: y = factor x + shift, by two constants.
 * x (any)  ->  y like x.   f[0] = factor, f[1] = shift.   dx = factor dy.   Backward reads nothing. */
#include "core/ops.h"

static void shape(OpCall *c) {
    if (c->in[0]->dtype != DT_F32 && c->in[0]->dtype != DT_BF16) op_die(c, "f32 or bf16 is wanted");
    op_out_like(c, 0, c->in[0]);
}

static void forward_ref(OpCall *c) {
    const Tensor *x = c->in[0], *y = c->out[0];
    int64_t n = tensor_count(x);
    real factor = (real)c->f[0], shift = (real)c->f[1];
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) tensor_put(y, i, factor * tensor_at(x, i) + shift);
}

static void backward_ref(OpCall *c) {
    const Tensor *dy = c->out[0]->grad;
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    int64_t n = tensor_count(dx);
    real factor = (real)c->f[0];
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        real g = factor * tensor_at(dy, i);
        tensor_put(dx, i, fresh ? g : tensor_at(dx, i) + g);
    }
}

static const Probe probes[] = {
    {.about = "both", .in = {{2, {3, 5}}}, .f = {-2.5, 0.75}},
    {.about = "factor alone", .in = {{3, {2, 3, 4}}}, .f = {0.5}},
    {.about = "shift alone", .in = {{1, {6}}}, .f = {1, 2}},
};

const Op scale_row = {
    .name = "scale",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(scale_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_ref), ON_CUDA(scale_backward_cuda)},
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_scale(Step *s, Tensor *x, double factor, double shift) {
    return op_run(s, &scale_row, &(OpCall){.in = {x}, .f = {factor, shift}});
}
