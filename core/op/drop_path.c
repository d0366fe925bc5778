/* drop_path: y_b = x_b k_b / (1 - rate), k_b = 1 with probability 1 - rate, else 0, a draw a sample.
 * x (B, ..)  ->  y like x.   f[0] = rate, i[0] = a number that tells draws of one step apart.
 * Stochastic depth (Huang et al. 2016) as timm has it: k = floor(1 - rate + u). The draw is keyed by seed,
 * step, sample id and i[0]: the same on any number of ranks, and again when a segment is recomputed.
 * dx_b = dy_b k_b / (1 - rate).   Backward reads nothing. */
#include "core/op/simd.h"
#include "core/ops.h"

#include <math.h>

static void shape(OpCall *c) {
    if (c->f[0] < 0 || c->f[0] >= 1) op_die(c, "the rate must lie in 0 .. 1");
    op_out_like(c, 0, c->in[0]);
}

static float factor(const OpCall *c, int64_t b) {
    const Step *s = c->step;
    uint64_t sample = (uint64_t)(s->sample ? s->sample[b] : b);
    Rng r = rng_sub(rng_open(s->seed, RNG_DROP, (uint32_t)s->index, sample), (uint32_t)c->i[0]);
    return (float)(floor(1 - c->f[0] + rng_uniform(&r)) / (1 - c->f[0]));
}

static void apply(const OpCall *c, const Tensor *from, const Tensor *to, bool add) {
    int64_t batch = from->dim[0], n = tensor_count(from) / batch;
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < batch; b++) {
        real k = (real)factor(c, b);
        for (int64_t i = b * n; i < (b + 1) * n; i++) {
            real v = k * tensor_at(from, i);
            tensor_put(to, i, add ? tensor_at(to, i) + v : v);
        }
    }
}

static void forward_ref(OpCall *c) {
    apply(c, c->in[0], c->out[0], false);
}

static void backward_ref(OpCall *c) {
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (dx) apply(c, c->out[0]->grad, dx, !fresh);
}

static const Probe probes[] = {
    {.about = "half", .in = {{3, {8, 2, 3}}}, .f = {0.5}, .i = {3}},
};

const Op drop_path_row = {
    .name = "drop_path",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(drop_path_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_ref), ON_CUDA(drop_path_backward_cuda)},
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_drop_path(Step *s, Tensor *x, double rate, int layer) {
    if (!s->training || rate == 0) return x;
    return op_run(s, &drop_path_row, &(OpCall){.in = {x}, .f = {rate}, .i = {layer}});
}
