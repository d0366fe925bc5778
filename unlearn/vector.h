/* vector: arithmetic on flat slabs of weights and gradients. Sums are made over fixed stretches in order, so
 * they do not depend on the number of threads. */
#ifndef LETHE_UNLEARN_VECTOR_H
#define LETHE_UNLEARN_VECTOR_H

#include "core/tensor.h"

real *vector_new(int64_t n, Error *e);                              /* zeros; mem_free. NULL on error */
void vector_add(real *to, const real *x, double factor, int64_t n); /* to += factor x */
void vector_add_square(real *to, const real *x, double factor, int64_t n); /* to += factor x^2 */
void vector_scale(real *x, double factor, int64_t n);
double vector_dot(const real *x, const real *y, int64_t n);
double vector_norm(const real *x, int64_t n);
double vector_absolute(const real *x, int64_t n); /* sum of absolute values */
/* The k-th smallest of |x - y| (y may be NULL: 0), k = 0 .. n - 1, by a copy that is partly sorted. */
bool vector_rank(const real *x, const real *y, int64_t n, int64_t k, real *out, Error *e);

#endif
