/* linear: y = act(x w^T + b).
 * x (.., K)  w (N, ..) with N rows of K  b (N) or absent  ->  y (.., N) in the step's compute type.
 * i[0] = activation: none, exact GELU, ReLU.
 * With h = x w^T + b and dh = dy act'(h):  dx = dh w,  dw = dh^T x,  db = sum dh.
 * Backward reads x, w and, with an activation, the saved h. */
#include "core/gemm.h"
#include "core/op/simd.h"
#include "core/ops.h"

#include <math.h>
#include <string.h>

static void shape(OpCall *c) {
    const Tensor *x = c->in[0], *w = c->in[1], *b = c->in[2];
    int64_t k = tensor_last(x), n = w->dim[0], dim[TENSOR_MAX_DIM];
    if (tensor_count(w) != n * k) op_die(c, "w must have rows as long as the last axis of x");
    if (b && tensor_count(b) != n) op_die(c, "b must have a value a row of w");
    memcpy(dim, x->dim, sizeof dim);
    dim[x->ndim - 1] = n;
    op_out(c, 0, c->step->compute, x->ndim, dim);
    if (c->record && c->i[0] != ACT_NONE) op_save(c, 0, c->step->compute, x->ndim, dim);
}

static double flops(const OpCall *c, bool backward) {
    double once = 2.0 * (double)tensor_count(c->in[0]) * (double)c->in[1]->dim[0];
    return backward ? once * (c->in[0]->needs_grad + c->in[1]->needs_grad) : once;
}

static real act(real h, int64_t kind) {
    if (kind == ACT_GELU) return (real)0.5 * h * ((real)1 + (real)erf((double)h * 0.70710678118654752440));
    if (kind == ACT_RELU) return h > 0 ? h : 0;
    return h;
}

static real act_slope(real h, int64_t kind) {
    double x = (double)h;
    if (kind == ACT_GELU)
        return (real)(0.5 * (1 + erf(x * 0.70710678118654752440)) +
                      x * 0.39894228040143267794 * exp(-0.5 * x * x));
    if (kind == ACT_RELU) return h > 0;
    return 1;
}

static void forward_ref(OpCall *c) {
    const Tensor *x = c->in[0], *w = c->in[1], *b = c->in[2];
    int64_t m = tensor_rows(x), k = tensor_last(x), n = w->dim[0];
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            real h = b ? tensor_at(b, j) : 0;
            for (int64_t p = 0; p < k; p++) h += tensor_at(x, i * k + p) * tensor_at(w, j * k + p);
            if (c->save[0]) tensor_put(c->save[0], i * n + j, h);
            tensor_put(c->out[0], i * n + j, act(h, c->i[0]));
        }
}

static void backward_ref(OpCall *c) {
    const Tensor *x = c->in[0], *w = c->in[1], *dy = c->out[0]->grad;
    Tensor *dx = op_grad(c, 0, NULL), *dw = op_grad(c, 1, NULL), *db = op_grad(c, 2, NULL);
    int64_t m = tensor_rows(x), k = tensor_last(x), n = w->dim[0];
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            real dh = tensor_at(dy, i * n + j);
            if (c->save[0]) dh *= act_slope(tensor_at(c->save[0], i * n + j), c->i[0]);
            if (db) tensor_add(db, j, dh);
            for (int64_t p = 0; dw && p < k; p++) tensor_add(dw, j * k + p, dh * tensor_at(x, i * k + p));
            for (int64_t p = 0; dx && p < k; p++) tensor_add(dx, i * k + p, dh * tensor_at(w, j * k + p));
        }
}

#ifndef LETHE_DOUBLE
enum { STRIP = 512 }; /* elements converted, computed and stored while they are in the first-level cache */

static void gelu_strip(int64_t n, const float *v, float *out) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float density;
        out[i] = v[i] * fast_normal(v[i], &density);
    }
}

static void gelu_back_strip(int64_t n, const float *v, const float *g, float *out) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float density, phi = fast_normal(v[i], &density);
        out[i] = g[i] * (phi + v[i] * density);
    }
}

/* `from` where v is positive: forward v itself, backward dy. */
static void relu_strip(int64_t n, const float *v, const float *from, float *out) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] = v[i] > 0 ? from[i] : 0;
}

