/* layernorm2d: layer norm over the channels of each place of a picture (SAM's neck and mask decoder).
 * x (B, C, ..)  g (C)  b (C)  ->  y = (x - mean) rstd g + b like x in the step's compute type.   f[0] = eps.
 * mean and (biased) variance over C.
 * With u = (x - mean) rstd and h = dy g:  dx = rstd (h - avg(h) - u avg(h u)) over C,
 * dg = sum dy u, db = sum dy.   Backward reads x, g and the saved mean and rstd. */
#include "core/ops.h"

#include <math.h>

/* Places taken side by side: channels lie far apart, neighbouring places do not. */
enum { SIDE = 64 };

static void shape(OpCall *c) {
    const Tensor *x = c->in[0], *g = c->in[1], *b = c->in[2];
    if (x->ndim < 2) op_die(c, "x (B, C, ..) is wanted");
    if (g->dtype != DT_F32 || b->dtype != DT_F32 || tensor_count(g) != x->dim[1] ||
        tensor_count(b) != x->dim[1])
        op_die(c, "an f32 gain and bias a channel are wanted");
    int64_t stats[3] = {2, x->dim[0], tensor_count(x) / (x->dim[0] * x->dim[1])};
    op_out(c, 0, c->step->compute, x->ndim, x->dim);
    op_save(c, 0, DT_F32, 3, stats);
}

typedef struct Sizes {
    int64_t samples, channels, each, strips; /* each: places; strips: of SIDE places */
} Sizes;

static Sizes sizes_of(const OpCall *c) {
    const Tensor *x = c->in[0];
    Sizes z = {x->dim[0], x->dim[1], tensor_count(x) / (x->dim[0] * x->dim[1]), 0};
    z.strips = (z.each + SIDE - 1) / SIDE;
    return z;
}

static void forward_ref(OpCall *c) {
    const Tensor *x = c->in[0];
    const real *g = tensor_real(c->in[1]), *b = tensor_real(c->in[2]);
    Sizes z = sizes_of(c);
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < z.samples * z.strips; p++) {
        int64_t sample = p / z.strips, first = p % z.strips * SIDE,
                base = sample * z.channels * z.each + first;
        int64_t n = z.each - first < SIDE ? z.each - first : SIDE;
        real *mean = tensor_real(c->save[0]) + sample * z.each + first, *rstd = mean + z.samples * z.each;
        real m[SIDE] = {0}, v[SIDE] = {0};
        for (int64_t k = 0; k < z.channels; k++)
            for (int64_t i = 0; i < n; i++) m[i] += tensor_at(x, base + k * z.each + i);
        for (int64_t i = 0; i < n; i++) mean[i] = m[i] /= (real)z.channels;
        for (int64_t k = 0; k < z.channels; k++)
            for (int64_t i = 0; i < n; i++) {
                real u = tensor_at(x, base + k * z.each + i) - m[i];
                v[i] += u * u;
            }
        for (int64_t i = 0; i < n; i++)
            rstd[i] = (real)(1 / sqrt((double)(v[i] / (real)z.channels) + c->f[0]));
        for (int64_t k = 0; k < z.channels; k++)
            for (int64_t i = 0; i < n; i++) {
                int64_t at = base + k * z.each + i;
                tensor_put(c->out[0], at, (tensor_at(x, at) - m[i]) * rstd[i] * g[k] + b[k]);
            }
    }
}

/* sums: where this strip leaves its share of dg (channels) and db (channels). */
static void strip_back(const OpCall *c, const Sizes *z, int64_t p, const Tensor *dx, bool fresh,
                       double *sums) {
    const Tensor *x = c->in[0], *dy = c->out[0]->grad;
    const real *g = tensor_real(c->in[1]);
    int64_t sample = p / z->strips, first = p % z->strips * SIDE;
    int64_t base = sample * z->channels * z->each + first,
            n = z->each - first < SIDE ? z->each - first : SIDE;
    const real *mean = tensor_real(c->save[0]) + sample * z->each + first,
               *rstd = mean + z->samples * z->each;
    real h[SIDE] = {0}, hu[SIDE] = {0};
    for (int64_t k = 0; k < z->channels; k++) {
        double yu_sum = 0, y_sum = 0;
        for (int64_t i = 0; i < n; i++) {
            int64_t at = base + k * z->each + i;
            real u = (tensor_at(x, at) - mean[i]) * rstd[i], y = tensor_at(dy, at);
            h[i] += y * g[k];
            hu[i] += y * g[k] * u;
            yu_sum += (double)(y * u);
            y_sum += (double)y;
        }
        sums[k] = yu_sum;
        sums[z->channels + k] = y_sum;
    }
    for (int64_t i = 0; i < n; i++) h[i] /= (real)z->channels, hu[i] /= (real)z->channels;
    for (int64_t k = 0; dx && k < z->channels; k++)
        for (int64_t i = 0; i < n; i++) {
            int64_t at = base + k * z->each + i;
            real u = (tensor_at(x, at) - mean[i]) * rstd[i];
            real v = rstd[i] * (tensor_at(dy, at) * g[k] - h[i] - u * hu[i]);
            tensor_put(dx, at, fresh ? v : tensor_at(dx, at) + v);
        }
}

static void backward_ref(OpCall *c) {
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh), *dg = op_grad(c, 1, NULL), *db = op_grad(c, 2, NULL);
    Sizes z = sizes_of(c);
    int64_t parts = z.samples * z.strips, room = 2 * z.channels;
    double *sums = op_scratch(c, (size_t)(parts * room) * sizeof *sums);
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < parts; p++) strip_back(c, &z, p, dx, fresh, sums + p * room);
    for (int64_t p = 0; p < parts; p++)
        for (int64_t k = 0; k < z.channels; k++) {
            if (dg) tensor_real(dg)[k] += (real)sums[p * room + k];
            if (db) tensor_real(db)[k] += (real)sums[p * room + z.channels + k];
        }
    op_scratch_free(c, sums);
}

static const Probe probes[] = {
    {.about = "picture", .in = {{4, {2, 6, 3, 4}}, {1, {6}}, {1, {6}}}, .f = {1e-6}},
    {.about = "more places than a strip", .in = {{4, {1, 5, 9, 15}}, {1, {5}}, {1, {5}}}, .f = {1e-6}},
    {.about = "no places", .in = {{2, {3, 8}}, {1, {8}}, {1, {8}}}, .f = {1e-5}},
};

const Op layernorm2d_row = {
    .name = "layernorm2d",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(layernorm2d_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_ref), ON_CUDA(layernorm2d_backward_cuda)},
    .needs = NEED_IN(0) | NEED_IN(1),
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_layernorm2d(Step *s, Tensor *x, Tensor *g, Tensor *b, double eps) {
    return op_run(s, &layernorm2d_row, &(OpCall){.in = {x, g, b}, .f = {eps}});
}
