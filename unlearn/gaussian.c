#include "unlearn/gaussian.h"

#include "unlearn/pinv.h"

#include <math.h>

enum { BLOCK = 64 }; /* rows that stay in the cache while they are multiplied with each other */

const GaussianSettings gaussian_standard = {.power = 0.5, .diagonal = 3, .rest = 3};

/* Embeddings of one class, and the sums over them. */
typedef struct Fit {
    const float *e;
    const int64_t *row;
    int64_t n;
    int d;
    double power;
    double *mean;       /* [d] */
    double *block;      /* [BLOCK][d] transformed, less the mean */
    double *covariance; /* [d][d] */
} Fit;

static double tukey(float e, double power) {
    return e > 0 ? pow((double)e, power) : 0;
}

static const float *row_of(const Fit *f, int64_t s) {
    return f->e + (f->row ? f->row[s] : s) * f->d;
}

static void fit_close(Fit *f) {
    mem_free(f->mean);
    mem_free(f->block);
    mem_free(f->covariance);
}

static bool fit_open(Fit *f, Error *error) {
    const size_t d = (size_t)f->d;
    f->mean = mem_zero(d, sizeof *f->mean);
    f->block = mem_get(BLOCK * d * sizeof *f->block);
    f->covariance = mem_zero(d * d, sizeof *f->covariance);
    return (f->mean && f->block && f->covariance) || error_memory(error, d * d * sizeof *f->covariance);
}

static bool add_means(Fit *f, Error *error) {
    for (int64_t s = 0; s < f->n; s++) {
        const float *e = row_of(f, s);
        for (int i = 0; i < f->d; i++) {
            if (!isfinite(e[i]))
                return error_set(error, ERROR_NUMERIC, "gaussian: embedding %lld is not finite on axis %d",
                                 (long long)(f->row ? f->row[s] : s), i);
            f->mean[i] += tukey(e[i], f->power) / (double)f->n;
        }
    }
    return true;
}

/* The products of `count` rows, up to the diagonal. One thread sums an entry, in the order of the rows. */
static void multiply_block(Fit *f, int count) {
    const int d = f->d;
#pragma omp parallel for schedule(dynamic, 8)
    for (int i = 0; i < d; i++) {
        double *to = f->covariance + (int64_t)i * d;
        for (int s = 0; s < count; s++) {
            const double *x = f->block + (int64_t)s * d, c = x[i];
            for (int j = 0; j <= i; j++) to[j] += c * x[j];
        }
    }
}

static void add_covariance(Fit *f) {
    const int d = f->d;
    for (int64_t from = 0; from < f->n; from += BLOCK) {
        const int count = (int)(f->n - from < BLOCK ? f->n - from : BLOCK);
        for (int s = 0; s < count; s++) {
            const float *e = row_of(f, from + s);
            for (int i = 0; i < d; i++) f->block[(int64_t)s * d + i] = tukey(e[i], f->power) - f->mean[i];
        }
        multiply_block(f, count);
    }
    for (int i = 0; i < d; i++)
        for (int j = 0; j <= i; j++) {
            const double s = f->covariance[(int64_t)i * d + j] / (double)(f->n - 1);
            f->covariance[(int64_t)i * d + j] = f->covariance[(int64_t)j * d + i] = s;
        }
}

static void shrink(double *s, int d, const GaussianSettings *set) {
    double trace = 0, all = 0;
    for (int i = 0; i < d; i++) {
        trace += s[(int64_t)i * d + i];
        for (int j = 0; j < d; j++) all += s[(int64_t)i * d + j];
    }
    const double diagonal = set->diagonal * trace / d;
    const double rest = d > 1 ? set->rest * (all - trace) / ((double)d * (d - 1)) : 0;
    for (int i = 0; i < d; i++)
        for (int j = 0; j < d; j++) s[(int64_t)i * d + j] += i == j ? diagonal : rest;
}

/* `scale` is scratch [d]. An axis that does not move has no scale: it is left out, as an eigenvalue of 0. */
static bool correlate(double *s, double *scale, int d, Error *error) {
    bool moves = false;
    for (int i = 0; i < d; i++) {
        const double variance = s[(int64_t)i * d + i];
        scale[i] = variance > 0 ? 1 / sqrt(variance) : 0;
        moves = moves || variance > 0;
    }
    if (!moves) return error_set(error, ERROR_VALUE, "gaussian: all embeddings of the class are the same");
    for (int i = 0; i < d; i++)
        for (int j = 0; j < d; j++) s[(int64_t)i * d + j] *= scale[i] * scale[j];
    return true;
}

