/* pointwise: y = f(x), element by element.
 * x (any)  ->  y like x.   i[0] = f: sigmoid, tanh, exp, log, exact GELU, ReLU.
 * dx = dy f'(x).   Backward reads x; f' is computed from it again, which costs less than keeping y as well.
 * Sigmoid and GELU use fast_exp and fast_normal (errors in simd.h); the others are the C library's. */
#include "core/op/simd.h"
#include "core/ops.h"

#include <math.h>

static void shape(OpCall *c) {
    if (c->in[0]->dtype != DT_F32 && c->in[0]->dtype != DT_BF16) op_die(c, "f32 or bf16 is wanted");
    op_out_like(c, 0, c->in[0]);
}

static double value(double x, int64_t kind) {
    switch ((PointKind)kind) {
    case POINT_SIGMOID:
        return 1 / (1 + exp(-x));
    case POINT_TANH:
        return tanh(x);
    case POINT_EXP:
        return exp(x);
    case POINT_LOG:
        return log(x);
    case POINT_GELU:
        return 0.5 * x * (1 + erf(x * 0.70710678118654752440));
    case POINT_RELU:
        return x > 0 ? x : 0;
    }
    return x;
}

static double slope(double x, int64_t kind) {
    double y = value(x, kind);
    switch ((PointKind)kind) {
    case POINT_SIGMOID:
        return y * (1 - y);
    case POINT_TANH:
        return 1 - y * y;
    case POINT_EXP:
        return y;
    case POINT_LOG:
        return 1 / x;
    case POINT_GELU:
        return 0.5 * (1 + erf(x * 0.70710678118654752440)) + x * 0.39894228040143267794 * exp(-0.5 * x * x);
    case POINT_RELU:
        return x > 0;
    }
    return 1;
}

static void forward_ref(OpCall *c) {
    int64_t n = tensor_count(c->in[0]);
    for (int64_t i = 0; i < n; i++)
        tensor_put(c->out[0], i, (real)value((double)tensor_at(c->in[0], i), c->i[0]));
}

static void backward_ref(OpCall *c) {
    const Tensor *dy = c->out[0]->grad;
    Tensor *dx = op_grad(c, 0, NULL);
    int64_t n = tensor_count(c->in[0]);
    for (int64_t i = 0; dx && i < n; i++)
        tensor_add(dx, i, tensor_at(dy, i) * (real)slope((double)tensor_at(c->in[0], i), c->i[0]));
}

#ifndef LETHE_DOUBLE
enum { STRIP = 512 };

static float sigmoid(float x) {
    return 1.0f / (1.0f + fast_exp(-x));
}

static void strip_value(int64_t kind, const float *restrict x, float *restrict y, int64_t n) {
    float density;
    switch ((PointKind)kind) {
    case POINT_SIGMOID:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = sigmoid(x[i]);
        break;
    case POINT_TANH:
        for (int64_t i = 0; i < n; i++) y[i] = tanhf(x[i]);
        break;
    case POINT_EXP:
        for (int64_t i = 0; i < n; i++) y[i] = expf(x[i]);
        break;
    case POINT_LOG:
        for (int64_t i = 0; i < n; i++) y[i] = logf(x[i]);
        break;
    case POINT_GELU:
#pragma omp simd private(density)
        for (int64_t i = 0; i < n; i++) y[i] = x[i] * fast_normal(x[i], &density);
        break;
    case POINT_RELU:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = x[i] > 0 ? x[i] : 0;
        break;
    }
}

static void strip_slope(int64_t kind, const float *restrict x, float *restrict y, int64_t n) {
    float density;
    switch ((PointKind)kind) {
    case POINT_SIGMOID:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = sigmoid(x[i]) * sigmoid(-x[i]);
        break;
    case POINT_TANH:
        for (int64_t i = 0; i < n; i++) {
            float t = tanhf(x[i]);
            y[i] = 1 - t * t;
        }
        break;
    case POINT_EXP:
        for (int64_t i = 0; i < n; i++) y[i] = expf(x[i]);
        break;
    case POINT_LOG:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = 1 / x[i];
        break;
    case POINT_GELU:
#pragma omp simd private(density)
        for (int64_t i = 0; i < n; i++) {
            float phi = fast_normal(x[i], &density);
            y[i] = phi + x[i] * density;
        }
        break;
    case POINT_RELU:
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = x[i] > 0;
        break;
    }
}

static void forward_cpu(OpCall *c) {
    int64_t total = tensor_count(c->in[0]), strips = (total + STRIP - 1) / STRIP;
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < strips; p++) {
        float room[STRIP], y[STRIP];
        int64_t at = p * STRIP, n = total - at < STRIP ? total - at : STRIP;
        strip_value(c->i[0], tensor_strip(c->in[0], at, n, room), y, n);
        tensor_strip_put(c->out[0], at, n, y);
    }
}

static void backward_cpu(OpCall *c) {
    const Tensor *dy = c->out[0]->grad;
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    int64_t total = tensor_count(dx), strips = (total + STRIP - 1) / STRIP;
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < strips; p++) {
        float room_x[STRIP], room_y[STRIP], room_dx[STRIP], g[STRIP];
        int64_t at = p * STRIP, n = total - at < STRIP ? total - at : STRIP;
        const float *y = tensor_strip(dy, at, n, room_y);
        strip_slope(c->i[0], tensor_strip(c->in[0], at, n, room_x), g, n);
        if (fresh) {
#pragma omp simd
            for (int64_t i = 0; i < n; i++) g[i] *= y[i];
        } else {
            const float *old = tensor_strip(dx, at, n, room_dx);
#pragma omp simd
            for (int64_t i = 0; i < n; i++) g[i] = old[i] + g[i] * y[i];
        }
        tensor_strip_put(dx, at, n, g);
    }
}
#endif

static const Probe probes[] = {
    {.about = "sigmoid", .in = {{2, {5, 7}, -6, 6}}, .i = {POINT_SIGMOID}},
    {.about = "tanh", .in = {{2, {5, 7}, -3, 3}}, .i = {POINT_TANH}},
    {.about = "exp", .in = {{2, {5, 7}, -3, 3}}, .i = {POINT_EXP}},
    {.about = "log", .in = {{2, {5, 7}, 0.2, 3}}, .i = {POINT_LOG}},
    {.about = "gelu, more than a strip", .in = {{2, {3, 401}, -4, 4}}, .i = {POINT_GELU}},
    {.about = "relu above its kink", .in = {{2, {5, 7}, 0.1, 3}}, .i = {POINT_RELU}},
    {.about = "relu below its kink", .in = {{1, {9}, -3, -0.1}}, .i = {POINT_RELU}},
};

const Op pointwise_row = {
    .name = "pointwise",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_cpu), ON_CUDA(pointwise_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_cpu), ON_CUDA(pointwise_backward_cuda)},
    .needs = NEED_IN(0),
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_pointwise(Step *s, Tensor *x, PointKind kind) {
    return op_run(s, &pointwise_row, &(OpCall){.in = {x}, .i = {kind}});
}
