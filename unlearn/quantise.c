#include "unlearn/quantise.h"

#include <math.h>

static bool weights_check(const float *w, int64_t rows, int64_t columns, Error *e) {
    for (int64_t i = 0; i < rows * columns; i++)
        if (!isfinite(w[i]))
            return error_set(e, ERROR_NUMERIC, "quantise: weight [%lld, %lld] is %g",
                             (long long)(i / columns), (long long)(i % columns), (double)w[i]);
    return true;
}

/* Returns the sum of squared changes. In double: a scale of tiny weights would underflow as a float. */
static double quantise_row(float *w, int64_t columns, double top) {
    double largest = 0, sum = 0;
    for (int64_t j = 0; j < columns; j++) largest = fmax(largest, fabs((double)w[j]));
    if (largest == 0) return 0;
    double scale = largest / top;
    for (int64_t j = 0; j < columns; j++) {
        float kept = (float)(scale * rint((double)w[j] / scale));
        sum += ((double)w[j] - (double)kept) * ((double)w[j] - (double)kept);
        w[j] = kept;
    }
    return sum;
}

bool quantise_rows(float *w, int64_t rows, int64_t columns, int bits, double *error, Error *e) {
    if (bits < 2 || bits > 8)
        return error_set(e, ERROR_VALUE, "quantise: %d bits, 2 to 8 are possible", bits);
    if (rows < 1 || columns < 1)
        return error_set(e, ERROR_VALUE, "quantise: a matrix of %lld rows and %lld columns", (long long)rows,
                         (long long)columns);
    if (!weights_check(w, rows, columns, e)) return false;
    double sum = 0;
    for (int64_t i = 0; i < rows; i++) sum += quantise_row(w + i * columns, columns, (1 << (bits - 1)) - 1);
    if (error) *error = sqrt(sum / ((double)rows * (double)columns));
    return true;
}
