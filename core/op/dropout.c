/* dropout: y = x k / (1 - rate), k = 1 with probability 1 - rate, else 0, a draw an element.
 * x (B, ..)  ->  y like x.   f[0] = rate, i[0] = a number that tells draws of one step apart.
 * Srivastava et al. 2014, scaled in training. The draws of a sample are keyed by seed, step, sample id and
 * i[0], and made again in backward: nothing is kept, and ranks and recomputed segments draw alike.
 * dx = dy k / (1 - rate).   Backward reads nothing. */
#include "core/ops.h"

static void shape(OpCall *c) {
    if (c->f[0] < 0 || c->f[0] >= 1) op_die(c, "the rate must lie in 0 .. 1");
    if (c->in[0]->ndim < 1) op_die(c, "the first axis must be the batch");
    op_out_like(c, 0, c->in[0]);
}

static void apply(const OpCall *c, const Tensor *from, const Tensor *to, bool add) {
    const Step *s = c->step;
    int64_t batch = from->dim[0], n = tensor_count(from) / batch;
    float rate = (float)c->f[0];
    real kept = (real)(1 / (1 - c->f[0]));
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < batch; b++) {
        uint64_t sample = (uint64_t)(s->sample ? s->sample[b] : b);
        Rng r = rng_sub(rng_open(s->seed, RNG_DROP, (uint32_t)s->index, sample), (uint32_t)c->i[0]);
        for (int64_t i = b * n; i < (b + 1) * n; i++) {
            real v = rng_uniformf(&r) >= rate ? kept * tensor_at(from, i) : 0;
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
    {.about = "half", .in = {{3, {3, 5, 7}}}, .f = {0.5}, .i = {2}},
    {.about = "little", .in = {{2, {2, 60}}}, .f = {0.1}},
};

const Op dropout_row = {
    .name = "dropout",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(dropout_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_ref), ON_CUDA(dropout_backward_cuda)},
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_dropout(Step *s, Tensor *x, double rate, int layer) {
    if (!s->training || rate == 0) return x;
    return op_run(s, &dropout_row, &(OpCall){.in = {x}, .f = {rate}, .i = {layer}});
}
