#include "unlearn/vector.h"

#include <math.h>

enum { STRETCH = 1 << 15 };

real *vector_new(int64_t n, Error *e) {
    real *x = mem_zero((size_t)n, sizeof *x);
    if (!x) error_memory(e, (size_t)n * sizeof *x);
    return x;
}

void vector_add(real *to, const real *x, double factor, int64_t n) {
    real f = (real)factor;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < n; i++) to[i] += f * x[i];
}

void vector_add_square(real *to, const real *x, double factor, int64_t n) {
    real f = (real)factor;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < n; i++) to[i] += f * x[i] * x[i];
}

void vector_scale(real *x, double factor, int64_t n) {
    real f = (real)factor;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < n; i++) x[i] *= f;
}

double vector_dot(const real *x, const real *y, int64_t n) {
    double sum = 0;
    for (int64_t at = 0; at < n; at += STRETCH) {
        int64_t end = at + STRETCH < n ? at + STRETCH : n;
        double part = 0;
#pragma omp simd reduction(+ : part)
        for (int64_t i = at; i < end; i++) part += (double)x[i] * (double)y[i];
        sum += part;
    }
    return sum;
}

double vector_norm(const real *x, int64_t n) {
    return sqrt(vector_dot(x, x, n));
}

double vector_absolute(const real *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += fabs((double)x[i]);
    return sum;
}

static void swap(real *x, int64_t i, int64_t j) {
    real t = x[i];
    x[i] = x[j];
    x[j] = t;
}

/* Hoare's selection, the middle of three as pivot. */
static real select_rank(real *x, int64_t n, int64_t k) {
    int64_t lo = 0, hi = n - 1;
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2;
        if (x[mid] < x[lo]) swap(x, mid, lo);
        if (x[hi] < x[lo]) swap(x, hi, lo);
        if (x[hi] < x[mid]) swap(x, hi, mid);
        real pivot = x[mid];
        int64_t i = lo, j = hi;
        while (i <= j) {
            while (x[i] < pivot) i++;
            while (x[j] > pivot) j--;
            if (i <= j) swap(x, i++, j--);
        }
        if (k <= j)
            hi = j;
        else if (k >= i)
            lo = i;
        else
            return x[k];
    }
    return x[k];
}

bool vector_rank(const real *x, const real *y, int64_t n, int64_t k, real *out, Error *e) {
    real *copy = mem_get((size_t)n * sizeof *copy);
    if (!copy) return error_memory(e, (size_t)n * sizeof *copy);
    for (int64_t i = 0; i < n; i++) copy[i] = (real)fabs((double)(y ? x[i] - y[i] : x[i]));
    *out = select_rank(copy, n, k);
    mem_free(copy);
    return true;
}
