/* gaussian: how far an embedding lies from a class, as SCAR measures it (Bonato et al. 2024, section 3; the
 * statistics are those of FeCAM, Goswami et al. 2023, section 4): Mahalanobis, after Tukey's transform, with
 * a covariance that is shrunk twice and scaled to a correlation.
 *
 *   t(e)_i = max(e_i, 0)^power
 *   mu, S  = mean and covariance (over n - 1) of t(e) over the class
 *   S     += diagonal mean(S_ii) I + rest mean(S_ij, i != j) (1 - I)     twice: shrinkage
 *   C_ij   = S_ij / sqrt(S_ii S_jj),  P = its pseudo-inverse
 *   D(e)   = r^T P r  with  r = t(e) / |t(e)| - mu / |mu|
 *
 * The square is meant: SCAR's code takes no root, and its root has no gradient at 0. For diagonal >= rest >=
 * 0 the shrunk matrix has no negative eigenvalue, so D >= 0: where mean(S_ij) = m > 0, at least diagonal
 * mean(S_ii) - rest m is added along each axis across (1, .., 1), and m <= mean(S_ii); where m < 0, m >=
 * -mean(S_ii) / (d - 1) does it. */
#ifndef LETHE_GAUSSIAN_H
#define LETHE_GAUSSIAN_H

#include "core/base.h"

enum { GAUSSIAN_MOST = 8192 }; /* axes */

typedef struct GaussianSettings {
    double power;          /* above 0; 1: no transform but that negatives become 0 */
    double diagonal, rest; /* how much is added on the diagonal and beside it */
} GaussianSettings;

extern const GaussianSettings gaussian_standard; /* SCAR's: 0.5, 3, 3 */

typedef struct Gaussian {
    int d, rank; /* axes; of the inverse */
    double power;
    float *mean;    /* [d] of length 1 */
    float *inverse; /* [d][d] P, symmetric */
} Gaussian;

/* From rows e[row[0 .. n - 1]][d] of an array of embeddings; row NULL: the first n. Fails for n < 2, d
 * outside 1 .. GAUSSIAN_MOST, settings out of range, rows that are all the same after the transform
 * (ERROR_VALUE), what is not finite (ERROR_NUMERIC), and without memory. Work n d^2 + about 10 d^3; heap
 * while it runs about 5 d^2 doubles. */
bool gaussian_fit(Gaussian *g, const float *e, const int64_t *row, int64_t n, int d,
                  const GaussianSettings *set, Error *error);
void gaussian_close(Gaussian *g);

/* D of one embedding e[d], and where gradient is not NULL dD/de[d]; 0 where e_i <= 0. The slope of t, which
 * has no bound at 0, is taken at e_i of no less than 0.1: where features are about 1, as after a ViT's last
 * norm, at most 1.6 for the standard power. Without an entry above 0, t(e) / |t(e)| is 0.
 * work[3 d] is scratch, so that threads may call side by side. */
double gaussian_distance(const Gaussian *g, const float *e, float *gradient, double *work);

#endif
