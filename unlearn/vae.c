#include "unlearn/vae.h"

#include "core/rng.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { STREAM = 0x7AE };

/* What stands where in width, at and slope. */
enum { INPUT, CODE = 3, LATENT = 4, OUTPUT = VAE_STAGES - 1 };

const VaeSettings vae_standard = {
    .wide = 128, .narrow = 32, .latent = 16, .kl = 0.025, .lr = 1e-3, .epochs = 50, .batch = 128};

/* A layer leads from its stage to the next; between CODE and LATENT there is none. */
static int stage_of(int layer) {
    return layer < CODE ? layer : layer + 1;
}

static bool check(int d, const VaeSettings *s, Error *e) {
    const int width[] = {d, s->wide, s->narrow, s->latent};
    for (int k = 0; k < COUNT(width); k++)
        if (width[k] < 1 || width[k] > VAE_MOST)
            return error_set(e, ERROR_VALUE, "vae: a width of %d; possible are 1 to %d", width[k], VAE_MOST);
    if (!(s->kl >= 0) || !(s->lr > 0) || s->epochs < 0 || s->batch < 1)
        return error_set(e, ERROR_VALUE,
                         "vae: kl %g, lr %g, %d epochs, batches of %d; must be >= 0, > 0, >= 0, >= 1", s->kl,
                         s->lr, s->epochs, s->batch);
    return true;
}

static void lay_out(Vae *v) {
    const VaeSettings *s = &v->set;
    const int width[VAE_STAGES] = {v->d,      s->wide,   s->narrow, 2 * s->latent,
                                   s->latent, s->narrow, s->wide,   v->d};
    memcpy(v->width, width, sizeof width);
    for (int k = 0; k < VAE_LAYERS; k++) {
        VaeLayer *l = &v->layer[k];
        *l = (VaeLayer){.in = width[stage_of(k)], .out = width[stage_of(k) + 1], .weight = v->count};
        l->bias = l->weight + (int64_t)l->in * l->out;
        v->count = l->bias + l->out;
    }
}

/* As torch.nn.Linear: weights and biases uniform within 1 / sqrt(in). */
static void draw_weights(Vae *v) {
    for (int k = 0; k < VAE_LAYERS; k++) {
        const VaeLayer *l = &v->layer[k];
        char name[16];
        snprintf(name, sizeof name, "vae.%d", k);
        Rng r = rng_open(v->set.seed, RNG_INIT, 0, rng_hash(name));
        const double bound = 1 / sqrt(l->in);
        for (int64_t i = l->weight; i < l->bias + l->out; i++) v->value[i] = rng_range(&r, -bound, bound);
    }
}

bool vae_open(Vae *v, int d, const VaeSettings *set, Error *e) {
    *v = (Vae){.set = *set, .d = d};
    if (!check(d, set, e)) return false;
    lay_out(v);
    v->value = mem_get((size_t)v->count * sizeof *v->value);
    v->low = mem_zero((size_t)d, sizeof *v->low);
    v->size = mem_get((size_t)d * sizeof *v->size);
    if (!v->value || !v->low || !v->size) {
        const size_t bytes = (size_t)v->count * sizeof *v->value;
        vae_close(v);
        return error_memory(e, bytes);
    }
    for (int i = 0; i < d; i++) v->size[i] = 1;
    draw_weights(v);
    return true;
}

void vae_close(Vae *v) {
    mem_free(v->value);
    mem_free(v->low);
    mem_free(v->size);
    *v = (Vae){0};
}

bool vae_work_open(VaeWork *w, const Vae *v, int rows, Error *e) {
    size_t width = (size_t)v->set.latent;
    for (int k = 0; k < VAE_STAGES; k++) width += 2 * (size_t)v->width[k];
    *w = (VaeWork){.rows = rows};
    if (rows < 1) return error_set(e, ERROR_VALUE, "vae: batches of %d", rows);
    double *at = w->slab = mem_get(width * (size_t)rows * sizeof *w->slab);
    if (!at) return error_memory(e, width * (size_t)rows * sizeof *at);
    for (int k = 0; k < VAE_STAGES; k++) {
        w->at[k] = at;
        w->slope[k] = at += (int64_t)v->width[k] * rows;
        at += (int64_t)v->width[k] * rows;
    }
    w->noise = at;
    return true;
}

void vae_work_close(VaeWork *w) {
    mem_free(w->slab);
    *w = (VaeWork){0};
}

