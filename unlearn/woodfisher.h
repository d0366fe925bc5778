/* woodfisher: the product of an inverse curvature with a vector by one pass over gradients of single samples,
 * as the influence method IU of Jia et al. 2023 ("Model sparsity can simplify machine unlearning", appendix)
 * streams it:
 *
 *   k = v, o = g_1; then for m = 2 .. M:  t = o . g_m,  k -= (k . g_m) / (N + t) o,  o -= t / (N + t) o
 *
 * What this is. o only ever shrinks along g_1: with u = g_1 and s = (1 / N) sum_{m >= 2} g_m, its factor
 * after each step is f = 1 / (1 + u . s), since 1 / f grows by u . g_m / N. Put into the line of k, whose
 * change is always along u, that sums up to
 *
 *   k = v - (v . s) / (1 + u . s) u = (I + u s^T)^-1 v        (Sherman and Morrison)
 *
 * which is how it is computed here: two dots a sample, no vector is written, and nothing is lost to rounding
 * on the way. It is exact, not the limit of anything.
 *
 * What this is not: the inverse of the Fisher matrix. WoodFisher proper (Singh and Alistarh 2020, equation 6)
 * needs at each step F_{m-1}^-1 g_m, thus all earlier o's, where the published loop has the one of g_1. For
 * the Fisher matrix of M kept gradients, lambda I + (1 / N) sum_m g_m g_m^T, call lowrank_solve with c = 1 /
 * N: M vectors of memory instead of one. */
#ifndef LETHE_WOODFISHER_H
#define LETHE_WOODFISHER_H

#include "core/base.h"

typedef struct WoodFisher {
    const float *v; /* [n], the caller's */
    float *first;   /* [n] g_1 */
    int64_t n;
    int64_t samples;         /* N, which divides; IU: 1000, and as many are added */
    int64_t added;           /* M so far */
    double v_sum, first_sum; /* N v . s and N u . s */
} WoodFisher;

/* v[n] must outlive the sum. Fails for n < 1 or samples < 1, or without memory (n floats). */
bool woodfisher_begin(WoodFisher *w, const float *v, int64_t n, int64_t samples, Error *e);

/* The gradient of one more sample, g[n]. */
void woodfisher_add(WoodFisher *w, const float *g);

/* k[n], which may be v; v itself where fewer than two gradients came. Fails where 1 + u . s is zero to
 * rounding, or k is not finite (ERROR_NUMERIC; k is then undefined). More may be added afterwards, if k is
 * not v. */
bool woodfisher_result(const WoodFisher *w, float *k, Error *e);
void woodfisher_close(WoodFisher *w);

#endif
