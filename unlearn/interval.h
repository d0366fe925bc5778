/* interval: how far a figure can be trusted: over seeds by Student's t, for a share of successes by Wilson's
 * score, for anything else by the bootstrap. */
#ifndef LETHE_UNLEARN_INTERVAL_H
#define LETHE_UNLEARN_INTERVAL_H

#include "core/base.h"

typedef struct Interval {
    double value, lo, hi; /* lo <= value <= hi, in the unit of the numbers */
} Interval;

/* `level` is the coverage, 0.95; it must lie inside 0 .. 1. */

/* The mean of n >= 2 numbers (one a seed) and mean -+ t s / sqrt(n); Student 1908. */
bool interval_t(Interval *out, const double *x, int64_t n, double level, Error *e);

/* `hits` of `n` > 0, as a share; Wilson 1927 without continuity correction. Within 0 .. 1 even at 0 and n
 * hits. */
bool interval_wilson(Interval *out, int64_t hits, int64_t n, double level, Error *e);

/* The mean of n >= 2 numbers and the percentiles of the means of `draws` >= 100 samples drawn from them with
 * replacement (Efron 1979), linear between neighbours. The same seed gives the same interval. */
bool interval_bootstrap(Interval *out, const double *x, int64_t n, int draws, double level, uint64_t seed,
                        Error *e);

/* x with P(X <= x) = p, 0 < p < 1, within 1e-9 of itself (tests/test_audit_stats.c); NaN for other p: for a
 * standard normal X and for Student's t with `freedom` > 0 degrees of freedom. */
double normal_quantile(double p);
double student_quantile(double p, double freedom);
double student_cdf(double t, double freedom);

#endif
