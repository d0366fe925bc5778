/* mask_loss: how far the mask of logits x is from a target, row by row.
 * x (N, ..)  target like x, f32, in 0 .. 1  ->  loss (N) f32, over the P elements of each row.
 * With p = 1 / (1 + exp(-x)) and h = max(x, 0) - x t + log(1 + exp(-|x|)), i[0] = kind:
 *   BCE    mean of h
 *   focal  mean of a q^gamma h, with q = p (1 - t) + (1 - p) t, the part that is wrong, and
 *          a = alpha t + (1 - alpha)(1 - t), or 1 where alpha < 0; f = alpha, gamma (Lin et al. 2017)
 *   Dice   1 - (2 sum p t + 1) / (sum p + sum t + 1)   (Milletari et al. 2016)
 * dx = dloss e / P with
 *   BCE    e = p - t
 *   focal  e = a q^gamma (p - t - gamma h (2t - 1) p (1 - p) / q)
 * and, for Dice, dx = -dloss p (1 - p) (2t - (2 sum p t + 1) / (sum p + sum t + 1)) / (sum p + sum t + 1).
 * Only x has a derivative.   Backward reads x and target; for Dice also the saved sums. */
#include "core/op/simd.h"
#include "core/ops.h"

#include <math.h>

enum { PARTS = 8 }; /* of a row, summed each by itself, then in order */

static void shape(OpCall *c) {
    const Tensor *x = c->in[0], *t = c->in[1];
    if (x->ndim < 1 || !tensor_same_shape(x, t) || t->dtype != DT_F32)
        op_die(c, "x and an f32 target of one shape are wanted");
    if (c->f[1] < 0) op_die(c, "gamma must not be negative");
    op_out(c, 0, DT_F32, 1, x->dim);
    if (c->i[0] != MASK_DICE) return;
    op_save(c, 0, DT_F32, 1, x->dim); /* sum p t */
    op_save(c, 1, DT_F32, 1, x->dim); /* sum p + sum t */
}

/* What an element says: p, 1 - p (neither loses digits) and h. */
typedef struct Said {
    double p, rest, h;
} Said;

static Said said_of(double x, double t) {
    double e = exp(-fabs(x)), big = 1 / (1 + e);
    return (Said){x < 0 ? e * big : big, x < 0 ? big : e * big, fmax(x, 0) - x * t + log1p(e)};
}

static double alpha_of(const OpCall *c, double t) {
    return c->f[0] < 0 ? 1 : c->f[0] * t + (1 - c->f[0]) * (1 - t);
}

static double wrong_of(const Said *s, double t) {
    return s->p * (1 - t) + s->rest * t;
}

static double power(double q, double gamma) {
    return gamma == 2 ? q * q : pow(q, gamma); /* pow takes longer than all the rest */
}

/* What element i adds to the two sums of its row; but for Dice there is only the first. */
static void value(const OpCall *c, int64_t i, double sum[2]) {
    double t = (double)tensor_real(c->in[1])[i];
    Said s = said_of((double)tensor_at(c->in[0], i), t);
    switch ((MaskLoss)c->i[0]) {
    case MASK_BCE:
        sum[0] += s.h;
        break;
    case MASK_FOCAL:
        sum[0] += alpha_of(c, t) * power(wrong_of(&s, t), c->f[1]) * s.h;
        break;
    case MASK_DICE:
        sum[0] += s.p * t;
        sum[1] += s.p + t;
        break;
    }
}

/* dloss / dx of element i times P, but for Dice. */
static double slope(const OpCall *c, int64_t i) {
    double t = (double)tensor_real(c->in[1])[i];
    Said s = said_of((double)tensor_at(c->in[0], i), t);
    if (c->i[0] == MASK_BCE) return s.p - t;
    double q = wrong_of(&s, t), ratio = q > 0 ? s.p * s.rest / q : 0;
    return alpha_of(c, t) * power(q, c->f[1]) * (s.p - t - c->f[1] * s.h * (2 * t - 1) * ratio);
}

static double slope_dice(const OpCall *c, int64_t r, int64_t i) {
    double t = (double)tensor_real(c->in[1])[i], all = (double)tensor_real(c->save[1])[r] + 1;
    Said s = said_of((double)tensor_at(c->in[0], i), t);
    return -s.p * s.rest * (2 * t - (2 * (double)tensor_real(c->save[0])[r] + 1) / all) / all;
}

