/* Inverse curvature times a vector: Woodbury against a dense solve and in memory, the WoodFisher loop against
 * what it sums up to, and both against what removing samples from a logistic regression really does. */
#include "core/rng.h"
#include "unlearn/lowrank.h"
#include "unlearn/vector.h"
#include "unlearn/woodfisher.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL = 40 };

static void fill(float *x, int64_t n, uint64_t seed) {
    Rng r = rng_open(seed, RNG_TEST, 0, 0);
    for (int64_t i = 0; i < n; i++) x[i] = (float)rng_normal(&r);
}

/* a x = b, rows of `width` >= n: Gauss with row pivots; a and b are overwritten, x comes to stand in b. */
static void solve_dense(double *a, double *b, int n, int width) {
    for (int k = 0; k < n; k++) {
        int best = k;
        for (int i = k + 1; i < n; i++)
            if (fabs(a[i * width + k]) > fabs(a[best * width + k])) best = i;
        for (int j = 0; j < n; j++) {
            const double t = a[k * width + j];
            a[k * width + j] = a[best * width + j];
            a[best * width + j] = t;
        }
        const double t = b[k];
        b[k] = b[best];
        b[best] = t;
        for (int i = k + 1; i < n; i++) {
            const double f = a[i * width + k] / a[k * width + k];
            for (int j = k; j < n; j++) a[i * width + j] -= f * a[k * width + j];
            b[i] -= f * b[k];
        }
    }
    for (int i = n - 1; i >= 0; i--) {
        for (int j = i + 1; j < n; j++) b[i] -= a[i * width + j] * b[j];
        b[i] /= a[i * width + i];
    }
}

static double correlation(const double *a, const double *b, int n) {
    double ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < n; i++) {
        ab += a[i] * b[i];
        aa += a[i] * a[i];
        bb += b[i] * b[i];
    }
    return ab / sqrt(aa * bb);
}

/* |a - b| / |b| */
static double miss(const double *a, const double *b, int n) {
    double above = 0, below = 0;
    for (int i = 0; i < n; i++) {
        above += (a[i] - b[i]) * (a[i] - b[i]);
        below += b[i] * b[i];
    }
    return sqrt(above / below);
}

static void dots(void **state) {
    (void)state;
    enum { LONG = 200003 };
    float *a = malloc(LONG * sizeof *a), *b = malloc(LONG * sizeof *b);
    const int threads = omp_get_max_threads();
    double sum = 0;
    fill(a, LONG, 1);
    fill(b, LONG, 2);
    for (int n = 0; n < 200; n++) {
        assert_float_equal(vector_dot(a, b, n), sum, 1e-12);
        sum += (double)a[n] * (double)b[n];
    }
    omp_set_num_threads(1);
    const double one = vector_dot(a, b, LONG);
    omp_set_num_threads(3);
    assert_true(vector_dot(a, b, LONG) == one);
    omp_set_num_threads(threads);
    free(a);
    free(b);
}

/* ---- lowrank ---- */

static float vectors[8][SMALL];
static const float *const list[8] = {vectors[0], vectors[1], vectors[2], vectors[3],
                                     vectors[4], vectors[5], vectors[6], vectors[7]};

static void against_dense(const double *c, int r, double lambda, uint64_t seed) {
    double a[SMALL * SMALL], want[SMALL], got[SMALL];
    float g[SMALL], x[SMALL];
    Error e;
    fill(vectors[0], 8 * SMALL, seed);
    fill(g, SMALL, seed + 1000);
    for (int i = 0; i < SMALL; i++) {
        for (int j = 0; j < SMALL; j++) {
            a[i * SMALL + j] = i == j ? lambda : 0;
            for (int k = 0; k < r; k++)
                a[i * SMALL + j] += c[k] * (double)vectors[k][i] * (double)vectors[k][j];
        }
        want[i] = (double)g[i];
    }
    solve_dense(a, want, SMALL, SMALL);
    if (!lowrank_solve(list, c, r, lambda, g, x, SMALL, &e)) fail_msg("%s", e.text);
    for (int i = 0; i < SMALL; i++) got[i] = (double)x[i];
    assert_true(miss(got, want, SMALL) < 1e-6);
    assert_true(lowrank_solve(list, c, r, lambda, g, g, SMALL, &e)); /* in place */
    assert_memory_equal(g, x, sizeof x);
}

static void lowrank_is_the_dense_solution(void **state) {
    (void)state;
    static const double c[8] = {1, -0.7, 0.3, 2, -0.05, 0, 4, -1.2};
    for (uint64_t seed = 0; seed < 20; seed++)
        for (int r = 0; r <= 8; r++) {
            against_dense(c, r, 0.01, seed);
            against_dense(c, r, 3, seed);
        }
}

