#include "core/rng.h"
#include "unlearn/vae.h"

#include <math.h>

enum { STREAM = 0x7AF };

typedef struct Fit {
    VaeWork work;
    double *gradient, *first, *second; /* [count], moments of Adam */
    uint32_t *order;                   /* [n] rows, shuffled */
    int64_t *row;                      /* [batch] */
    int64_t n, steps;
} Fit;

static bool take_range(Vae *v, const float *e, int64_t n, Error *error) {
    for (int i = 0; i < v->d; i++) {
        double low = INFINITY, high = -INFINITY;
        for (int64_t s = 0; s < n; s++) {
            const double at = (double)e[s * v->d + i];
            if (!isfinite(at))
                return error_set(error, ERROR_NUMERIC, "vae: embedding %lld is not finite on axis %d",
                                 (long long)s, i);
            low = fmin(low, at);
            high = fmax(high, at);
        }
        v->low[i] = low;
        v->size[i] = high > low ? 1 / (high - low) : 0;
    }
    return true;
}

static void fit_close(Fit *f) {
    vae_work_close(&f->work);
    mem_free(f->gradient);
    mem_free(f->first);
    mem_free(f->second);
    mem_free(f->order);
    mem_free(f->row);
}

static bool fit_open(Fit *f, const Vae *v, Error *error) {
    const size_t count = (size_t)v->count;
    if (!vae_work_open(&f->work, v, v->set.batch, error)) return false;
    f->gradient = mem_get(count * sizeof *f->gradient);
    f->first = mem_zero(count, sizeof *f->first);
    f->second = mem_zero(count, sizeof *f->second);
    f->order = mem_get((size_t)f->n * sizeof *f->order);
    f->row = mem_get((size_t)v->set.batch * sizeof *f->row);
    if (!f->gradient || !f->first || !f->second || !f->order || !f->row)
        return error_memory(error, count * sizeof *f->first);
    return true;
}

/* Kingma and Ba 2015, as torch.optim.Adam. */
static void adam(Vae *v, Fit *f) {
    const double step = (double)++f->steps, size = v->set.lr / (1 - pow(0.9, step)),
                 root = 1 - pow(0.999, step);
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < v->count; i++) {
        const double g = f->gradient[i];
        f->first[i] = 0.9 * f->first[i] + 0.1 * g;
        f->second[i] = 0.999 * f->second[i] + 0.001 * g * g;
        v->value[i] -= size * f->first[i] / (sqrt(f->second[i] / root) + 1e-8);
    }
}

/* Returns the mean loss, over samples. */
static double run_epoch(Vae *v, Fit *f, const float *e, uint32_t epoch) {
    Rng r = rng_sub(rng_open(v->set.seed, RNG_UNLEARN, epoch, 0), STREAM);
    double loss = 0;
    for (int64_t s = 0; s < f->n; s++) f->order[s] = (uint32_t)s;
    rng_shuffle(&r, f->order, (size_t)f->n);
    for (int64_t at = 0; at < f->n; at += v->set.batch) {
        const int rows = (int)(f->n - at < v->set.batch ? f->n - at : v->set.batch);
        for (int b = 0; b < rows; b++) f->row[b] = f->order[at + b];
        loss += vae_loss(v, &f->work, e, f->row, rows, epoch, f->gradient) * rows / (double)f->n;
        adam(v, f);
    }
    return loss;
}

bool vae_fit(Vae *v, const float *e, int64_t n, double *loss, Error *error) {
    Fit f = {.n = n};
    double last = 0;
    if (n < 1 || n > UINT32_MAX) return error_set(error, ERROR_VALUE, "vae: %lld embeddings", (long long)n);
    bool ok = take_range(v, e, n, error) && fit_open(&f, v, error);
    for (int epoch = 0; ok && epoch < v->set.epochs; epoch++) {
        last = run_epoch(v, &f, e, (uint32_t)epoch);
        if (!isfinite(last))
            ok = error_set(error, ERROR_NUMERIC,
                           "vae: the loss of epoch %d is not finite; try a smaller lr than %g", epoch,
                           v->set.lr);
    }
    fit_close(&f);
    if (ok && loss) *loss = last;
    return ok;
}
