/* kstest: are two samples of one distribution? TOFU's forget quality is the p-value of truth ratios of the
 * unlearned and of the retrained model (Maini et al. 2024); CLEAR's is 1 - the Jensen-Shannon
 * distance of their histograms (Dontsov et al. 2024). */
#ifndef LETHE_UNLEARN_KSTEST_H
#define LETHE_UNLEARN_KSTEST_H

#include "core/base.h"

typedef struct KsTest {
    double d;     /* the largest distance of the two empirical distribution functions, 0 .. 1 */
    double p;     /* chance of one as large where there is no difference, 0 .. 1: Kolmogorov's limit at
                     d sqrt(nm / (n + m)); rough with few numbers */
    double exact; /* the same by counting, if n m <= KS_EXACT; else p. With ties it is too large. It
                     is what TOFU's code gets of scipy, which counts up to 10 000 a side */
} KsTest;

#define KS_EXACT 100000000 /* a third of a second */

/* Two-sample Kolmogorov-Smirnov test, two-sided, ties allowed. Each side needs a number. */
bool ks_test(KsTest *out, const double *a, int64_t n, const double *b, int64_t m, Error *e);

/* Kolmogorov's limit distribution, upper tail: 2 sum over k >= 1 of (-1)^(k-1) exp(-2 k^2 x^2);
 * 1 for x <= 0. */
double ks_tail(double x);

/* Square root of the Jensen-Shannon divergence (natural logarithm; 0 .. sqrt(log 2)) of the two samples'
 * histograms: `bins` equal bins between the smallest and the largest of both. Equal numbers throughout: 0. */
bool ks_histogram_distance(double *out, const double *a, int64_t n, const double *b, int64_t m, int bins,
                           Error *e);

#endif
