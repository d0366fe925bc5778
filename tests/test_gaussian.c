/* The pseudo-inverse by its four Penrose identities; SCAR's distance against the formula written down
 * plainly, its gradient against differences, and what it tells of classes. */
#include "core/rng.h"
#include "unlearn/gaussian.h"
#include "unlearn/pinv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 24, AXES = 10, ROWS = 300 };

/* c = a b, n x n */
static void product(const double *a, const double *b, double *c, int n) {
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            c[i * n + j] = 0;
            for (int k = 0; k < n; k++) c[i * n + j] += a[i * n + k] * b[k * n + j];
        }
}

static double apart(const double *a, const double *b, int n) {
    double most = 0;
    for (int i = 0; i < n * n; i++) most = fmax(most, fabs(a[i] - b[i]));
    return most;
}

static double largest(const double *a, int n) {
    double most = 0;
    for (int i = 0; i < n * n; i++) most = fmax(most, fabs(a[i]));
    return most;
}

static bool symmetric(const double *a, int n, double within) {
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++)
            if (fabs(a[i * n + j] - a[j * n + i]) > within) return false;
    return true;
}

/* A matrix of the given rank, with eigenvalues of both signs. */
static void draw_matrix(double *a, int n, int rank, uint64_t seed) {
    Rng r = rng_open(seed, RNG_TEST, 0, 0);
    memset(a, 0, sizeof *a * (size_t)(n * n));
    for (int k = 0; k < rank; k++) {
        double v[MOST];
        for (int i = 0; i < n; i++) v[i] = rng_normal(&r);
        for (int i = 0; i < n * n; i++) a[i] += (k % 3 == 2 ? -1 : 1) * v[i / n] * v[i % n];
    }
}

static void penrose(int n, int rank, uint64_t seed) {
    double a[MOST * MOST], p[MOST * MOST], ap[MOST * MOST], pa[MOST * MOST], back[MOST * MOST];
    Error e;
    int found;
    draw_matrix(a, n, rank, seed);
    memcpy(p, a, sizeof p);
    if (!pinv_symmetric(p, n, &found, &e)) fail_msg("%s", e.text);
    assert_int_equal(found, rank);
    const double size = 1 + largest(p, n); /* a badly conditioned matrix has a large one */
    product(a, p, ap, n);
    product(p, a, pa, n);
    product(ap, a, back, n);
    assert_true(apart(back, a, n) < 1e-11 * size); /* A P A = A */
    product(pa, p, back, n);
    assert_true(apart(back, p, n) < 1e-11 * size * size); /* P A P = P */
    assert_true(symmetric(ap, n, 1e-11 * size) && symmetric(pa, n, 1e-11 * size));
    assert_true(symmetric(p, n, 0));
}

static void penrose_identities(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 10; seed++) {
        penrose(1, 1, seed);
        penrose(7, 7, seed);
        penrose(MOST, MOST / 2, seed);
        penrose(MOST, 1, seed);
        penrose(MOST, 0, seed); /* the pseudo-inverse of zero is zero */
    }
}

static void pinv_refusals(void **state) {
    (void)state;
    double a[9] = {1, 0, 0, 0, 2, 0, 0, NAN, 1};
    Error e;
    assert_false(pinv_symmetric(a, 3, NULL, &e));
    assert_int_equal(e.code, ERROR_NUMERIC);
    a[7] = 0;
    const uint64_t live = mem_stat().live;
    for (int k = 0; k < 4; k++) {
        mem_fail_after(k);
        assert_false(pinv_symmetric(a, 3, NULL, &e));
        mem_fail_after(-1);
        assert_int_equal(e.code, ERROR_MEMORY);
        assert_int_equal(mem_stat().live, live);
    }
    a[3] = a[1] = 0.5; /* only the lower half counts */
    a[1] = 77;
    assert_true(pinv_symmetric(a, 3, NULL, &e));
    assert_float_equal(a[0], 2 / 1.75, 1e-14);
    assert_float_equal(a[1], -0.5 / 1.75, 1e-14);
    assert_float_equal(a[1], a[3], 0);
}

/* ---- classes ---- */

static float cloud[2][ROWS][AXES];

