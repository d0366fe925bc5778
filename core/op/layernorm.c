/* layernorm: y = (x - mean) / sqrt(var + eps) * g + b over the last axis; var is biased.
 * x (.., D)  g (D)  b (D)  ->  y (.., D) in the step's compute type.   f[0] = eps.   Ba et al. 2016, eq. 4.
 * With n = (x - mean) * rstd and h = dy * g:  dx = rstd * (h - avg(h) - n * avg(h n)),
 * dg = sum dy n,  db = sum dy.  Backward reads x, g and the saved mean and rstd. */
#include "core/op/simd.h"
#include "core/ops.h"

#include <math.h>
#include <omp.h>
#include <string.h>

static void shape(OpCall *c) {
    const Tensor *x = c->in[0], *g = c->in[1], *b = c->in[2];
    int64_t d = tensor_last(x), stats[2] = {2, tensor_rows(x)};
    if (tensor_count(g) != d || tensor_count(b) != d) op_die(c, "gain and bias must have the last axis of x");
    op_out(c, 0, c->step->compute, x->ndim, x->dim);
    op_save(c, 0, DT_F32, 2, stats);
}

static void forward_ref(OpCall *c) {
    const Tensor *x = c->in[0], *g = c->in[1], *b = c->in[2];
    int64_t d = tensor_last(x), rows = tensor_rows(x);
    real *mean = tensor_real(c->save[0]), *rstd = mean + rows;
    for (int64_t r = 0; r < rows; r++) {
        real m = 0, v = 0;
        for (int64_t j = 0; j < d; j++) m += tensor_at(x, r * d + j);
        m /= (real)d;
        for (int64_t j = 0; j < d; j++) {
            real u = tensor_at(x, r * d + j) - m;
            v += u * u;
        }
        mean[r] = m;
        rstd[r] = (real)1 / (real)sqrt((double)(v / (real)d) + c->f[0]);
        for (int64_t j = 0; j < d; j++)
            tensor_put(c->out[0], r * d + j,
                       (tensor_at(x, r * d + j) - m) * rstd[r] * tensor_at(g, j) + tensor_at(b, j));
    }
}

static void backward_ref(OpCall *c) {
    const Tensor *x = c->in[0], *g = c->in[1], *dy = c->out[0]->grad;
    Tensor *dx = op_grad(c, 0, NULL), *dg = op_grad(c, 1, NULL), *db = op_grad(c, 2, NULL);
    int64_t d = tensor_last(x), rows = tensor_rows(x);
    const real *mean = tensor_real(c->save[0]), *rstd = mean + rows;
    for (int64_t r = 0; r < rows; r++) {
        real h_sum = 0, hn_sum = 0;
        for (int64_t j = 0; j < d; j++) {
            real n = (tensor_at(x, r * d + j) - mean[r]) * rstd[r], y = tensor_at(dy, r * d + j),
                 h = y * tensor_at(g, j);
            h_sum += h;
            hn_sum += h * n;
            if (dg) tensor_real(dg)[j] += y * n;
            if (db) tensor_real(db)[j] += y;
        }
        h_sum /= (real)d;
        hn_sum /= (real)d;
        for (int64_t j = 0; dx && j < d; j++) {
            real n = (tensor_at(x, r * d + j) - mean[r]) * rstd[r],
                 h = tensor_at(dy, r * d + j) * tensor_at(g, j);
            tensor_add(dx, r * d + j, rstd[r] * (h - h_sum - n * hn_sum));
        }
    }
}

#ifndef LETHE_DOUBLE
static void forward_cpu(OpCall *c) {
    const Tensor *x = c->in[0];
    const float *g = tensor_real(c->in[1]), *b = tensor_real(c->in[2]);
    int64_t d = tensor_last(x), rows = tensor_rows(x);
    float *mean = tensor_real(c->save[0]), *rstd = mean + rows, eps = (float)c->f[0];
    float *scratch = op_scratch(c, (size_t)omp_get_max_threads() * (size_t)d * 2 * sizeof(float));
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        float *room = scratch + (int64_t)omp_get_thread_num() * 2 * d;
        const float *xr = row_load(x, r, d, room);
        float m = 0, v = 0;
#pragma omp simd reduction(+ : m)
        for (int64_t j = 0; j < d; j++) m += xr[j];
        m /= (float)d;
#pragma omp simd reduction(+ : v)
        for (int64_t j = 0; j < d; j++) v += (xr[j] - m) * (xr[j] - m);
        float s = 1.0f / sqrtf(v / (float)d + eps);
        mean[r] = m;
        rstd[r] = s;
        float *yr = row_room(c->out[0], r, d, room + d);
#pragma omp simd
        for (int64_t j = 0; j < d; j++) yr[j] = (xr[j] - m) * s * g[j] + b[j];
        row_store(c->out[0], r, d, yr);
    }
    op_scratch_free(c, scratch);
}