static void lowrank_refusals(void **state) {
    (void)state;
    float g[SMALL], x[SMALL];
    Error e;
    fill(vectors[0], 8 * SMALL, 5);
    fill(g, SMALL, 6);
    /* lambda + c |u|^2 = 0: singular along u */
    const double size = vector_dot(vectors[0], vectors[0], SMALL), c[2] = {-0.25 / size, 1};
    assert_false(lowrank_solve(list, c, 1, 0.25, g, x, SMALL, &e));
    assert_int_equal(e.code, ERROR_NUMERIC);
    assert_non_null(strstr(e.text, "singular"));
    assert_true(lowrank_solve(list, c, 1, 0.26, g, x, SMALL, &e));
    /* the same vector twice, weights that cancel: H = 0, which is not singular */
    const float *const twice[2] = {vectors[0], vectors[0]};
    const double cancel[2] = {2, -2};
    assert_true(lowrank_solve(twice, cancel, 2, 0.5, g, x, SMALL, &e));
    for (int i = 0; i < SMALL; i++) assert_float_equal(x[i], 2 * g[i], 1e-5);
    assert_false(lowrank_solve(list, c, 1, 0, g, x, SMALL, &e));
    assert_int_equal(e.code, ERROR_VALUE);
    assert_false(lowrank_solve(list, c, 1, NAN, g, x, SMALL, &e));
    assert_false(lowrank_solve(list, c, -1, 1, g, x, SMALL, &e));
    g[3] = INFINITY;
    assert_false(lowrank_solve(list, c, 1, 1, g, x, SMALL, &e));
    assert_int_equal(e.code, ERROR_NUMERIC);
    g[3] = 1e30F;
    assert_false(lowrank_solve(list, c, 0, 1e-20, g, x, SMALL, &e));
    assert_non_null(strstr(e.text, "not finite"));
    vectors[0][0] = NAN;
    assert_false(lowrank_solve(list, c, 2, 1, g, x, SMALL, &e));
    mem_fail_after(0);
    assert_false(lowrank_solve(list, c, 2, 1, g, x, SMALL, &e));
    mem_fail_after(-1);
    assert_int_equal(e.code, ERROR_MEMORY);
}

/* One request for the small system, whatever the length: 72 doubles beside vectors of 100000, and in no time.
 * The residual says that the solution is one. */
static void lowrank_of_long_vectors(void **state) {
    (void)state;
    enum { LONG = 100000, R = 8 };
    static const double c[R] = {1e-4, -2e-5, 1e-3, 2e-4, 0.01, 1e-5, -1e-6, 3};
    float *u = malloc(sizeof *u * LONG * R), *g = malloc(sizeof *g * LONG), *x = malloc(sizeof *x * LONG);
    const float *rows[R];
    double dot[R], error = 0;
    Error e;
    fill(u, (int64_t)LONG * R, 8);
    fill(g, LONG, 9);
    for (int k = 0; k < R; k++) rows[k] = u + (size_t)k * LONG;
    const MemStat before = mem_stat();
    if (!lowrank_solve(rows, c, R, 0.01, g, x, LONG, &e)) fail_msg("%s", e.text);
    assert_int_equal(mem_stat().calls, before.calls + 1);
    assert_int_equal(mem_stat().live, before.live);
    for (int k = 0; k < R; k++) dot[k] = vector_dot(rows[k], x, LONG);
    for (int i = 0; i < LONG; i++) {
        double left = 0.01 * (double)x[i] - (double)g[i];
        for (int k = 0; k < R; k++) left += c[k] * dot[k] * (double)rows[k][i];
        error += left * left;
    }
    assert_true(sqrt(error / vector_dot(g, g, LONG)) < 0.02); /* of x in float, times 3 |u|^2 = 3e5 */
    free(u);
    free(g);
    free(x);
}

/* ---- woodfisher ---- */

/* The loop as it is published, in double. */
static void published_loop(const float (*g)[SMALL], int count, int samples, double *k, double *o) {
    for (int i = 0; i < SMALL; i++) o[i] = (double)g[0][i];
    for (int m = 1; m < count; m++) {
        double t = 0, kg = 0;
        for (int i = 0; i < SMALL; i++) {
            t += o[i] * (double)g[m][i];
            kg += k[i] * (double)g[m][i];
        }
        for (int i = 0; i < SMALL; i++) {
            k[i] -= kg / (samples + t) * o[i];
            o[i] -= t / (samples + t) * o[i];
        }
    }
}