/* Two classes, of one shape at two places; some entries are not above 0, and axis 4 is dead. */
static void draw_classes(uint64_t seed) {
    Rng r = rng_open(seed, RNG_TEST, 1, 0);
    for (int c = 0; c < 2; c++)
        for (int s = 0; s < ROWS; s++) {
            const double common = rng_normal(&r);
            for (int i = 0; i < AXES; i++) {
                const double place = (i + c * 5) % AXES < 5 ? 1.5 : 0.4;
                cloud[c][s][i] = i == 4 ? 0 : (float)(place + 0.3 * rng_normal(&r) + 0.2 * common * (i % 3));
            }
        }
}

static Gaussian fit(int class, const GaussianSettings *set) {
    Gaussian g;
    Error e;
    if (!gaussian_fit(&g, cloud[class][0], NULL, ROWS, AXES, set, &e)) fail_msg("%s", e.text);
    return g;
}

/* The formulas once more, in the order of the header, in double. */
static double plain_distance(int class, const GaussianSettings *set, const float *e) {
    static double t[ROWS][AXES];
    double mean[AXES] = {0}, s[AXES * AXES], c[AXES * AXES], length = 0, far = 0, r[AXES], d = 0;
    Error error;
    for (int k = 0; k < ROWS; k++)
        for (int i = 0; i < AXES; i++) {
            t[k][i] = pow(fmax((double)cloud[class][k][i], 0), set->power);
            mean[i] += t[k][i] / ROWS;
        }
    for (int i = 0; i < AXES; i++)
        for (int j = 0; j < AXES; j++) {
            s[i * AXES + j] = 0;
            for (int k = 0; k < ROWS; k++)
                s[i * AXES + j] += (t[k][i] - mean[i]) * (t[k][j] - mean[j]) / (ROWS - 1);
        }
    for (int round = 0; round < 2; round++) {
        double diagonal = 0, rest = 0;
        for (int i = 0; i < AXES * AXES; i++) *(i / AXES == i % AXES ? &diagonal : &rest) += s[i];
        for (int i = 0; i < AXES * AXES; i++)
            s[i] += i / AXES == i % AXES ? set->diagonal * diagonal / AXES
                                         : set->rest * rest / (AXES * (AXES - 1));
    }
    for (int i = 0; i < AXES; i++)
        for (int j = 0; j < AXES; j++)
            c[i * AXES + j] = s[i * AXES + j] / sqrt(s[i * AXES + i] * s[j * AXES + j]);
    assert_true(pinv_symmetric(c, AXES, NULL, &error));
    for (int i = 0; i < AXES; i++) {
        r[i] = pow(fmax((double)e[i], 0), set->power);
        length += r[i] * r[i];
        far += mean[i] * mean[i];
    }
    for (int i = 0; i < AXES; i++) r[i] = r[i] / sqrt(length) - mean[i] / sqrt(far);
    for (int i = 0; i < AXES * AXES; i++) d += c[i] * r[i / AXES] * r[i % AXES];
    return d;
}

static void distance_is_the_formula(void **state) {
    (void)state;
    static const GaussianSettings other = {.power = 1, .diagonal = 1, .rest = 0.5};
    const GaussianSettings *sets[] = {&gaussian_standard, &other};
    double work[3 * AXES];
    for (int k = 0; k < 2; k++)
        for (uint64_t seed = 0; seed < 5; seed++) {
            draw_classes(seed);
            Gaussian g = fit(0, sets[k]);
            for (int s = 0; s < 5; s++) {
                const double want = plain_distance(0, sets[k], cloud[1][s]);
                assert_float_equal(gaussian_distance(&g, cloud[1][s], NULL, work), want, 1e-5 * want);
            }
            gaussian_close(&g);
        }
}

/* Own class near, other class far; P of no negative eigenvalue, so no distance below 0. */
static void classes_lie_apart(void **state) {
    (void)state;
    double work[3 * AXES];
    for (uint64_t seed = 0; seed < 5; seed++) {
        draw_classes(seed);
        Gaussian g[2] = {fit(0, &gaussian_standard), fit(1, &gaussian_standard)};
        for (int c = 0; c < 2; c++)
            for (int s = 0; s < ROWS; s++) {
                const double own = gaussian_distance(&g[c], cloud[c][s], NULL, work);
                assert_true(own >= 0 && own < gaussian_distance(&g[!c], cloud[c][s], NULL, work));
            }
        gaussian_close(&g[0]);
        gaussian_close(&g[1]);
    }
}

