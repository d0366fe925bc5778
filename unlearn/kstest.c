#include "unlearn/kstest.h"

#include "unlearn/measures.h"
#include "unlearn/numbers.h"

#include <math.h>
#include <stdlib.h>

static const double PI = 3.14159265358979323846;

/* Below 1.18 the alternating series is slow; Jacobi's transform of it is not (DLMF 20.7(viii)). Either side,
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

/* n m times the largest distance. Both sorted; the functions are compared only where a run of equal numbers
 * ends in both. */
static int64_t largest_distance(const double *a, int64_t n, const double *b, int64_t m) {
    int64_t d = 0;
    for (int64_t i = 0, j = 0; i < n && j < m;) {
        double x = a[i] < b[j] ? a[i] : b[j];
        while (i < n && a[i] == x) i++;
        while (j < m && b[j] == x) j++;
        if (llabs(i * m - j * n) > d) d = llabs(i * m - j * n);
    }
    return d;
}

/* The two samples in order are a path on a grid from (0, 0) to (n, m), all equally likely. share[j] is the
 * share of the paths to (i, j) that have been as far as d from the diagonal: of those, i in i + j come from
 * (i - 1, j). After Kim and Jennrich 1973; nothing is subtracted, so small shares keep their digits.
 * share [m + 1]: room, zeroed. */
static double path_share(double *share, int64_t n, int64_t m, int64_t d) {
    for (int64_t i = 0; i <= n; i++)
        for (int64_t j = 0; j <= m; j++) {
            double before = j > 0 ? share[j - 1] : 0;
            if (llabs(i * m - j * n) >= d)
                share[j] = 1;
            else if (i + j > 0)
                share[j] = (share[j] * (double)i + before * (double)j) / (double)(i + j);
        }
    return share[m];
}

static bool samples_check(const double *a, int64_t n, const double *b, int64_t m, Error *e) {
    return numbers_check("the first sample", a, n, 1, e) && numbers_check("the second sample", b, m, 1, e);
}

static bool sorted_test(KsTest *out, const double *a, int64_t n, const double *b, int64_t m, Error *e) {
    int64_t d = largest_distance(a, n, b, m);
    double nm = (double)n * (double)m;
    out->d = (double)d / nm;
    out->exact = out->p = ks_tail(out->d * sqrt(nm / (double)(n + m)));
    if (nm > KS_EXACT) return true;
    double *share = mem_zero((size_t)m + 1, sizeof *share);
    if (!share) return error_memory(e, ((size_t)m + 1) * sizeof *share);
    out->exact = path_share(share, n, m, d);
    mem_free(share);
    return true;
}

bool ks_test(KsTest *out, const double *a, int64_t n, const double *b, int64_t m, Error *e) {
    if (!samples_check(a, n, b, m, e)) return false;
    double *x = numbers_sorted(a, n, e), *y = x ? numbers_sorted(b, m, e) : NULL;
    bool ok = y && sorted_test(out, x, n, y, m, e);
    mem_free(x);
    mem_free(y);
    return ok;
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