/* ---- forward ---- */

static void take(const Vae *v, VaeWork *w, const float *e, const int64_t *row, int rows) {
    for (int b = 0; b < rows; b++)
        for (int i = 0; i < v->d; i++) {
            const float at = e[(row ? row[b] : b) * v->d + i];
            w->at[INPUT][(int64_t)b * v->d + i] = ((double)at - v->low[i]) * v->size[i];
        }
}

/* y = x W + b of each row; then what the layer ends in. */
static void layer_forward(const Vae *v, VaeWork *w, int k, int rows) {
    const VaeLayer *l = &v->layer[k];
    const double *weight = v->value + l->weight;
    const int from = stage_of(k);
#pragma omp parallel for schedule(static)
    for (int b = 0; b < rows; b++) {
        const double *x = w->at[from] + (int64_t)b * l->in;
        double *restrict y = w->at[from + 1] + (int64_t)b * l->out;
        memcpy(y, v->value + l->bias, (size_t)l->out * sizeof *y);
        for (int i = 0; i < l->in; i++)
            for (int o = 0; o < l->out; o++) y[o] += x[i] * weight[(int64_t)i * l->out + o];
        for (int o = 0; o < l->out; o++) {
            if (from + 1 == OUTPUT)
                y[o] = 1 / (1 + exp(-y[o]));
            else if (from + 1 != CODE)
                y[o] = fmax(y[o], 0);
        }
    }
}

/* z = mu + s noise, or mu where there is no noise. */
static void sample(const Vae *v, VaeWork *w, const double *noise, int rows) {
    const int n = v->set.latent;
    for (int b = 0; b < rows; b++) {
        const double *mu = w->at[CODE] + (int64_t)b * 2 * n, *log_square = mu + n;
        for (int i = 0; i < n; i++) {
            const double off = noise ? exp(log_square[i] / 2) * noise[(int64_t)b * n + i] : 0;
            w->at[LATENT][(int64_t)b * n + i] = mu[i] + off;
        }
    }
}

static void forward(const Vae *v, VaeWork *w, const double *noise, int rows) {
    for (int k = 0; k < CODE; k++) layer_forward(v, w, k, rows);
    sample(v, w, noise, rows);
    for (int k = CODE; k < VAE_LAYERS; k++) layer_forward(v, w, k, rows);
}

/* ---- backward ---- */

/* From the slope of what the layer gives to that of its product x W + b, in place. */
static void undo_end(VaeWork *w, int to, int64_t count) {
    const double *y = w->at[to];
    double *slope = w->slope[to];
    if (to == CODE) return;
    for (int64_t i = 0; i < count; i++)
        slope[i] = to == OUTPUT ? slope[i] * y[i] * (1 - y[i]) : y[i] > 0 ? slope[i] : 0;
}

static void layer_backward(const Vae *v, VaeWork *w, int k, int rows) {
    const VaeLayer *l = &v->layer[k];
    const double *weight = v->value + l->weight;
    const int from = stage_of(k);
    undo_end(w, from + 1, (int64_t)rows * l->out);
#pragma omp parallel for schedule(static)
    for (int b = 0; b < rows; b++) {
        const double *dy = w->slope[from + 1] + (int64_t)b * l->out;
        for (int i = 0; i < l->in; i++) {
            double sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int o = 0; o < l->out; o++) sum += dy[o] * weight[(int64_t)i * l->out + o];
            w->slope[from][(int64_t)b * l->in + i] = sum;
        }
    }
}

/* d loss / d W and d b, of slopes that layer_backward has been through. */
static void layer_gradient(const Vae *v, const VaeWork *w, int k, int rows, double *gradient) {
    const VaeLayer *l = &v->layer[k];
    const double *x = w->at[stage_of(k)], *dy = w->slope[stage_of(k) + 1];
    memset(gradient + l->weight, 0, (size_t)(l->bias + l->out - l->weight) * sizeof *gradient);
    for (int b = 0; b < rows; b++)
        for (int o = 0; o < l->out; o++) gradient[l->bias + o] += dy[(int64_t)b * l->out + o];
#pragma omp parallel for schedule(static)
    for (int i = 0; i < l->in; i++) {
        double *restrict to = gradient + l->weight + (int64_t)i * l->out;
        for (int b = 0; b < rows; b++) {
            const double f = x[(int64_t)b * l->in + i];
            for (int o = 0; o < l->out; o++) to[o] += f * dy[(int64_t)b * l->out + o];
        }
    }
}