/* Mean and inverse as floats, the mean of length 1. */
static bool keep(Gaussian *g, const Fit *f, Error *error) {
    const size_t d = (size_t)f->d;
    double square = 0;
    g->mean = mem_get(d * sizeof *g->mean);
    g->inverse = mem_get(d * d * sizeof *g->inverse);
    if (!g->mean || !g->inverse) return error_memory(error, d * d * sizeof *g->inverse);
    for (size_t i = 0; i < d; i++) square += f->mean[i] * f->mean[i];
    for (size_t i = 0; i < d; i++) g->mean[i] = (float)(f->mean[i] / sqrt(square));
    for (size_t i = 0; i < d * d; i++) g->inverse[i] = (float)f->covariance[i];
    return true;
}

static bool check(int64_t n, int d, const GaussianSettings *set, Error *error) {
    if (n < 2)
        return error_set(error, ERROR_VALUE, "gaussian: %lld embeddings of a class; needs 2", (long long)n);
    if (d < 1 || d > GAUSSIAN_MOST)
        return error_set(error, ERROR_VALUE, "gaussian: %d axes; possible are 1 to %d", d, GAUSSIAN_MOST);
    if (!(set->power > 0) || !(set->diagonal >= 0) || !(set->rest >= 0))
        return error_set(error, ERROR_VALUE,
                         "gaussian: power %g, shrinkage %g and %g; must be > 0, >= 0, >= 0", set->power,
                         set->diagonal, set->rest);
    return true;
}

bool gaussian_fit(Gaussian *g, const float *e, const int64_t *row, int64_t n, int d,
                  const GaussianSettings *set, Error *error) {
    Fit f = {.e = e, .row = row, .n = n, .d = d, .power = set->power};
    bool ok = false;
    *g = (Gaussian){.d = d, .power = set->power};
    if (!check(n, d, set, error)) return false;
    if (!fit_open(&f, error) || !add_means(&f, error)) goto out;
    add_covariance(&f);
    shrink(f.covariance, d, set);
    shrink(f.covariance, d, set);
    if (!correlate(f.covariance, f.block, d, error)) goto out;
    if (!pinv_symmetric(f.covariance, d, &g->rank, error)) goto out;
    ok = keep(g, &f, error);
out:
    fit_close(&f);
    if (!ok) gaussian_close(g);
    return ok;
}

void gaussian_close(Gaussian *g) {
    mem_free(g->mean);
    mem_free(g->inverse);
    *g = (Gaussian){0};
}

/* Features of a ResNet are means of what a ReLU left, and hardly come near 0. A ViT's cross it all the time:
 * by the true slope those that are nearest to nothing would weigh the most, and two runs that round
 * differently would part within a few dozen updates. */
#define SLOPE_FROM 0.1

/* With u = t / |t| and q = 2 P r: dD/dt = (q - u (u . q)) / |t|. */
static void slope(const Gaussian *g, const float *e, const double *u, const double *half, double length,
                  float *gradient) {
    double along = 0;
    for (int i = 0; i < g->d; i++) along += u[i] * half[i];
    for (int i = 0; i < g->d; i++) {
        const double at = fmax((double)e[i], SLOPE_FROM);
        const double dt = 2 * (half[i] - along * u[i]) / length;
        gradient[i] = e[i] > 0 ? (float)(dt * g->power * pow(at, g->power - 1)) : 0;
    }
}

double gaussian_distance(const Gaussian *g, const float *e, float *gradient, double *work) {
    const int d = g->d;
    double *u = work, *r = work + d, *half = work + 2 * d, square = 0, distance = 0;
    for (int i = 0; i < d; i++) {
        u[i] = tukey(e[i], g->power);
        square += u[i] * u[i];
    }
    const double length = square > 0 ? sqrt(square) : 1;
    for (int i = 0; i < d; i++) {
        u[i] /= length;
        r[i] = u[i] - (double)g->mean[i];
    }
    for (int i = 0; i < d; i++) {
        const float *p = g->inverse + (int64_t)i * d;
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int j = 0; j < d; j++) sum += (double)p[j] * r[j];
        half[i] = sum;
        distance += sum * r[i];
    }
    if (gradient) slope(g, e, u, half, length, gradient);
    return distance;
}