/* The sums of elements first .. past - 1. */
typedef void (*Summing)(const OpCall *c, int64_t first, int64_t past, double sum[2]);

static void sum_ref(const OpCall *c, int64_t first, int64_t past, double sum[2]) {
    for (int64_t i = first; i < past; i++) value(c, i, sum);
}

static void forward(OpCall *c, Summing add) {
    int64_t rows = c->in[0]->dim[0], n = rows ? tensor_count(c->in[0]) / rows : 0;
    double *part = op_scratch(c, (size_t)(rows * PARTS) * 2 * sizeof *part);
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < PARTS; k++) {
            double sum[2] = {0};
            add(c, r * n + n * k / PARTS, r * n + n * (k + 1) / PARTS, sum);
            part[2 * (r * PARTS + k)] = sum[0];
            part[2 * (r * PARTS + k) + 1] = sum[1];
        }
    for (int64_t r = 0; r < rows; r++) {
        double a = 0, b = 0;
        for (int64_t k = r * PARTS; k < (r + 1) * PARTS; k++) a += part[2 * k], b += part[2 * k + 1];
        bool dice = c->i[0] == MASK_DICE;
        tensor_real(c->out[0])[r] = (real)(dice ? 1 - (2 * a + 1) / (b + 1) : a / (double)n);
        if (!dice) continue;
        tensor_real(c->save[0])[r] = (real)a;
        tensor_real(c->save[1])[r] = (real)b;
    }
    op_scratch_free(c, part);
}

static void forward_ref(OpCall *c) {
    forward(c, sum_ref);
}

static void backward_ref(OpCall *c) {
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    int64_t rows = dx->dim[0], n = rows ? tensor_count(dx) / rows : 0;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows * n; i++) {
        double e = c->i[0] == MASK_DICE ? slope_dice(c, i / n, i) : slope(c, i) / (double)n;
        real g = (real)((double)tensor_real(c->out[0]->grad)[i / n] * e);
        tensor_put(dx, i, fresh ? g : tensor_at(dx, i) + g);
    }
}

#ifndef LETHE_DOUBLE
enum { STRIP = 256 };

/* What a strip of elements says, as above; power: a q^gamma. */
typedef struct Strip {
    float p[STRIP], rest[STRIP], h[STRIP], q[STRIP], power[STRIP];
} Strip;

static void strip_said(Strip *s, const float *x, const float *t, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float far = x[i] < 0 ? -x[i] : x[i], e = fast_exp(-far), big = 1 / (1 + e), small = e * big;
        s->p[i] = x[i] < 0 ? small : big;
        s->rest[i] = x[i] < 0 ? big : small;
        s->h[i] = (x[i] > 0 ? x[i] : 0) - x[i] * t[i] + fast_log1p(e);
    }
}

static void strip_power(const OpCall *c, Strip *s, const float *t, int64_t n) {
    float alpha = (float)c->f[0], gamma = (float)c->f[1];
#pragma omp simd
    for (int64_t i = 0; i < n; i++) s->q[i] = s->p[i] * (1 - t[i]) + s->rest[i] * t[i];
    if (gamma == 2) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) s->power[i] = s->q[i] * s->q[i];
    } else {
        for (int64_t i = 0; i < n; i++) s->power[i] = powf(s->q[i], gamma);
    }
    if (alpha < 0) return;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) s->power[i] *= alpha * t[i] + (1 - alpha) * (1 - t[i]);
}

static void sum_cpu(const OpCall *c, int64_t first, int64_t past, double sum[2]) {
    Strip s;
    float room[STRIP];
    for (int64_t at = first; at < past; at += STRIP) {
        int64_t n = past - at < STRIP ? past - at : STRIP;
        const float *x = tensor_strip(c->in[0], at, n, room), *t = tensor_real(c->in[1]) + at;
        float a = 0, b = 0;
        strip_said(&s, x, t, n);
        if (c->i[0] == MASK_DICE) {
#pragma omp simd reduction(+ : a, b)
            for (int64_t i = 0; i < n; i++) a += s.p[i] * t[i], b += s.p[i] + t[i];
        } else if (c->i[0] == MASK_BCE) {
#pragma omp simd reduction(+ : a)
            for (int64_t i = 0; i < n; i++) a += s.h[i];
        } else {
            strip_power(c, &s, t, n);
#pragma omp simd reduction(+ : a)
            for (int64_t i = 0; i < n; i++) a += s.power[i] * s.h[i];
        }
        sum[0] += (double)a;
        sum[1] += (double)b;
    }
}