/* dg and db are summed over fixed stripes of rows, then over stripes in order: the same sum for any number of
 * threads. */
enum { STRIPES = 16 };

static void backward_cpu(OpCall *c) {
    const Tensor *x = c->in[0], *dy = c->out[0]->grad;
    const float *g = tensor_real(c->in[1]);
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh), *dg = op_grad(c, 1, NULL), *db = op_grad(c, 2, NULL);
    int64_t d = tensor_last(x), rows = tensor_rows(x);
    const float *mean = tensor_real(c->save[0]), *rstd = mean + rows;
    float *scratch = op_scratch(c, (size_t)STRIPES * (size_t)d * 5 * sizeof(float));
#pragma omp parallel for schedule(static, 1)
    for (int64_t stripe = 0; stripe < STRIPES; stripe++) {
        float *sg = scratch + stripe * 5 * d, *sb = sg + d, *room_x = sb + d, *room_y = room_x + d,
              *room_dx = room_y + d;
        memset(sg, 0, (size_t)d * 2 * sizeof(float));
        for (int64_t r = rows * stripe / STRIPES; r < rows * (stripe + 1) / STRIPES; r++) {
            const float *xr = row_load(x, r, d, room_x), *yr = row_load(dy, r, d, room_y);
            float m = mean[r], s = rstd[r], h_sum = 0, hn_sum = 0;
#pragma omp simd reduction(+ : h_sum, hn_sum)
            for (int64_t j = 0; j < d; j++) {
                float n = (xr[j] - m) * s, h = yr[j] * g[j];
                h_sum += h;
                hn_sum += h * n;
                sg[j] += yr[j] * n;
                sb[j] += yr[j];
            }
            h_sum /= (float)d;
            hn_sum /= (float)d;
            if (!dx) continue;
            float *out = row_room(dx, r, d, room_dx);
            if (fresh) {
#pragma omp simd
                for (int64_t j = 0; j < d; j++)
                    out[j] = s * (yr[j] * g[j] - h_sum - (xr[j] - m) * s * hn_sum);
            } else {
                const float *old = row_load(dx, r, d, room_dx);
#pragma omp simd
                for (int64_t j = 0; j < d; j++)
                    out[j] = old[j] + s * (yr[j] * g[j] - h_sum - (xr[j] - m) * s * hn_sum);
            }
            row_store(dx, r, d, out);
        }
    }
    for (int64_t stripe = 0; stripe < STRIPES; stripe++) {
        const float *sg = scratch + stripe * 5 * d, *sb = sg + d;
        for (int64_t j = 0; dg && j < d; j++) tensor_real(dg)[j] += sg[j];
        for (int64_t j = 0; db && j < d; j++) tensor_real(db)[j] += sb[j];
    }
    op_scratch_free(c, scratch);
}
#endif

static const Probe probes[] = {
    {.about = "rows", .in = {{2, {5, 7}}, {1, {7}}, {1, {7}}}, .f = {1e-6}},
    {.about = "wide", .in = {{3, {2, 9, 40}}, {1, {40}}, {1, {40}}}, .f = {1e-5}},
};

const Op layernorm_row = {
    .name = "layernorm",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_cpu), ON_CUDA(layernorm_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_cpu), ON_CUDA(layernorm_backward_cuda)},
    .needs = NEED_IN(0) | NEED_IN(1),
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_layernorm(Step *s, Tensor *x, Tensor *g, Tensor *b, double eps) {
    return op_run(s, &layernorm_row, &(OpCall){.in = {x, g, b}, .f = {eps}});
}
