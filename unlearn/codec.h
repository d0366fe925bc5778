/* codec: how much of Y is in Z beyond what X already tells: the coefficient of conditional dependence
 * T(Y, Z | X) of Azadkia and Chatterjee 2021 ("A simple measure of conditional dependence"), and their
 * forward selection FOCI. L-CODEC (Mehta et al. 2022, "Deep unlearning via randomized conditionally
 * independent Hessians") chooses with it the slices of a network whose activations carry the loss of a
 * sample: Y is the loss, a column is a slice.
 *
 *   R_i = #{j : y_j <= y_i},  L_i = #{j : y_j >= y_i}
 *   T(Y, Z)     = sum_i (n min(R_i, R_M(i)) - L_i^2) / sum_i L_i (n - L_i)         M(i): nearest to i in Z
 *   T(Y, Z | X) = sum_i (min(R_i, R_M(i)) - min(R_i, R_N(i))) / sum_i (R_i - min(R_i, R_N(i)))
 *                                                      N(i): nearest to i in X, M(i): nearest to i in (X, Z)
 *
 * As n grows, T goes to 0 where Y is independent of Z (given X) and to 1 where Y is a function of Z (and X);
 * for few observations it may lie below 0. Distances are Euclidean, between columns of mean 0 and variance 1,
 * so that units do not matter. Of several at the same least distance one is drawn, which is what
 * L-CODEC's tiny noise is for. The draw is keyed by the seed and the observation alone: results depend
 * neither on the number of threads nor on the order of the columns (but of two columns that are worth exactly
 * the same, the first is taken).
 *
 * Where the quotient has no meaning, T is 0: Y or Z is constant, or Y is already a function of X as far as
 * the sample tells. */
#ifndef LETHE_CODEC_H
#define LETHE_CODEC_H

#include "core/base.h"

enum { CODEC_LEAST = 3, CODEC_MOST = 16384 }; /* observations; the most take 2.1 GB, see codec_select */

typedef struct CodecSettings {
    uint64_t seed;
    int most;     /* columns to choose at the most; 0: no limit */
    int subset;   /* candidates looked at in a round, drawn anew each time by their place; 0: all */
    double least; /* a column must be worth more than this; the paper: 0. Of thousands of candidates that tell
                     nothing, the best has T of about 3 / sqrt(n) by chance */
    int starts;   /* first columns to begin with, the best alone first; of the sets found, that of the highest
                     T(Y, set) is taken. 0 or 1: the paper, which meets an exclusive or only by luck, since no
                     column of it is worth anything alone. As many as there are columns: every pair is met */
    bool prune; /* afterwards take out, one by one, what the others make worthless: not in the paper, but what
                   looked best alone, as a child of two causes may, is never taken back without it (the
                   shrinking half of Margaritis and Thrun 1999) */
} CodecSettings;

typedef struct CodecChoice {
    int column;
    double t; /* T(Y, column | those before it); with prune: T(Y, column | all others chosen) */
} CodecChoice;

/* T(Y, Z | X): y[n], z[n], and x[given][n], one column after the other (NULL where given is 0). Fails for n
 * outside CODEC_LEAST .. CODEC_MOST (ERROR_VALUE), for what is not finite (ERROR_NUMERIC), and without
 * memory. */
bool codec_measure(const double *y, const float *x, int given, const float *z, int n, uint64_t seed,
                   double *t, Error *e);

/* FOCI: the best column alone, then again and again the one that is worth most given those chosen, while it
 * is worth more than s->least. columns[count][n], one column after the other. choice has room for `count` (or
 * s->most), in the order of choosing; *chosen counts them and may be 0. Errors as codec_measure. Heap: 8 n^2
 * + 8 n count bytes. Work of a round of a start: n^2, and for each candidate n times the few
 * observations that lie nearer in X than the nearest in (X, Z), but n log n in the first. */
bool codec_select(const double *y, const float *columns, int count, int n, const CodecSettings *s,
                  CodecChoice *choice, int *chosen, Error *e);

#endif
