#include "unlearn/pinv.h"

#include <float.h>
#include <lapacke.h>
#include <math.h>
#include <string.h>

/* Row-major and column-major are the same to a symmetric matrix, but for the half that is read: "U" of
 * columns is the lower half of rows. a becomes eigenvectors, one a row, with `value` ascending. */
static bool decompose(double *a, int n, double *value, Error *e) {
    double size = 0;
    lapack_int whole = 0;
    LAPACKE_dsyevd_work(LAPACK_COL_MAJOR, 'V', 'U', n, a, n, value, &size, -1, &whole, -1);
    double *work = mem_get((size_t)size * sizeof *work);
    lapack_int *places = mem_get((size_t)whole * sizeof *places);
    if (!work || !places) {
        mem_free(work);
        mem_free(places);
        return error_memory(e, (size_t)size * sizeof *work);
    }
    const int bad = LAPACKE_dsyevd_work(LAPACK_COL_MAJOR, 'V', 'U', n, a, n, value, work, (lapack_int)size,
                                        places, whole);
    mem_free(work);
    mem_free(places);
    return bad == 0 || error_set(e, ERROR_NUMERIC,
                                 "pinv: no eigenvalues of a %d x %d matrix (LAPACK says %d)", n, n, bad);
}

/* Row i of sum_k q_k q_k^T / l_k over the eigenvectors first .. last - 1 of `vector`, up to the diagonal. */
static void compose_row(double *p, const double *vector, const double *inverse, int n, int i) {
    memset(p, 0, (size_t)n * sizeof *p);
    for (int k = 0; k < n; k++) {
        const double *q = vector + (int64_t)k * n, f = inverse[k] * q[i];
        if (inverse[k] == 0) continue;
        for (int j = 0; j <= i; j++) p[j] += f * q[j];
    }
}

static int invert(double *value, int n) {
    const double most = fmax(fabs(value[0]), fabs(value[n - 1]));
    int rank = 0;
    for (int k = 0; k < n; k++) {
        const bool counts = fabs(value[k]) > n * DBL_EPSILON * most;
        value[k] = counts ? 1 / value[k] : 0;
        rank += counts;
    }
    return rank;
}

bool pinv_symmetric(double *a, int n, int *rank, Error *e) {
    const size_t bytes = (size_t)n * (size_t)n * sizeof *a;
    for (int64_t i = 0; i < (int64_t)n * n; i++)
        if (!isfinite(a[i])) return error_set(e, ERROR_NUMERIC, "pinv: the matrix is not finite");
    double *vector = mem_get(bytes), *value = mem_get((size_t)n * sizeof *value);
    bool ok = false;
    if (!vector || !value) {
        error_memory(e, bytes);
        goto out;
    }
    memcpy(vector, a, bytes);
    if (!decompose(vector, n, value, e)) goto out;
    const int full = invert(value, n);
    if (rank) *rank = full;
#pragma omp parallel for schedule(dynamic, 8)
    for (int i = 0; i < n; i++) compose_row(a + (int64_t)i * n, vector, value, n, i);
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++) a[(int64_t)i * n + j] = a[(int64_t)j * n + i];
    ok = true;
out:
    mem_free(vector);
    mem_free(value);
    return ok;
}
