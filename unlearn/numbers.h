/* numbers: what every statistic of the audit asks of a list of numbers: that it can be computed with, its
 * mean and spread, its order. */
#ifndef LETHE_UNLEARN_NUMBERS_H
#define LETHE_UNLEARN_NUMBERS_H

#include "core/base.h"

/* Beyond this a sum of squares could overflow; no loss, logit or accuracy comes near it. */
#define NUMBERS_LARGEST 1e100

/* Streams of RNG_UNLEARN that the audit draws from: epochs that no training reaches. */
enum {
    NUMBERS_EPOCH_BOOTSTRAP = 0x7FFFFF00, /* sample = number of the draw */
    NUMBERS_EPOCH_SPLIT                   /* sample = number of the split */
};

/* There are at least `least` numbers and each lies within +-NUMBERS_LARGEST; else an error that begins with
 * `what` and names the first that does not. x may be NULL if n is 0. */
bool numbers_check(const char *what, const double *x, int64_t n, int64_t least, Error *e);

double numbers_mean(const double *x, int64_t n);   /* n > 0 */
double numbers_spread(const double *x, int64_t n); /* standard deviation with n - 1; n > 1 */

void numbers_sort(double *x, int64_t n);                      /* ascending, in place */
double *numbers_sorted(const double *x, int64_t n, Error *e); /* a sorted copy: mem_free; NULL on error */
double numbers_quantile(const double *sorted, int64_t n, double q); /* q 0 .. 1, linear between neighbours */

#endif
