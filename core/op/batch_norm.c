/* batch_norm: y = (x - mean) rstd g + b, channel by channel, rstd = 1 / sqrt(var + eps).
 * x (B, C, ..)  g, b (C) or absent (1, 0)  mean, var (C) f32, absent in training: none are kept  count (1)
 * f32 or absent: how often they were moved
 *   ->  y like x in the step's compute type.   f[0] = eps, f[1] = momentum, i[0] = training.
 * Training takes mean and (biased) variance over the batch of all ranks and all places, n values a channel,
 * and moves the running ones as torch does: mean += momentum (batch mean - mean), var likewise towards the
 * unbiased batch variance n / (n - 1). A segment that backward runs again leaves them alone. Otherwise the
 * running ones are used.   Ioffe and Szegedy 2015, algorithm 1. With u = (x - mean) rstd and h = dy g:  dx =
 * rstd (h - avg(h) - u avg(h u)) in training, rstd h else; dg = sum dy u, db = sum dy.   Backward reads x, g
 * and the saved mean and rstd. */
#include "core/comm.h"
#include "core/ops.h"

#include <math.h>

static void shape(OpCall *c) {
    const Tensor *x = c->in[0];
    if (x->ndim < 2) op_die(c, "x (B, C, ..) is wanted");
    for (int k = 1; k < 5; k++)
        if (c->in[k] && (c->in[k]->dtype != DT_F32 || tensor_count(c->in[k]) != x->dim[1]))
            op_die(c, "an f32 value a channel is wanted");
    if (!c->in[1] != !c->in[2] || !c->in[3] != !c->in[4]) op_die(c, "g and b, mean and var come together");
    if (!c->i[0] && !c->in[3]) op_die(c, "outside training the running mean and variance are wanted");
    if (c->i[0] && tensor_count(x) * comm_size() <= x->dim[1])
        op_die(c, "training needs more than one value a channel");
    int64_t stats[2] = {2, x->dim[1]};
    op_out(c, 0, c->step->compute, x->ndim, x->dim);
    op_save(c, 0, DT_F32, 2, stats);
}

/* Channels are taken in blocks, so that x (B, C) is read along its rows. */
enum { BLOCK = 16 };

typedef struct Walk {
    int64_t batch, channels, each; /* each: places of a channel in one sample, side by side */
    double n;                      /* values a channel */
} Walk;

static Walk walk_of(const OpCall *c) {
    const Tensor *x = c->in[0];
    Walk w = {x->dim[0], x->dim[1], tensor_count(x) / (x->dim[0] * x->dim[1]), 0};
    w.n = (double)(w.batch * w.each);
    return w;
}

/* Runs over the channels first .. first + count - 1 of every sample: channel k, its first value at `at`. */
#define FOR_RUNS(w, first, count)                                                                            \
    for (int64_t sample = 0; sample < (w)->batch; sample++)                                                  \
        for (int64_t k = 0, at = (sample * (w)->channels + (first)) * (w)->each; k < (count);                \
             k++, at += (w)->each)

/* Channels first .. first + count - 1: adds up x, or with `mean` its squared distances from that. */
static void sums_of(const Tensor *x, const Walk *w, int64_t first, int64_t count, const double *mean,
                    double *to) {
    for (int64_t k = 0; k < count; k++) to[first + k] = 0;
    FOR_RUNS(w, first, count) {
        double sum = 0, m = mean ? mean[first + k] : 0;
        if (mean) {
#pragma omp simd reduction(+ : sum)
            for (int64_t i = at; i < at + w->each; i++)
                sum += ((double)tensor_at(x, i) - m) * ((double)tensor_at(x, i) - m);
        } else {
#pragma omp simd reduction(+ : sum)
            for (int64_t i = at; i < at + w->each; i++) sum += (double)tensor_at(x, i);
        }
        to[first + k] += sum;
    }
}

static int64_t block_of(const Walk *w, int64_t first) {
    return w->channels - first < BLOCK ? w->channels - first : BLOCK;
}

/* Mean and variance of each channel over all ranks, and the running ones. */
static void statistics(OpCall *c, const Walk *w) {
    const Tensor *x = c->in[0];
    int64_t n = w->channels;
    double *mean = op_scratch(c, (size_t)(2 * n + 1) * sizeof *mean), *var = mean + n + 1;
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < n; first += BLOCK) sums_of(x, w, first, block_of(w, first), NULL, mean);
    mean[n] = w->n;
    comm_sum(mean, (int)n + 1);
    double all = mean[n];
    for (int64_t k = 0; k < n; k++) mean[k] /= all;
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < n; first += BLOCK) sums_of(x, w, first, block_of(w, first), mean, var);
    comm_sum(var, (int)n);
    if (c->in[5] && !c->step->again) tensor_real(c->in[5])[0]++;
    for (int64_t k = 0; k < n; k++) {
        var[k] /= all;
        tensor_real(c->save[0])[k] = (real)mean[k];
        tensor_real(c->save[0])[n + k] = (real)(1 / sqrt(var[k] + c->f[0]));
        if (!c->in[3] || c->step->again) continue;
        real *run_mean = tensor_real(c->in[3]) + k, *run_var = tensor_real(c->in[4]) + k;
        *run_mean += (real)c->f[1] * ((real)mean[k] - *run_mean);
        *run_var += (real)c->f[1] * ((real)(var[k] * all / (all - 1)) - *run_var);
    }
    op_scratch_free(c, mean);
}

