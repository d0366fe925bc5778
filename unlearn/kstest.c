#include "unlearn/kstest.h"

#include "unlearn/measures.h"
#include "unlearn/numbers.h"

#include <math.h>

static const double PI = 3.14159265358979323846;

/* Below 1.18 the alternating series is slow; Jacobi's transform of it is not (DLMF 20.7.32). Either side,
 * eight terms are beyond double precision. */
double ks_tail(double x) {
    double sum = 0;
    if (!(x > 0.04)) return 1; /* 1 to the last bit */
    if (x < 1.18) {
        for (int k = 1; k <= 15; k += 2) sum += exp(-k * k * PI * PI / (8 * x * x));
        return 1 - sqrt(2 * PI) / x * sum;
    }
    for (int k = 8; k >= 1; k--) sum += (k % 2 ? 2 : -2) * exp(-2.0 * k * k * x * x);
    return sum;
}

/* Both sorted. The functions are compared only where a run of equal numbers ends in both. */
static double largest_distance(const double *a, int64_t n, const double *b, int64_t m) {
    double d = 0;
    for (int64_t i = 0, j = 0; i < n && j < m;) {
        double x = a[i] < b[j] ? a[i] : b[j];
        while (i < n && a[i] == x) i++;
        while (j < m && b[j] == x) j++;
        d = fmax(d, fabs((double)i / (double)n - (double)j / (double)m));
    }
    return d;
}

static bool samples_check(const double *a, int64_t n, const double *b, int64_t m, Error *e) {
    return numbers_check("the first sample", a, n, 1, e) && numbers_check("the second sample", b, m, 1, e);
}

bool ks_test(KsTest *out, const double *a, int64_t n, const double *b, int64_t m, Error *e) {
    if (!samples_check(a, n, b, m, e)) return false;
    double *x = numbers_sorted(a, n, e), *y = x ? numbers_sorted(b, m, e) : NULL;
    if (y) {
        out->d = largest_distance(x, n, y, m);
        out->p = ks_tail(out->d * sqrt((double)n * (double)m / (double)(n + m)));
    }
    mem_free(x);
    mem_free(y);
    return y != NULL;
}

/* ---------------------------------------------------------------------------------------- histograms --- */

/* share [bins]: of the n numbers that lie in each; the largest number belongs to the last bin. */
static void histogram(double *share, int bins, double lo, double hi, const double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        int bin = (int)((x[i] - lo) / (hi - lo) * bins);
        share[bin < bins ? bin : bins - 1] += 1.0 / (double)n;
    }
}

static void widen(double *lo, double *hi, const double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        *lo = fmin(*lo, x[i]);
        *hi = fmax(*hi, x[i]);
    }
}

bool ks_histogram_distance(double *out, const double *a, int64_t n, const double *b, int64_t m, int bins,
                           Error *e) {
    double lo = INFINITY, hi = -INFINITY;
    if (bins < 1) return error_set(e, ERROR_VALUE, "histograms: %d bins, at least 1 is needed", bins);
    if (!samples_check(a, n, b, m, e)) return false;
    widen(&lo, &hi, a, n);
    widen(&lo, &hi, b, m);
    if (lo == hi) {
        *out = 0;
        return true;
    }
    size_t size = 2 * (size_t)bins * sizeof(double);
    double *share = mem_zero(2 * (size_t)bins, sizeof *share);
    if (!share) return error_memory(e, size);
    histogram(share, bins, lo, hi, a, n);
    histogram(share + bins, bins, lo, hi, b, m);
    *out = sqrt(measure_js(share, share + bins, bins));
    mem_free(share);
    return true;
}
