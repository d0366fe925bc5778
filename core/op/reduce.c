/* reduce: sum or mean over neighbouring axes.
 * x (.., axes i[0] .. i[0] + i[1] - 1, ..)  ->  y without those axes, (1) if none is left; like x.
 * i[2] = sum or mean. Sums are taken in double.
 * dx = dy, or dy / count for the mean, repeated over the axes.   Backward reads nothing. */
#include "core/ops.h"

/* x as (outer, middle, inner), the middle going away. */
typedef struct Folded {
    int64_t outer, middle, inner;
    double factor;
} Folded;

static Folded folded_of(const OpCall *c) {
    Folded f = {1, 1, 1, 1};
    int first = (int)c->i[0], past = first + (int)c->i[1];
    for (int k = 0; k < c->in[0]->ndim; k++) {
        int64_t *part = k < first ? &f.outer : k < past ? &f.middle : &f.inner;
        *part *= c->in[0]->dim[k];
    }
    if (c->i[2] == REDUCE_MEAN) f.factor = 1 / (double)f.middle;
    return f;
}

static void shape(OpCall *c) {
    const Tensor *x = c->in[0];
    int64_t first = c->i[0], count = c->i[1], dim[TENSOR_MAX_DIM] = {1};
    if (first < 0 || count < 1 || first + count > x->ndim) op_die(c, "no such axes");
    int n = 0;
    for (int k = 0; k < x->ndim; k++)
        if (k < first || k >= first + count) dim[n++] = x->dim[k];
    op_out(c, 0, x->dtype, n ? n : 1, dim);
}

static void forward_ref(OpCall *c) {
    const Tensor *x = c->in[0], *y = c->out[0];
    Folded f = folded_of(c);
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t o = 0; o < f.outer; o++)
        for (int64_t i = 0; i < f.inner; i++) {
            double sum = 0;
            for (int64_t m = 0; m < f.middle; m++)
                sum += (double)tensor_at(x, (o * f.middle + m) * f.inner + i);
            tensor_put(y, o * f.inner + i, (real)(sum * f.factor));
        }
}

static void backward_ref(OpCall *c) {
    const Tensor *dy = c->out[0]->grad;
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    Folded f = folded_of(c);
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t o = 0; o < f.outer; o++)
        for (int64_t m = 0; m < f.middle; m++)
            for (int64_t i = 0; i < f.inner; i++) {
                int64_t at = (o * f.middle + m) * f.inner + i;
                real g = tensor_at(dy, o * f.inner + i) * (real)f.factor;
                tensor_put(dx, at, fresh ? g : tensor_at(dx, at) + g);
            }
}

static const Probe probes[] = {
    {.about = "sum of all", .in = {{3, {2, 3, 4}}}, .i = {0, 3, REDUCE_SUM}},
    {.about = "mean of the middle", .in = {{4, {2, 3, 4, 5}}}, .i = {1, 2, REDUCE_MEAN}},
    {.about = "sum of the first", .in = {{2, {6, 5}}}, .i = {0, 1, REDUCE_SUM}},
    {.about = "mean of the last", .in = {{2, {6, 5}}}, .i = {1, 1, REDUCE_MEAN}},
};

const Op reduce_row = {
    .name = "reduce",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(reduce_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_ref), ON_CUDA(reduce_backward_cuda)},
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_reduce(Step *s, Tensor *x, int first, int count, ReduceKind kind) {
    return op_run(s, &reduce_row, &(OpCall){.in = {x}, .i = {first, count, kind}});
}
