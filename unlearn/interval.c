#include "unlearn/interval.h"

#include "core/rng.h"
#include "unlearn/numbers.h"

#include <math.h>

/* ------------------------------------------------------------------------------------- distributions --- */

/* Continued fraction of the incomplete beta function, DLMF 8.17.22, by Lentz's method as Thompson and Barnett
 * 1986 have it; converges fast for x < (a + 1) / (a + b + 2). */
static double beta_fraction(double a, double b, double x) {
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double f = d;
    for (int m = 1; m < 10000; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        double change = 1;
        for (int half = 0; half < 2; half++) {
            double term = half ? odd : even;
            d = 1 + term * d;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            c = 1 + term / c;
            if (fabs(c) < tiny) c = tiny;
            f *= change = c * d;
        }
        if (fabs(change - 1) < 1e-16) break;
    }
    return f;
}

/* Regularised incomplete beta function I_x(a, b); y is 1 - x, given since the difference would cancel. */
static double beta_share(double a, double b, double x, double y) {
    if (x <= 0) return 0;
    if (y <= 0) return 1;
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(y));
    if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
    return 1 - front * beta_fraction(b, a, y) / b;
}

/* P(T > |t|): DLMF's I of freedom / (freedom + t^2), halved. */
static double student_tail(double t, double freedom) {
    double whole = freedom + t * t;
    return 0.5 * beta_share(0.5 * freedom, 0.5, freedom / whole, t * t / whole);
}

double student_cdf(double t, double freedom) {
    if (!(freedom > 0) || isnan(t)) return NAN;
    double tail = isinf(t) ? 0 : student_tail(t, freedom);
    return t > 0 ? 1 - tail : tail;
}

static double normal_tail(double x, double unused) {
    (void)unused;
    return 0.5 * erfc(x / sqrt(2.0));
}

/* x >= 0 where the falling tail(x) is q <= 1/2: doubling, then halving until doubles are neighbours. Slow and
 * sure; it is asked a few times a report. */
static double tail_inverse(double (*tail)(double, double), double freedom, double q) {
    double lo = 0, hi = 1;
    while (tail(hi, freedom) > q && hi < 1e150) hi *= 2;
    for (int i = 0; i < 200; i++) {
        double x = 0.5 * (lo + hi);
        if (x <= lo || x >= hi) break;
        if (tail(x, freedom) > q)
            lo = x;
        else
            hi = x;
    }
    return 0.5 * (lo + hi);
}

static double quantile(double (*tail)(double, double), double freedom, double p) {
    if (!(p > 0 && p < 1)) return NAN;
    if (p == 0.5) return 0;
    return p < 0.5 ? -tail_inverse(tail, freedom, p) : tail_inverse(tail, freedom, 1 - p);
}

double normal_quantile(double p) {
    return quantile(normal_tail, 0, p);
}

double student_quantile(double p, double freedom) {
    return freedom > 0 ? quantile(student_tail, freedom, p) : NAN;
}

/* ----------------------------------------------------------------------------------------- intervals --- */

static bool level_check(double level, Error *e) {
    if (level > 0 && level < 1) return true;
    return error_set(e, ERROR_VALUE, "an interval's level is %g: it must lie between 0 and 1", level);
}

bool interval_t(Interval *out, const double *x, int64_t n, double level, Error *e) {
    if (!level_check(level, e) || !numbers_check("figures of seeds", x, n, 2, e)) return false;
    double mean = numbers_mean(x, n), t = student_quantile(0.5 + 0.5 * level, (double)(n - 1));
    double half = t * numbers_spread(x, n) / sqrt((double)n);
    *out = (Interval){mean, mean - half, mean + half};
    return true;
}

bool interval_wilson(Interval *out, int64_t hits, int64_t n, double level, Error *e) {
    if (!level_check(level, e)) return false;
    if (n < 1 || hits < 0 || hits > n)
        return error_set(e, ERROR_VALUE, "%lld of %lld is no share", (long long)hits, (long long)n);
    double z = normal_quantile(0.5 + 0.5 * level), p = (double)hits / (double)n, zn = z * z / (double)n;
    double middle = (p + 0.5 * zn) / (1 + zn);
    double half = z / (1 + zn) * sqrt(p * (1 - p) / (double)n + 0.25 * zn / (double)n);
    /* At the ends the formula is exact, but for rounding. */
    *out = (Interval){p, hits == 0 ? 0 : middle - half, hits == n ? 1 : middle + half};
    return true;
}

/* Each draw has its own stream. */
static double draw_mean(const double *x, int64_t n, uint64_t seed, int draw) {
    Rng r = rng_open(seed, RNG_UNLEARN, NUMBERS_EPOCH_BOOTSTRAP, (uint64_t)draw);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[rng_below(&r, (uint64_t)n)];
    return sum / (double)n;
}

bool interval_bootstrap(Interval *out, const double *x, int64_t n, int draws, double level, uint64_t seed,
                        Error *e) {
    if (!level_check(level, e) || !numbers_check("bootstrap", x, n, 2, e)) return false;
    if (draws < 100) return error_set(e, ERROR_VALUE, "bootstrap: %d draws, at least 100 are needed", draws);
    double *mean = mem_zero((size_t)draws, sizeof *mean);
    if (!mean) return error_memory(e, (size_t)draws * sizeof *mean);
#pragma omp parallel for schedule(static)
    for (int i = 0; i < draws; i++) mean[i] = draw_mean(x, n, seed, i);
    numbers_sort(mean, draws);
    double value = numbers_mean(x, n), side = 0.5 * (1 - level);
    /* With very few or very skew numbers a percentile can pass the mean itself. */
    *out = (Interval){value, fmin(value, numbers_quantile(mean, draws, side)),
                      fmax(value, numbers_quantile(mean, draws, 1 - side))};
    mem_free(mean);
    return true;
}