static void forward_cpu(OpCall *c) {
    forward(c, sum_cpu);
}

/* out[i] = g times the slope, of elements of row r */
static void strip_slope(const OpCall *c, int64_t r, Strip *s, const float *t, int64_t n, float g,
                        float *out) {
    float gamma = (float)c->f[1];
    if (c->i[0] == MASK_DICE) {
        float all = tensor_real(c->save[1])[r] + 1, share = (2 * tensor_real(c->save[0])[r] + 1) / all;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) out[i] = -g * s->p[i] * s->rest[i] * (2 * t[i] - share) / all;
    } else if (c->i[0] == MASK_BCE) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) out[i] = g * (s->p[i] - t[i]);
    } else {
        strip_power(c, s, t, n);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            float ratio = s->q[i] > 0 ? s->p[i] * s->rest[i] / s->q[i] : 0;
            out[i] = g * s->power[i] * (s->p[i] - t[i] - gamma * s->h[i] * (2 * t[i] - 1) * ratio);
        }
    }
}

static void backward_cpu(OpCall *c) {
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    int64_t rows = dx->dim[0], each = rows ? tensor_count(dx) / rows : 0, strips = (each + STRIP - 1) / STRIP;
#pragma omp parallel for schedule(static)
    for (int64_t k = 0; k < rows * strips; k++) {
        Strip s;
        float room[STRIP], out[STRIP], old[STRIP];
        int64_t r = k / strips, from = k % strips * STRIP, at = r * each + from;
        int64_t n = each - from < STRIP ? each - from : STRIP;
        const float *x = tensor_strip(c->in[0], at, n, room), *t = tensor_real(c->in[1]) + at;
        float g = tensor_real(c->out[0]->grad)[r];
        strip_said(&s, x, t, n);
        strip_slope(c, r, &s, t, n, c->i[0] == MASK_DICE ? g : g / (float)each, out);
        if (!fresh) {
            const float *had = tensor_strip(dx, at, n, old);
#pragma omp simd
            for (int64_t i = 0; i < n; i++) out[i] += had[i];
        }
        tensor_strip_put(dx, at, n, out);
    }
}
#endif

static const Probe probes[] = {
    {.about = "bce", .in = {{2, {3, 7}, -4, 4}, {2, {3, 7}, 0, 1, .constant = true}}, .i = {MASK_BCE}},
    {.about = "bce of pictures",
     .in = {{3, {2, 3, 4}, -30, 30}, {3, {2, 3, 4}, 0, 1, .constant = true}},
     .i = {MASK_BCE}},
    {.about = "focal",
     .in = {{2, {3, 20}, -4, 4}, {2, {3, 20}, 0, 1, .constant = true}},
     .f = {0.25, 2},
     .i = {MASK_FOCAL}},
    {.about = "focal without alpha, of clear targets",
     .in = {{2, {3, 9}, -6, 6}, {2, {3, 9}, 1, 1, .constant = true}},
     .f = {-1, 0.5},
     .i = {MASK_FOCAL}},
    {.about = "focal, more than a strip",
     .in = {{2, {2, 700}, -9, 9}, {2, {2, 700}, 0, 1, .constant = true}},
     .f = {0.25, 2},
     .i = {MASK_FOCAL}},
    {.about = "dice", .in = {{2, {3, 20}, -4, 4}, {2, {3, 20}, 0, 1, .constant = true}}, .i = {MASK_DICE}},
    {.about = "dice, nothing there",
     .in = {{2, {2, 5}, -9, -5}, {2, {2, 5}, 0, 1e-9, .constant = true}},
     .i = {MASK_DICE}},
};

const Op mask_loss_row = {
    .name = "mask_loss",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_cpu), ON_CUDA(mask_loss_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_cpu), ON_CUDA(mask_loss_backward_cuda)},
    .needs = NEED_IN(0) | NEED_IN(1),
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_mask_loss(Step *s, Tensor *x, Tensor *target, MaskLoss kind, double f0, double f1) {
    return op_run(s, &mask_loss_row, &(OpCall){.in = {x, target}, .f = {f0, f1}, .i = {kind}});
}
