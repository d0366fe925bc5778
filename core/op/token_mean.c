/* token_mean: y[b] = mean of x[b, t] over t >= start; start 1 leaves out the class token (MAE's global pool).
 * x (B, N, D)  ->  y (B, D) like x.   i[0] = start.
 * dx[b, t] = dy[b] / (N - start) for t >= start, else 0.   Backward reads nothing. */
#include "core/ops.h"

static void shape(OpCall *c) {
    const Tensor *x = c->in[0];
    if (x->ndim != 3 || c->i[0] < 0 || c->i[0] >= x->dim[1])
        op_die(c, "x (B, N, D) with N > start is wanted");
    int64_t dim[2] = {x->dim[0], x->dim[2]};
    op_out(c, 0, x->dtype, 2, dim);
}

static void forward_ref(OpCall *c) {
    const Tensor *x = c->in[0];
    int64_t n = x->dim[1], d = x->dim[2], start = c->i[0];
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < x->dim[0]; b++)
        for (int64_t j = 0; j < d; j++) {
            real sum = 0;
            for (int64_t t = start; t < n; t++) sum += tensor_at(x, (b * n + t) * d + j);
            tensor_put(c->out[0], b * d + j, sum / (real)(n - start));
        }
}

static void backward_ref(OpCall *c) {
    const Tensor *dy = c->out[0]->grad;
    Tensor *dx = op_grad(c, 0, NULL);
    if (!dx) return;
    int64_t n = c->in[0]->dim[1], d = c->in[0]->dim[2], start = c->i[0];
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < c->in[0]->dim[0]; b++)
        for (int64_t t = start; t < n; t++)
            for (int64_t j = 0; j < d; j++)
                tensor_add(dx, (b * n + t) * d + j, tensor_at(dy, b * d + j) / (real)(n - start));
}

static const Probe probes[] = {
    {.about = "without the first", .in = {{3, {2, 4, 5}}}, .i = {1}},
    {.about = "all", .in = {{3, {2, 3, 4}}}},
};

const Op token_mean_row = {
    .name = "token_mean",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(token_mean_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_ref), ON_CUDA(token_mean_backward_cuda)},
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_token_mean(Step *s, Tensor *x, int64_t start) {
    return op_run(s, &token_mean_row, &(OpCall){.in = {x}, .i = {start}});
}