static void forward_ref(OpCall *c) {
    const Tensor *x = c->in[0], *y = c->out[0];
    Walk w = walk_of(c);
    real *mean = tensor_real(c->save[0]), *rstd = mean + w.channels;
    if (c->i[0]) statistics(c, &w);
    for (int64_t ch = 0; !c->i[0] && ch < w.channels; ch++) {
        mean[ch] = tensor_real(c->in[3])[ch];
        rstd[ch] = (real)(1 / sqrt((double)tensor_real(c->in[4])[ch] + c->f[0]));
    }
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < w.channels; first += BLOCK) {
        FOR_RUNS(&w, first, block_of(&w, first)) {
            real m = mean[first + k], s = rstd[first + k];
            real gain = c->in[1] ? tensor_real(c->in[1])[first + k] : 1;
            real bias = c->in[2] ? tensor_real(c->in[2])[first + k] : 0;
            for (int64_t i = at; i < at + w.each; i++)
                tensor_put(y, i, (tensor_at(x, i) - m) * s * gain + bias);
        }
    }
}

/* Channels first .. first + count - 1: y[..] = sum of dy, yu[..] = sum of dy u. */
static void back_sums(const OpCall *c, const Walk *w, int64_t first, int64_t count, double *y, double *yu) {
    const Tensor *x = c->in[0], *dy = c->out[0]->grad;
    const real *mean = tensor_real(c->save[0]), *rstd = mean + w->channels;
    for (int64_t k = 0; k < count; k++) y[first + k] = yu[first + k] = 0;
    FOR_RUNS(w, first, count) {
        double y_sum = 0, yu_sum = 0, m = (double)mean[first + k], s = (double)rstd[first + k];
#pragma omp simd reduction(+ : y_sum, yu_sum)
        for (int64_t i = at; i < at + w->each; i++) {
            y_sum += (double)tensor_at(dy, i);
            yu_sum += (double)tensor_at(dy, i) * ((double)tensor_at(x, i) - m) * s;
        }
        y[first + k] += y_sum;
        yu[first + k] += yu_sum;
    }
}

/* This rank's dy is its share of the whole loss's; so are dg and db, which the ranks add up later. */
static void backward_ref(OpCall *c) {
    const Tensor *x = c->in[0], *dy = c->out[0]->grad;
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh), *dg = op_grad(c, 1, NULL), *db = op_grad(c, 2, NULL);
    Walk w = walk_of(c);
    int64_t n = w.channels;
    const real *mean = tensor_real(c->save[0]), *rstd = mean + n;
    double *y = op_scratch(c, (size_t)(2 * n + 1) * sizeof *y), *yu = y + n;
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < n; first += BLOCK) back_sums(c, &w, first, block_of(&w, first), y, yu);
    for (int64_t k = 0; k < n; k++) {
        if (dg) tensor_real(dg)[k] += (real)yu[k];
        if (db) tensor_real(db)[k] += (real)y[k];
    }
    y[2 * n] = w.n;
    if (dx && c->i[0]) comm_sum(y, (int)(2 * n + 1));
    double all = y[2 * n];
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < n; first += BLOCK) {
        if (!dx) continue;
        FOR_RUNS(&w, first, block_of(&w, first)) { /* outside training the statistics did not move with x */
            real y_mean = c->i[0] ? (real)(y[first + k] / all) : 0,
                 yu_mean = c->i[0] ? (real)(yu[first + k] / all) : 0;
            real m = mean[first + k], s = rstd[first + k];
            real gain = c->in[1] ? tensor_real(c->in[1])[first + k] : 1;
            for (int64_t i = at; i < at + w.each; i++) {
                real v = s * gain * (tensor_at(dy, i) - y_mean - (tensor_at(x, i) - m) * s * yu_mean);
                tensor_put(dx, i, fresh ? v : tensor_at(dx, i) + v);
            }
        }
    }
    op_scratch_free(c, y);
}

static const Probe probes[] = {
    {.about = "training",
     .in = {{4, {3, 4, 2, 5}},
            {1, {4}},
            {1, {4}},
            {1, {4}, .constant = true},
            {1, {4}, 0.5, 2, .constant = true}},
     .f = {1e-5, 0.1},
     .i = {true}},
    {.about = "training on features, nothing kept, many channels",
     .in = {{2, {6, 37}}, {1, {37}}, {1, {37}}},
     .f = {1e-6, 0.1},
     .i = {true}},
    {.about = "training, not affine",
     .in = {{2, {7, 5}}, {0}, {0}, {1, {5}, .constant = true}, {1, {5}, 0.5, 2, .constant = true}},
     .f = {1e-6, 0.1},
     .i = {true}},
    {.about = "evaluation",
     .in =
         {{3, {2, 5, 6}}, {1, {5}}, {1, {5}}, {1, {5}, .constant = true}, {1, {5}, 0.5, 2, .constant = true}},
     .f = {1e-5, 0.1}},
};

const Op batch_norm_row = {
    .name = "batch_norm",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(batch_norm_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_ref), ON_CUDA(batch_norm_backward_cuda)},
    .needs = NEED_IN(0) | NEED_IN(1),
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_batch_norm(Step *s, Tensor *x, Tensor *g, Tensor *b, Tensor *mean, Tensor *var, Tensor *count,
                      double momentum, double eps) {
    OpCall c = {.in = {x, g, b, mean, var, count}, .f = {eps, momentum}, .i = {s->training}};
    return op_run(s, &batch_norm_row, &c);
}