/* (I + g_1 s^T) k = v by a dense solve. */
static void dense_form(const float (*g)[SMALL], int count, int samples, double *k) {
    double a[SMALL * SMALL], s[SMALL] = {0};
    for (int m = 1; m < count; m++)
        for (int i = 0; i < SMALL; i++) s[i] += (double)g[m][i] / samples;
    for (int i = 0; i < SMALL; i++)
        for (int j = 0; j < SMALL; j++) a[i * SMALL + j] = (i == j) + (double)g[0][i] * s[j];
    solve_dense(a, k, SMALL, SMALL);
}

static void woodfisher_is_loop_and_form(void **state) {
    (void)state;
    enum { MOST = 60 };
    static float g[MOST][SMALL];
    for (uint64_t seed = 0; seed < 10; seed++) {
        float v[SMALL], k[SMALL];
        double loop[SMALL], form[SMALL], got[SMALL], o[SMALL];
        WoodFisher w;
        Error e;
        fill(v, SMALL, seed);
        fill(g[0], MOST * SMALL, seed + 100);
        for (int i = 0; i < SMALL; i++) loop[i] = form[i] = (double)v[i];
        assert_true(woodfisher_begin(&w, v, SMALL, MOST, &e));
        assert_true(woodfisher_result(&w, k, &e));
        assert_memory_equal(k, v, sizeof v);
        for (int m = 0; m < MOST; m++) {
            for (int i = 0; i < SMALL; i++) g[m][i] += 0.5F; /* a mean, as gradients have */
            woodfisher_add(&w, g[m]);
        }
        if (!woodfisher_result(&w, k, &e)) fail_msg("%s", e.text);
        woodfisher_close(&w);
        published_loop((const float(*)[SMALL])g, MOST, MOST, loop, o);
        dense_form((const float(*)[SMALL])g, MOST, MOST, form);
        for (int i = 0; i < SMALL; i++) got[i] = (double)k[i];
        assert_true(miss(got, loop, SMALL) < 1e-6);
        assert_true(miss(got, form, SMALL) < 1e-6);
        assert_true(miss(loop, form, SMALL) < 1e-10);
    }
}

static void woodfisher_refusals(void **state) {
    (void)state;
    float v[SMALL], g[SMALL], k[SMALL];
    WoodFisher w;
    Error e;
    for (int i = 0; i < SMALL; i++) v[i] = g[i] = 1;
    assert_false(woodfisher_begin(&w, v, 0, 10, &e));
    assert_int_equal(e.code, ERROR_VALUE);
    assert_false(woodfisher_begin(&w, v, SMALL, 0, &e));
    mem_fail_after(0);
    assert_false(woodfisher_begin(&w, v, SMALL, 1, &e));
    mem_fail_after(-1);
    assert_int_equal(e.code, ERROR_MEMORY);
    assert_true(woodfisher_begin(&w, v, SMALL, SMALL, &e));
    woodfisher_add(&w, g);
    for (int i = 0; i < SMALL; i++) g[i] = -1; /* 1 + u . s = 0 */
    woodfisher_add(&w, g);
    assert_false(woodfisher_result(&w, k, &e));
    assert_int_equal(e.code, ERROR_NUMERIC);
    g[0] = NAN;
    woodfisher_add(&w, g);
    assert_false(woodfisher_result(&w, k, &e));
    woodfisher_close(&w);
}

/* ---- what is it good for? a logistic regression with and without a few of its samples ---- */

enum { SAMPLES = 2000, FEATURES = 6, GONE = 40 };

typedef struct Logistic {
    double x[SAMPLES][FEATURES];
    int label[SAMPLES];
    double decay; /* of the sum of losses: decay / 2 |theta|^2 */
} Logistic;

static double chance(const Logistic *l, const double *theta, int i) {
    double sum = 0;
    for (int k = 0; k < FEATURES; k++) sum += theta[k] * l->x[i][k];
    return 1 / (1 + exp(-sum));
}

/* Gradient and Hessian of the summed loss of samples from .. SAMPLES - 1. */
static void differentiate(const Logistic *l, const double *theta, int from, double *gradient,
                          double *hessian) {
    for (int k = 0; k < FEATURES; k++) {
        gradient[k] = l->decay * theta[k];
        for (int j = 0; j < FEATURES; j++) hessian[k * FEATURES + j] = j == k ? l->decay : 0;
    }
    for (int i = from; i < SAMPLES; i++) {
        const double p = chance(l, theta, i);
        for (int k = 0; k < FEATURES; k++) {
            gradient[k] += (p - l->label[i]) * l->x[i][k];
            for (int j = 0; j < FEATURES; j++)
                hessian[k * FEATURES + j] += p * (1 - p) * l->x[i][k] * l->x[i][j];
        }
    }
}