static void activate(const Tensor *h, const Tensor *y, int64_t kind) {
    int64_t total = tensor_count(h), strips = (total + STRIP - 1) / STRIP;
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < strips; p++) {
        float room[STRIP], out[STRIP];
        int64_t at = p * STRIP, n = total - at < STRIP ? total - at : STRIP;
        const float *v = tensor_strip(h, at, n, room);
        if (kind == ACT_GELU)
            gelu_strip(n, v, out);
        else
            relu_strip(n, v, v, out);
        tensor_strip_put(y, at, n, out);
    }
}

/* dh = dy act'(h); `to` may be dy itself. */
static void activate_back(const Tensor *h, const Tensor *dy, const Tensor *to, int64_t kind) {
    int64_t total = tensor_count(h), strips = (total + STRIP - 1) / STRIP;
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < strips; p++) {
        float room[STRIP], room_y[STRIP], out[STRIP];
        int64_t at = p * STRIP, n = total - at < STRIP ? total - at : STRIP;
        const float *v = tensor_strip(h, at, n, room), *g = tensor_strip(dy, at, n, room_y);
        if (kind == ACT_GELU)
            gelu_back_strip(n, v, g, out);
        else
            relu_strip(n, v, g, out);
        tensor_strip_put(to, at, n, out);
    }
}

static void forward_cpu(OpCall *c) {
    const Tensor *x = c->in[0], *w = c->in[1], *b = c->in[2];
    int64_t m = tensor_rows(x), k = tensor_last(x), n = w->dim[0];
    const Tensor *h = c->save[0] ? c->save[0] : c->out[0];
    gemm(c->step, c->step->compute, mat(x, m, k), mat_transposed(mat(w, n, k)), mat(h, m, n),
         b ? tensor_real(b) : NULL, false);
    if (c->i[0] != ACT_NONE) activate(h, c->out[0], c->i[0]);
}

static void backward_cpu(OpCall *c) {
    const Tensor *x = c->in[0], *w = c->in[1], *dh = c->out[0]->grad;
    int64_t m = tensor_rows(x), k = tensor_last(x), n = w->dim[0];
    if (c->save[0]) {
        /* dy is not read again unless somebody asked to keep it: overwrite it */
        const Tensor *to = dh->keep_grad ? step_copy(c->step, dh) : dh;
        activate_back(c->save[0], dh, to, c->i[0]);
        dh = to;
    }
    Tensor *db = op_grad(c, 2, NULL);
    if (db) columns_add(c, dh, m, n, tensor_real(db));
    bool fresh;
    Tensor *dw = op_grad(c, 1, &fresh);
    if (dw)
        gemm(c->step, c->step->compute, mat_transposed(mat(dh, m, n)), mat(x, m, k), mat(dw, n, k), NULL,
             !fresh);
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    if (fresh || dx->dtype == DT_F32) {
        gemm(c->step, c->step->compute, mat(dh, m, n), mat(w, n, k), mat(dx, m, k), NULL, !fresh);
        return;
    }
    Tensor *more = step_tensor(c->step, dx->dtype, dx->ndim, dx->dim);
    gemm(c->step, c->step->compute, mat(dh, m, n), mat(w, n, k), mat(more, m, k), NULL, false);
    tensor_accumulate(dx, more, false);
    step_block_free(c->step, more->data);
}
#endif

static const Probe probes[] = {
    {.about = "plain", .in = {{2, {6, 5}}, {2, {4, 5}}, {1, {4}}}},
    {.about = "no bias", .in = {{3, {2, 3, 8}}, {2, {16, 8}}}},
    {.about = "gelu", .in = {{3, {2, 3, 8}, -2, 2}, {2, {12, 8}}, {1, {12}}}, .i = {ACT_GELU}},
    {.about = "relu away from its kink",
     .in = {{2, {7, 3}, 0.5, 1}, {2, {4, 3}, 0.5, 1}, {1, {4}, 0, 1}},
     .i = {ACT_RELU}},
    {.about = "frozen weight", .in = {{2, {6, 5}}, {2, {4, 5}, .constant = true}, {1, {4}}}},
    {.about = "wide", .in = {{2, {70, 96}}, {2, {48, 96}}, {1, {48}}}, .i = {ACT_GELU}},
};

const Op linear_row = {
    .name = "linear",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_cpu), ON_CUDA(linear_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_cpu), ON_CUDA(linear_backward_cuda)},
    .needs = NEED_IN(0) | NEED_IN(1),
    .flops = flops,
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_linear(Step *s, Tensor *x, Tensor *w, Tensor *b, Activation activation) {
    return op_run(s, &linear_row, &(OpCall){.in = {x, w, b}, .i = {activation}});
}
