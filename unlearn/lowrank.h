/* lowrank: solves (H + lambda I) x = g where H is a sum of a few outer products: the curvature that L-CODEC
 * makes from differences of gradients (Mehta et al. 2022, section 5), or a Fisher matrix of kept gradients.
 * By Woodbury:
 *
 *   H = sum_k c_k u_k u_k^T,   x = (g - U w) / lambda   with   (lambda I + C U^T U) w = C U^T g
 *
 * so that no n x n matrix is ever formed: r^2 / 2 dots of length n, and r x r doubles. C may have negative
 * and zero entries: H need not be positive, only H + lambda I invertible. */
#ifndef LETHE_LOWRANK_H
#define LETHE_LOWRANK_H

#include "core/base.h"

enum { LOWRANK_MOST = 4096 };

/* u[r] vectors of n; c[r]; g[n]; x[n] may be g. 0 <= r <= LOWRANK_MOST, lambda > 0. Fails where H + lambda I
 * is singular to the precision of doubles or the result is not finite (ERROR_NUMERIC; x is then undefined),
 * and for a bad r or lambda (ERROR_VALUE). Takes r (r + 1) doubles of heap and none of length n. */
bool lowrank_solve(const float *const *u, const double *c, int r, double lambda, const float *g, float *x,
                   int64_t n, Error *e);

#endif
