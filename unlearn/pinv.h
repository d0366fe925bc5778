/* pinv: the Moore-Penrose inverse of a symmetric matrix, by LAPACK's eigen-decomposition. The only file that
 * knows LAPACK, whose header defines `complex` and I as macros. */
#ifndef LETHE_PINV_H
#define LETHE_PINV_H

#include "core/base.h"

/* a[n][n], symmetric, of which the lower half is read, becomes its pseudo-inverse: P = sum of q q^T / l over
 * eigenpairs with |l| > n eps max |l|, which are counted in *rank (NULL: not wanted). n >= 1. Fails for a
 * matrix that is not finite or that LAPACK cannot decompose (ERROR_NUMERIC), and without memory (about 3 n^2
 * doubles); a is then undefined. */
bool pinv_symmetric(double *a, int n, int *rank, Error *e);

#endif
