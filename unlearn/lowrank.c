#include "unlearn/lowrank.h"

#include "unlearn/vector.h"

#include <math.h>

/* Rows of `width` = r + 1 doubles: lambda I + C U^T U, and C U^T g as the last column. */
static void fill(double *a, const float *const *u, const double *c, int r, double lambda, const float *g,
                 int64_t n) {
    const int width = r + 1;
    for (int i = 0; i < r; i++) {
        for (int j = 0; j <= i; j++) {
            const double dot = vector_dot(u[i], u[j], n);
            a[i * width + j] = c[i] * dot;
            a[j * width + i] = c[j] * dot;
        }
        a[i * width + r] = c[i] * vector_dot(u[i], g, n);
    }
    for (int i = 0; i < r; i++) a[i * width + i] += lambda;
}

static double largest(const double *a, int r) {
    double most = 0;
    for (int i = 0; i < r; i++)
        for (int j = 0; j < r; j++) most = fmax(most, fabs(a[i * (r + 1) + j]));
    return most;
}

static void swap_rows(double *p, double *q, int width) {
    for (int k = 0; k < width; k++) {
        const double t = p[k];
        p[k] = q[k];
        q[k] = t;
    }
}

/* Column k below the diagonal becomes zero. False if no pivot stands out from what rounding leaves, or is
 * finite. */
static bool clear_column(double *a, int r, int k, double noise) {
    const int width = r + 1;
    int best = k;
    for (int i = k + 1; i < r; i++)
        if (fabs(a[i * width + k]) > fabs(a[best * width + k])) best = i;
    if (!(fabs(a[best * width + k]) > noise)) return false;
    swap_rows(a + k * width, a + best * width, width);
#pragma omp parallel for schedule(static) if (r > 1024)
    for (int i = k + 1; i < r; i++) {
        const double f = a[i * width + k] / a[k * width + k];
        for (int j = k; j <= r; j++) a[i * width + j] -= f * a[k * width + j];
    }
    return true;
}

/* Gauss with row pivots; w comes to stand in the last column. */
static bool eliminate(double *a, int r) {
    const int width = r + 1;
    const double noise = 1e-15 * (r + 1) * largest(a, r);
    for (int k = 0; k < r; k++)
        if (!clear_column(a, r, k, noise)) return false;
    for (int i = r - 1; i >= 0; i--) {
        for (int j = i + 1; j < r; j++) a[i * width + r] -= a[i * width + j] * a[j * width + r];
        a[i * width + r] /= a[i * width + i];
    }
    return true;
}

static bool combine(const double *a, const float *const *u, int r, double lambda, const float *g, float *x,
                    int64_t n) {
    bool finite = true;
#pragma omp parallel for schedule(static) reduction(&& : finite) if (n > 65536)
    for (int64_t i = 0; i < n; i++) {
        double sum = (double)g[i];
        for (int k = 0; k < r; k++) sum -= a[k * (r + 1) + r] * (double)u[k][i];
        x[i] = (float)(sum / lambda);
        finite = finite && isfinite(x[i]);
    }
    return finite;
}

bool lowrank_solve(const float *const *u, const double *c, int r, double lambda, const float *g, float *x,
                   int64_t n, Error *e) {
    if (r < 0 || r > LOWRANK_MOST)
        return error_set(e, ERROR_VALUE, "lowrank: %d outer products; possible are 0 to %d", r, LOWRANK_MOST);
    if (!(lambda > 0) || !isfinite(lambda))
        return error_set(e, ERROR_VALUE, "lowrank: lambda is %g; it must be above 0", lambda);
    const size_t bytes = (size_t)r * (size_t)(r + 1) * sizeof(double);
    double *a = mem_get(bytes);
    if (!a) return error_memory(e, bytes);
    fill(a, u, c, r, lambda, g, n);
    const bool solved = eliminate(a, r), finite = solved && combine(a, u, r, lambda, g, x, n);
    mem_free(a);
    if (!solved)
        return error_set(e, ERROR_NUMERIC,
                         "lowrank: the curvature with lambda %g is singular, or not finite; try another",
                         lambda);
    return finite || error_set(e, ERROR_NUMERIC,
                               "lowrank: the solution is not finite; try a larger lambda than %g", lambda);
}
