/* mse: loss = sum_r w_r e_r / sum_r w_r, with e_r = mean over the last axis of (x - target)^2 of row r.
 * x (.., D)  target (.., D) f32  weight (..) f32 or absent (all 1)  ->  loss (1), each (..) = e_r.
 * MAE's loss with weight = mask, 1 where a patch was hidden (He et al. 2021, 3).
 * dx = dloss * 2 (x - target) w_r / (D sum w).   Only the loss has a derivative; each is a reading.
 * Backward reads x, target, weight and the saved sum of weights. */
#include "core/op/simd.h"
#include "core/ops.h"

static void shape(OpCall *c) {
    const Tensor *x = c->in[0], *t = c->in[1], *w = c->in[2];
    int64_t one = 1;
    if (!tensor_same_shape(x, t) || t->dtype != DT_F32)
        op_die(c, "x and an f32 target of one shape are wanted");
    if (w && (tensor_count(w) != tensor_rows(x) || w->dtype != DT_F32))
        op_die(c, "one f32 weight a row is wanted");
    op_out(c, 0, DT_F32, 1, &one);
    op_out(c, 1, DT_F32, x->ndim - 1, x->dim);
    op_save(c, 0, DT_F32, 1, &one);
}

static void forward_ref(OpCall *c) {
    const Tensor *x = c->in[0], *t = c->in[1];
    int64_t rows = tensor_rows(x), d = tensor_last(x);
    real *each = tensor_real(c->out[1]);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        real sum = 0;
        for (int64_t j = 0; j < d; j++) {
            real u = tensor_at(x, r * d + j) - tensor_real(t)[r * d + j];
            sum += u * u;
        }
        each[r] = sum / (real)d;
    }
    double sum = 0, weights = 0;
    for (int64_t r = 0; r < rows; r++) {
        double w = c->in[2] ? (double)tensor_real(c->in[2])[r] : 1;
        sum += w * (double)each[r];
        weights += w;
    }
    tensor_real(c->save[0])[0] = (real)weights;
    tensor_real(c->out[0])[0] = weights > 0 ? (real)(sum / weights) : 0;
}

static void backward_ref(OpCall *c) {
    const Tensor *x = c->in[0], *t = c->in[1];
    int64_t rows = tensor_rows(x), d = tensor_last(x);
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    real weights = tensor_real(c->save[0])[0];
    real scale = weights > 0 ? 2 * tensor_real(c->out[0]->grad)[0] / ((real)d * weights) : 0;
    if (!dx) return;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        real w = scale * (c->in[2] ? tensor_real(c->in[2])[r] : 1);
        for (int64_t j = 0; j < d; j++) {
            int64_t at = r * d + j;
            real g = w * (tensor_at(x, at) - tensor_real(t)[at]);
            tensor_put(dx, at, fresh ? g : tensor_at(dx, at) + g);
        }
    }
}

static const Probe probes[] = {
    {.about = "plain", .in = {{2, {3, 4}}, {2, {3, 4}, .constant = true}}},
    {.about = "weighted",
     .in = {{3, {2, 3, 5}}, {3, {2, 3, 5}, .constant = true}, {2, {2, 3}, 0, 1, .constant = true}}},
};

const Op mse_row = {
    .name = "mse",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(mse_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_ref), ON_CUDA(mse_backward_cuda)},
    .needs = NEED_IN(0) | NEED_IN(1) | NEED_IN(2),
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_mse(Step *s, Tensor *x, Tensor *target, Tensor *weight, Tensor **each) {
    OpCall c = {.in = {x, target, weight}};
    op_run(s, &mse_row, &c);
    if (each) *each = c.out[1];
    return c.out[0];
}