static void train(const Logistic *l, int from, double *theta) {
    double g[FEATURES], h[FEATURES * FEATURES];
    memset(theta, 0, FEATURES * sizeof *theta);
    for (int step = 0; step < 30; step++) { /* Newton */
        differentiate(l, theta, from, g, h);
        solve_dense(h, g, FEATURES, FEATURES);
        for (int k = 0; k < FEATURES; k++) theta[k] -= g[k];
    }
}

/* Features of very different sizes, so that curvature matters; labels drawn from a true model. The first GONE
 * samples are of one kind: removing them moves the parameters one way. */
static void draw_samples(Logistic *l, uint64_t seed) {
    static const double truth[FEATURES] = {1, -2, 0.3, 0.5, 2, -0.5}, size[FEATURES] = {1, 0.3, 3, 1, 0.2, 2};
    Rng r = rng_open(seed, RNG_TEST, 1, 0);
    l->decay = 1;
    for (int i = 0; i < SAMPLES; i++) {
        double sum = 0;
        for (int k = 0; k < FEATURES; k++) {
            l->x[i][k] = size[k] * (rng_normal(&r) + (i < GONE && k < 3));
            sum += truth[k] * l->x[i][k];
        }
        l->label[i] = rng_uniform(&r) < 1 / (1 + exp(-sum));
    }
}

static void sample_gradient(const Logistic *l, const double *theta, int i, float *g) {
    const double p = chance(l, theta, i);
    for (int k = 0; k < FEATURES; k++) g[k] = (float)((p - l->label[i]) * l->x[i][k]);
}

static float kept[SAMPLES][FEATURES]; /* gradients at the parameters of all samples */

static void from_float(const float *x, double *y) {
    for (int k = 0; k < FEATURES; k++) y[k] = (double)x[k];
}

/* By the Fisher matrix of a few kept gradients, as if they were all. */
static void by_fisher(const Logistic *l, const float *v, double *x) {
    enum { KEPT = 1200 };
    static const float *rows[KEPT];
    static double c[KEPT];
    float got[FEATURES];
    Error e;
    for (int i = 0; i < KEPT; i++) {
        rows[i] = kept[GONE + i];
        c[i] = (double)(SAMPLES - GONE) / KEPT;
    }
    if (!lowrank_solve(rows, c, KEPT, l->decay, v, got, FEATURES, &e)) fail_msg("%s", e.text);
    from_float(got, x);
}

static void by_loop(const float *v, double *x) {
    float got[FEATURES];
    WoodFisher w;
    Error e;
    assert_true(woodfisher_begin(&w, v, FEATURES, 1000, &e));
    for (int i = GONE; i < GONE + 1000; i++) woodfisher_add(&w, kept[i]);
    assert_true(woodfisher_result(&w, got, &e));
    woodfisher_close(&w);
    from_float(got, x);
}

/* The first order of what removal does is the inverse Hessian of what is left times the gradient of what
 * goes. The Fisher matrix stands in for the Hessian well; the published loop is no better than the bare
 * gradient. */
static void influence_predicts_removal(void **state) {
    (void)state;
    static Logistic l;
    for (uint64_t seed = 0; seed < 5; seed++) {
        double all[FEATURES], left[FEATURES], moved[FEATURES], gone[FEATURES] = {0}, bare[FEATURES];
        double hessian[FEATURES * FEATURES], fisher[FEATURES], loop[FEATURES];
        float v[FEATURES];
        draw_samples(&l, seed);
        train(&l, 0, all);
        train(&l, GONE, left);
        for (int i = 0; i < SAMPLES; i++) sample_gradient(&l, all, i, kept[i]);
        for (int k = 0; k < FEATURES; k++) {
            moved[k] = left[k] - all[k];
            for (int i = 0; i < GONE; i++) gone[k] += (double)kept[i][k];
            v[k] = (float)gone[k];
        }
        differentiate(&l, all, GONE, bare, hessian);
        solve_dense(hessian, gone, FEATURES, FEATURES);
        assert_true(miss(gone, moved, FEATURES) < 0.03);
        assert_true(correlation(gone, moved, FEATURES) > 0.999);
        by_fisher(&l, v, fisher);
        assert_true(miss(fisher, moved, FEATURES) < 0.3);
        assert_true(correlation(fisher, moved, FEATURES) > 0.95);
        by_loop(v, loop);
        from_float(v, bare);
        assert_true(fabs(correlation(loop, moved, FEATURES) - correlation(bare, moved, FEATURES)) < 0.05);
        assert_true(correlation(loop, moved, FEATURES) < 0.7);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dots),
        cmocka_unit_test(lowrank_is_the_dense_solution),
        cmocka_unit_test(lowrank_refusals),
        cmocka_unit_test(lowrank_of_long_vectors),
        cmocka_unit_test(woodfisher_is_loop_and_form),
        cmocka_unit_test(woodfisher_refusals),
        cmocka_unit_test(influence_predicts_removal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
