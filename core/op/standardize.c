/* standardize: y = (x - mean) / sqrt(var + eps), row by row, var unbiased (n - 1), as torch.var.
 * x (.., N), N > 1  ->  y like x.   f[0] = eps.   MAE's targets (models_mae.py, norm_pix_loss): has no
 * derivative. */
#include "core/ops.h"

#include <math.h>

static void shape(OpCall *c) {
    if (tensor_last(c->in[0]) < 2) op_die(c, "rows of two values or more are wanted");
    op_out_like(c, 0, c->in[0]);
}

static void forward_ref(OpCall *c) {
    const Tensor *x = c->in[0], *y = c->out[0];
    int64_t rows = tensor_rows(x), n = tensor_last(x);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        double mean = 0, var = 0;
        for (int64_t j = r * n; j < (r + 1) * n; j++) mean += (double)tensor_at(x, j);
        mean /= (double)n;
        for (int64_t j = r * n; j < (r + 1) * n; j++)
            var += ((double)tensor_at(x, j) - mean) * ((double)tensor_at(x, j) - mean);
        double scale = 1 / sqrt(var / (double)(n - 1) + c->f[0]);
        for (int64_t j = r * n; j < (r + 1) * n; j++)
            tensor_put(y, j, (real)(((double)tensor_at(x, j) - mean) * scale));
    }
}

static const Probe probes[] = {
    {.about = "rows", .in = {{3, {2, 3, 12}}}, .f = {1e-6}},
    {.about = "wide rows", .in = {{2, {3, 768}}}, .f = {1e-6}},
};

const Op standardize_row = {
    .name = "standardize",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(standardize_forward_cuda)},
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_standardize(Step *s, Tensor *x, double eps) {
    return op_run(s, &standardize_row, &(OpCall){.in = {x}, .f = {eps}});
}
