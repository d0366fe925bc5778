/* point_loss: loss = (1 / n) sum_i w_i e(x_i, t_i) over all n elements.
 * x (.., D)  target like x, f32  weight f32, one an element or one a row, or absent (all 1)  ->  loss (1).
 * i[0] = e, with u = x - t:
 *   L1           |u|
 *   smooth L1    u^2 / (2 beta) where |u| < beta, else |u| - beta / 2;  f[0] = beta (Girshick 2015; 0: L1)
 *   BCE          max(x, 0) - x t + log(1 + exp(-|x|)): cross entropy of the logit x with the probability t
 * As torch's losses with reduction "mean". dx = dloss w_i e'(x_i, t_i) / n, with 0 at the kink of |u|.
 * Only x has a derivative.   Backward reads x, target and weight. */
#include "core/ops.h"

#include <math.h>

enum { STRIPES = 16 }; /* summed each by itself, then in order: the same sum for any number of threads */

static void shape(OpCall *c) {
    const Tensor *x = c->in[0], *t = c->in[1], *w = c->in[2];
    int64_t one = 1;
    if (!tensor_same_shape(x, t) || t->dtype != DT_F32)
        op_die(c, "x and an f32 target of one shape are wanted");
    if (w &&
        (w->dtype != DT_F32 || (tensor_count(w) != tensor_count(x) && tensor_count(w) != tensor_rows(x))))
        op_die(c, "f32 weights are wanted, one an element or one a row");
    if (c->f[0] < 0) op_die(c, "beta must not be negative");
    op_out(c, 0, DT_F32, 1, &one);
}

static double weight(const OpCall *c, int64_t i) {
    const Tensor *w = c->in[2];
    if (!w) return 1;
    return (double)tensor_real(w)[tensor_count(w) == tensor_count(c->in[0]) ? i : i / tensor_last(c->in[0])];
}

static double value(const OpCall *c, double x, double t) {
    double far = fabs(x - t), beta = c->f[0];
    if (c->i[0] == LOSS_BCE) return fmax(x, 0) - x * t + log1p(exp(-fabs(x)));
    if (c->i[0] == LOSS_L1 || far >= beta) return far - (c->i[0] == LOSS_L1 ? 0 : beta / 2);
    return far * far / (2 * beta);
}

static double slope(const OpCall *c, double x, double t) {
    double u = x - t, beta = c->f[0];
    if (c->i[0] == LOSS_BCE) return 1 / (1 + exp(-x)) - t;
    if (c->i[0] == LOSS_L1 || fabs(u) >= beta) return u > 0 ? 1 : u < 0 ? -1 : 0;
    return u / beta;
}

static void forward_ref(OpCall *c) {
    int64_t n = tensor_count(c->in[0]);
    double part[STRIPES] = {0}, sum = 0;
#pragma omp parallel for schedule(static, 1)
    for (int64_t p = 0; p < STRIPES; p++)
        for (int64_t i = n * p / STRIPES; i < n * (p + 1) / STRIPES; i++)
            part[p] +=
                weight(c, i) * value(c, (double)tensor_at(c->in[0], i), (double)tensor_real(c->in[1])[i]);
    for (int p = 0; p < STRIPES; p++) sum += part[p];
    tensor_real(c->out[0])[0] = (real)(sum / (double)n);
}

static void backward_ref(OpCall *c) {
    const Tensor *x = c->in[0], *t = c->in[1];
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    int64_t n = tensor_count(x);
    double scale = (double)tensor_real(c->out[0]->grad)[0] / (double)n;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        real g = (real)(scale * weight(c, i) * slope(c, (double)tensor_at(x, i), (double)tensor_real(t)[i]));
        tensor_put(dx, i, fresh ? g : tensor_at(dx, i) + g);
    }
}

static const Probe probes[] = {
    {.about = "l1 away from its kink",
     .in = {{2, {4, 5}, 0.1, 1}, {2, {4, 5}, -1, 0, .constant = true}},
     .i = {LOSS_L1}},
    {.about = "l1, weighted rows",
     .in = {{2, {4, 5}, 0.1, 1}, {2, {4, 5}, -1, 0, .constant = true}, {1, {4}, 0, 2, .constant = true}},
     .i = {LOSS_L1}},
    {.about = "smooth l1",
     .in = {{2, {4, 9}}, {2, {4, 9}, .constant = true}},
     .f = {0.5},
     .i = {LOSS_SMOOTH_L1}},
    {.about = "bce", .in = {{2, {4, 5}, -4, 4}, {2, {4, 5}, 0, 1, .constant = true}}, .i = {LOSS_BCE}},
    {.about = "bce, weighted elements",
     .in = {{2, {3, 4}, -30, 30}, {2, {3, 4}, 0, 1, .constant = true}, {2, {3, 4}, 0, 2, .constant = true}},
     .i = {LOSS_BCE}},
};

const Op point_loss_row = {
    .name = "point_loss",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(point_loss_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_ref), ON_CUDA(point_loss_backward_cuda)},
    .needs = NEED_IN(0) | NEED_IN(1) | NEED_IN(2),
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_point_loss(Step *s, Tensor *x, Tensor *target, Tensor *weights, PointLoss kind, double beta) {
    return op_run(s, &point_loss_row, &(OpCall){.in = {x, target, weights}, .f = {beta}, .i = {kind}});
}
