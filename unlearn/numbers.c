#include "unlearn/numbers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool numbers_check(const char *what, const double *x, int64_t n, int64_t least, Error *e) {
    if (n < least)
        return error_set(e, ERROR_VALUE, "%s: %lld given, at least %lld are needed", what, (long long)n,
                         (long long)least);
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(x[i]) <= NUMBERS_LARGEST))
            return error_set(e, ERROR_NUMERIC, "%s: number %lld is %g", what, (long long)i, x[i]);
    return true;
}

double numbers_mean(const double *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i];
    return sum / (double)n;
}

/* In two passes: one pass would cancel where the mean is large. */
double numbers_spread(const double *x, int64_t n) {
    double mean = numbers_mean(x, n), sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (x[i] - mean) * (x[i] - mean);
    return sqrt(sum / (double)(n - 1));
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void numbers_sort(double *x, int64_t n) {
    if (n > 1) qsort(x, (size_t)n, sizeof *x, compare);
}

double *numbers_sorted(const double *x, int64_t n, Error *e) {
    size_t size = (size_t)n * sizeof *x;
    double *copy = mem_get(size);
    if (!copy) {
        error_memory(e, size);
        return NULL;
    }
    memcpy(copy, x, size);
    numbers_sort(copy, n);
    return copy;
}

double numbers_quantile(const double *sorted, int64_t n, double q) {
    double at = q * (double)(n - 1), below = floor(at);
    int64_t i = (int64_t)below;
    if (i + 1 >= n) return sorted[n - 1];
    return sorted[i] + (at - below) * (sorted[i + 1] - sorted[i]);
}