/* With diagonal = rest the smallest eigenvalue is least: still none below 0, whatever the sign of the
 * covariances. */
static void shrinkage_keeps_it_a_distance(void **state) {
    (void)state;
    static const GaussianSettings set = {.power = 1, .diagonal = 1, .rest = 1};
    double work[3 * AXES];
    Rng r = rng_open(9, RNG_TEST, 2, 0);
    for (int kind = 0; kind < 3; kind++) {
        for (int s = 0; s < ROWS; s++) {
            double sum = 0;
            const double common = rng_normal(&r);
            for (int i = 0; i < AXES; i++) {
                cloud[0][s][i] = (float)(rng_normal(&r) * (kind == 0 ? 0.01 : 1) + (kind == 0 ? common : 0));
                sum += (double)cloud[0][s][i] / AXES;
            }
            for (int i = 0; i < AXES; i++) cloud[0][s][i] += 20 - (kind == 1 ? (float)sum : 0);
        }
        Gaussian g = fit(0, &set);
        for (int s = 0; s < 2000; s++) {
            float e[AXES];
            for (int i = 0; i < AXES; i++) e[i] = (float)rng_uniform(&r);
            assert_true(gaussian_distance(&g, e, NULL, work) > -1e-6);
        }
        gaussian_close(&g);
    }
}

/* Differences of D in a float e: the step is what the float really moved. */
static void gradient_is_the_difference(void **state) {
    (void)state;
    static const GaussianSettings other = {.power = 1, .diagonal = 1, .rest = 0.5};
    double work[3 * AXES];
    for (uint64_t seed = 0; seed < 6; seed++) {
        draw_classes(seed);
        Gaussian g = fit(0, seed % 2 ? &other : &gaussian_standard);
        for (int s = 0; s < 20; s++) {
            float e[AXES], slope[AXES], unused[AXES];
            double size = 0;
            memcpy(e, cloud[1][s], sizeof e);
            e[7] = -0.3F;
            e[8] = 0;
            gaussian_distance(&g, e, slope, work);
            for (int i = 0; i < AXES; i++) size = fmax(size, fabs((double)slope[i]));
            assert_true(slope[7] == 0 && slope[8] == 0 && slope[4] == 0);
            for (int i = 0; i < AXES; i++) {
                const float at = e[i];
                if (at < 0.02F) continue;
                const double up = (double)(e[i] = at + 1e-3F), above = gaussian_distance(&g, e, unused, work);
                const double down = (double)(e[i] = at - 1e-3F),
                             below = gaussian_distance(&g, e, unused, work);
                e[i] = at;
                const double held =
                    pow(fmax(0.1 / (double)at, 1), g.power - 1); /* below 0.1 the slope there */
                assert_float_equal(slope[i], held * (above - below) / (up - down), 2e-3 * size);
            }
        }
        gaussian_close(&g);
    }
}

static void no_direction(void **state) {
    (void)state;
    float e[AXES] = {0}, slope[AXES];
    double work[3 * AXES];
    draw_classes(1);
    Gaussian g = fit(0, &gaussian_standard);
    e[2] = -1;
    assert_true(gaussian_distance(&g, e, slope, work) > 0);
    for (int i = 0; i < AXES; i++) assert_true(slope[i] == 0);
    e[3] = 1e-40F; /* hardly above */
    assert_true(isfinite(gaussian_distance(&g, e, slope, work)));
    for (int i = 0; i < AXES; i++) assert_true(isfinite(slope[i]));
    gaussian_close(&g);
}