/* kl / B KL and, with noise, what goes through s come on top; without noise s is nothing. */
static void sample_backward(const Vae *v, VaeWork *w, const double *noise, int rows) {
    const int n = v->set.latent;
    const double kl = noise ? v->set.kl / rows : 0;
    for (int b = 0; b < rows; b++) {
        const double *mu = w->at[CODE] + (int64_t)b * 2 * n, *log_square = mu + n;
        double *to = w->slope[CODE] + (int64_t)b * 2 * n;
        for (int i = 0; i < n; i++) {
            const double slope = w->slope[LATENT][(int64_t)b * n + i];
            const double off = noise ? exp(log_square[i] / 2) * noise[(int64_t)b * n + i] : 0;
            to[i] = slope + kl * mu[i];
            to[n + i] = slope * off / 2 + kl * (exp(log_square[i]) - 1) / 2;
        }
    }
}

static void backward(const Vae *v, VaeWork *w, const double *noise, int rows) {
    for (int k = VAE_LAYERS - 1; k >= CODE; k--) layer_backward(v, w, k, rows);
    sample_backward(v, w, noise, rows);
    for (int k = CODE - 1; k >= 0; k--) layer_backward(v, w, k, rows);
}

/* ---- what they are for ---- */

/* |y - x|^2 of row b; the slope of y is `weight` times its derivative. */
static double square_miss(const Vae *v, VaeWork *w, int b, double weight) {
    const double *x = w->at[INPUT] + (int64_t)b * v->d, *y = w->at[OUTPUT] + (int64_t)b * v->d;
    double *slope = w->slope[OUTPUT] + (int64_t)b * v->d, sum = 0;
    for (int i = 0; i < v->d; i++) {
        sum += (y[i] - x[i]) * (y[i] - x[i]);
        slope[i] = 2 * weight * (y[i] - x[i]);
    }
    return sum;
}

static double divergence(const Vae *v, const VaeWork *w, int b) {
    const int n = v->set.latent;
    const double *mu = w->at[CODE] + (int64_t)b * 2 * n, *log_square = mu + n;
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (mu[i] * mu[i] + exp(log_square[i]) - 1 - log_square[i]) / 2;
    return sum;
}

void vae_miss(const Vae *v, VaeWork *w, const float *e, int rows, double *miss, float *gradient) {
    if (rows > w->rows) die("vae_miss: %d rows in a work of %d", rows, w->rows);
    take(v, w, e, NULL, rows);
    forward(v, w, NULL, rows);
    for (int b = 0; b < rows; b++) miss[b] = square_miss(v, w, b, 1);
    if (!gradient) return;
    backward(v, w, NULL, rows);
    for (int b = 0; b < rows; b++)
        for (int i = 0; i < v->d; i++) {
            const int64_t at = (int64_t)b * v->d + i;
            const double direct = 2 * (w->at[INPUT][at] - w->at[OUTPUT][at]);
            gradient[at] = (float)((w->slope[INPUT][at] + direct) * v->size[i]);
        }
}

static void draw_noise(const Vae *v, VaeWork *w, const int64_t *row, int rows, uint32_t epoch) {
    for (int b = 0; b < rows; b++) {
        Rng r = rng_sub(rng_open(v->set.seed, RNG_UNLEARN, epoch, (uint64_t)(row ? row[b] : b)), STREAM);
        for (int i = 0; i < v->set.latent; i++) w->noise[(int64_t)b * v->set.latent + i] = rng_normal(&r);
    }
}

double vae_loss(const Vae *v, VaeWork *w, const float *e, const int64_t *row, int rows, uint32_t epoch,
                double *gradient) {
    double loss = 0;
    if (rows > w->rows) die("vae_loss: %d rows in a work of %d", rows, w->rows);
    take(v, w, e, row, rows);
    draw_noise(v, w, row, rows, epoch);
    forward(v, w, w->noise, rows);
    for (int b = 0; b < rows; b++)
        loss += (square_miss(v, w, b, 1. / rows) + v->set.kl * divergence(v, w, b)) / rows;
    if (!gradient) return loss;
    backward(v, w, w->noise, rows);
    for (int k = 0; k < VAE_LAYERS; k++) layer_gradient(v, w, k, rows, gradient);
    return loss;
}
