/* group_norm: y = (x - mean) rstd g + b, mean and (biased) variance over a group of channels of one sample.
 * x (B, C, ..)  g (C)  b (C)  ->  y like x in the step's compute type.   f[0] = eps, i[0] = groups.
 * Wu and He 2018, eq. 3. groups = C is instance norm, groups = 1 layer norm of a whole sample.
 * With u = (x - mean) rstd and h = dy g:  dx = rstd (h - avg(h) - u avg(h u)) over the group,
 * dg = sum dy u, db = sum dy.   Backward reads x, g and the saved mean and rstd. */
#include "core/ops.h"

#include <math.h>

static void shape(OpCall *c) {
    const Tensor *x = c->in[0], *g = c->in[1], *b = c->in[2];
    if (x->ndim < 2 || c->i[0] < 1 || x->dim[1] % c->i[0])
        op_die(c, "x (B, C, ..) with channels that the groups divide is wanted");
    if (g->dtype != DT_F32 || b->dtype != DT_F32 || tensor_count(g) != x->dim[1] ||
        tensor_count(b) != x->dim[1])
        op_die(c, "an f32 gain and bias a channel are wanted");
    int64_t stats[3] = {2, x->dim[0], c->i[0]};
    op_out(c, 0, c->step->compute, x->ndim, x->dim);
    op_save(c, 0, DT_F32, 3, stats);
}

typedef struct Sizes {
    int64_t samples, groups, channels, each; /* channels of a group, places of a channel */
} Sizes;

static Sizes sizes_of(const OpCall *c) {
    const Tensor *x = c->in[0];
    int64_t batch = x->dim[0], channels = x->dim[1];
    return (Sizes){batch, c->i[0], channels / c->i[0], tensor_count(x) / (batch * channels)};
}

static void forward_ref(OpCall *c) {
    const Tensor *x = c->in[0];
    const real *g = tensor_real(c->in[1]), *b = tensor_real(c->in[2]);
    Sizes z = sizes_of(c);
    int64_t n = z.channels * z.each, rows = z.samples * z.groups;
    real *mean = tensor_real(c->save[0]), *rstd = mean + rows;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        double m = 0, v = 0;
#pragma omp simd reduction(+ : m)
        for (int64_t i = 0; i < n; i++) m += (double)tensor_at(x, r * n + i);
        m /= (double)n;
#pragma omp simd reduction(+ : v)
        for (int64_t i = 0; i < n; i++)
            v += ((double)tensor_at(x, r * n + i) - m) * ((double)tensor_at(x, r * n + i) - m);
        mean[r] = (real)m;
        rstd[r] = (real)(1 / sqrt(v / (double)n + c->f[0]));
        for (int64_t k = 0; k < z.channels; k++) {
            int64_t ch = r % z.groups * z.channels + k, at = r * n + k * z.each;
            for (int64_t i = at; i < at + z.each; i++)
                tensor_put(c->out[0], i, (tensor_at(x, i) - mean[r]) * rstd[r] * g[ch] + b[ch]);
        }
    }
}

/* The sums of dy u and of dy over one channel of one sample. */
static void channel_sums(const OpCall *c, const Sizes *z, int64_t r, int64_t k, double *yu, double *y) {
    const Tensor *x = c->in[0], *dy = c->out[0]->grad;
    int64_t rows = z->samples * z->groups, at = (r * z->channels + k) * z->each;
    real mean = tensor_real(c->save[0])[r], rstd = tensor_real(c->save[0])[rows + r];
    double yu_sum = 0, y_sum = 0;
#pragma omp simd reduction(+ : yu_sum, y_sum)
    for (int64_t i = at; i < at + z->each; i++) {
        double v = (double)tensor_at(dy, i);
        y_sum += v;
        yu_sum += v * (double)((tensor_at(x, i) - mean) * rstd);
    }
    *yu = yu_sum;
    *y = y_sum;
}

/* Sums a channel and sample go to scratch and are added up in order: the same for any number of threads. */
static void backward_ref(OpCall *c) {
    const Tensor *x = c->in[0], *dy = c->out[0]->grad;
    const real *g = tensor_real(c->in[1]);
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh), *dg = op_grad(c, 1, NULL), *db = op_grad(c, 2, NULL);
    Sizes z = sizes_of(c);
    int64_t n = z.channels * z.each;
    const real *mean = tensor_real(c->save[0]), *rstd = mean + z.samples * z.groups;
    double *sums = op_scratch(c, (size_t)(z.samples * z.groups * z.channels) * 2 * sizeof *sums);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < z.samples * z.groups; r++) {
        double *yu = sums + r * z.channels * 2, *y = yu + z.channels, h = 0, hu = 0;
        for (int64_t k = 0; k < z.channels; k++) {
            int64_t ch = r % z.groups * z.channels + k;
            channel_sums(c, &z, r, k, &yu[k], &y[k]);
            h += (double)g[ch] * y[k] / (double)n;
            hu += (double)g[ch] * yu[k] / (double)n;
        }
        for (int64_t k = 0; dx && k < z.channels; k++) {
            int64_t ch = r % z.groups * z.channels + k, at = r * n + k * z.each;
            for (int64_t i = at; i < at + z.each; i++) {
                real u = (tensor_at(x, i) - mean[r]) * rstd[r];
                real v = rstd[r] * (tensor_at(dy, i) * g[ch] - (real)h - u * (real)hu);
                tensor_put(dx, i, fresh ? v : tensor_at(dx, i) + v);
            }
        }
    }
    for (int64_t r = 0; r < z.samples * z.groups; r++)
        for (int64_t k = 0; k < z.channels; k++) {
            int64_t ch = r % z.groups * z.channels + k;
            if (dg) tensor_real(dg)[ch] += (real)sums[r * z.channels * 2 + k];
            if (db) tensor_real(db)[ch] += (real)sums[r * z.channels * 2 + z.channels + k];
        }
    op_scratch_free(c, sums);
}

static const Probe probes[] = {
    {.about = "two groups", .in = {{4, {2, 6, 3, 4}}, {1, {6}}, {1, {6}}}, .f = {1e-6}, .i = {2}},
    {.about = "one group", .in = {{3, {3, 4, 5}}, {1, {4}}, {1, {4}}}, .f = {1e-5}, .i = {1}},
    {.about = "a group a channel", .in = {{4, {2, 3, 4, 4}}, {1, {3}}, {1, {3}}}, .f = {1e-5}, .i = {3}},
    {.about = "no places", .in = {{2, {4, 8}}, {1, {8}}, {1, {8}}}, .f = {1e-5}, .i = {2}},
};

const Op group_norm_row = {
    .name = "group_norm",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(group_norm_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_ref), ON_CUDA(group_norm_backward_cuda)},
    .needs = NEED_IN(0) | NEED_IN(1),
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_group_norm(Step *s, Tensor *x, Tensor *g, Tensor *b, int groups, double eps) {
    return op_run(s, &group_norm_row, &(OpCall){.in = {x, g, b}, .f = {eps}, .i = {groups}});
}