/* What lies closer to 0 than 0.1 does not weigh more for it. */
static void slope_has_a_bound(void **state) {
    (void)state;
    float e[2][AXES], slope[2][AXES];
    double work[3 * AXES];
    draw_classes(1);
    Gaussian g = fit(0, &gaussian_standard);
    for (int k = 0; k < 2; k++) {
        memcpy(e[k], cloud[1][0], sizeof e[k]);
        e[k][3] = k ? 1e-5F : 1e-6F; /* of hardly any account for D */
        gaussian_distance(&g, e[k], slope[k], work);
    }
    assert_true(slope[0][3] != 0);
    assert_float_equal(slope[1][3], slope[0][3], 0.05 * fabs((double)slope[0][3])); /* the true ones: 3.2 */
    gaussian_close(&g);
}

static void rows_and_threads(void **state) {
    (void)state;
    static const int64_t row[] = {3, 1, 4, 15, 9, 2, 6};
    float few[COUNT(row)][AXES];
    const int threads = omp_get_max_threads();
    Gaussian a, b;
    Error e;
    draw_classes(2);
    for (int k = 0; k < COUNT(row); k++) memcpy(few[k], cloud[0][row[k]], sizeof few[k]);
    omp_set_num_threads(1);
    assert_true(gaussian_fit(&a, cloud[0][0], row, COUNT(row), AXES, &gaussian_standard, &e));
    omp_set_num_threads(3);
    assert_true(gaussian_fit(&b, few[0], NULL, COUNT(row), AXES, &gaussian_standard, &e));
    omp_set_num_threads(threads);
    assert_memory_equal(a.mean, b.mean, AXES * sizeof *a.mean);
    assert_memory_equal(a.inverse, b.inverse, (size_t)AXES * AXES * sizeof *a.inverse);
    assert_int_equal(a.rank, AXES); /* more axes than rows: shrinkage fills in */
    gaussian_close(&a);
    gaussian_close(&b);
}

static void refusals(void **state) {
    (void)state;
    Gaussian g;
    Error e;
    GaussianSettings set = gaussian_standard;
    draw_classes(3);
    assert_false(gaussian_fit(&g, cloud[0][0], NULL, 1, AXES, &set, &e));
    assert_int_equal(e.code, ERROR_VALUE);
    assert_false(gaussian_fit(&g, cloud[0][0], NULL, 5, 0, &set, &e));
    set.power = 0;
    assert_false(gaussian_fit(&g, cloud[0][0], NULL, 5, AXES, &set, &e));
    set = (GaussianSettings){.power = 1, .diagonal = NAN};
    assert_false(gaussian_fit(&g, cloud[0][0], NULL, 5, AXES, &set, &e));
    set = (GaussianSettings){.power = 1}; /* no shrinkage, a dead axis: it is left out */
    assert_true(gaussian_fit(&g, cloud[0][0], NULL, ROWS, AXES, &set, &e));
    assert_int_equal(g.rank, AXES - 1);
    gaussian_close(&g);
    cloud[0][4][2] = NAN;
    assert_false(gaussian_fit(&g, cloud[0][0], NULL, ROWS, AXES, &gaussian_standard, &e));
    assert_non_null(strstr(e.text, "embedding 4 is not finite on axis 2"));
    memset(cloud, 0, sizeof cloud);
    assert_false(gaussian_fit(&g, cloud[0][0], NULL, ROWS, AXES, &gaussian_standard, &e));
    assert_non_null(strstr(e.text, "the same"));
    draw_classes(3);
    const uint64_t live = mem_stat().live;
    int failures = 0;
    for (bool ok = false; !ok; failures += !ok) {
        mem_fail_after(failures);
        ok = gaussian_fit(&g, cloud[0][0], NULL, ROWS, AXES, &gaussian_standard, &e);
        mem_fail_after(-1);
        assert_true(ok || (e.code == ERROR_MEMORY && mem_stat().live == live));
    }
    assert_int_equal(failures, 9);
    gaussian_close(&g);
    assert_int_equal(mem_stat().live, live);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(penrose_identities),
        cmocka_unit_test(pinv_refusals),
        cmocka_unit_test(distance_is_the_formula),
        cmocka_unit_test(classes_lie_apart),
        cmocka_unit_test(shrinkage_keeps_it_a_distance),
        cmocka_unit_test(gradient_is_the_difference),
        cmocka_unit_test(no_direction),
        cmocka_unit_test(slope_has_a_bound),
        cmocka_unit_test(rows_and_threads),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
