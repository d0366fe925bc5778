/* codec_inside: the parts of T(Y, Z | X) that selection shares with one measurement. */
#ifndef LETHE_CODEC_INSIDE_H
#define LETHE_CODEC_INSIDE_H

#include "unlearn/codec.h"

enum {
    CODEC_NEAR = 64
}; /* rarely does one that is farther in X lie nearest in (X, Z); then all are looked at */

typedef struct CodecPair { /* an observation and what it is sorted by */
    double key;
    int32_t at;
} CodecPair;

typedef struct Codec {
    int n, given; /* observations; columns of X so far */
    uint64_t seed;
    int64_t *rank;    /* [n] R_i */
    int64_t square;   /* sum of L_i^2 */
    int64_t spread;   /* sum of L_i (n - L_i) */
    double *distance; /* [n][n] squared, in X */
    int32_t *order;   /* [n][CODEC_NEAR] the nearest in X, nearest first */
    int64_t known;    /* sum of min(R_i, R_N(i)) */
    int64_t unknown;  /* sum of R_i - min(R_i, R_N(i)) */
    CodecPair *pair;  /* [threads][n] scratch */
    int32_t *tie;     /* [threads][n] scratch */
} Codec;

/* Ranks y, with X empty. On failure nothing is left to close. */
bool codec_open(Codec *c, const double *y, int n, uint64_t seed, Error *e);
void codec_close(Codec *c);
void codec_forget(Codec *c); /* X is empty again */

/* Takes z[n] into X. The matrices are made when the first comes. codec_settle, once all have come, finds what
 * is nearest in X. */
bool codec_give(Codec *c, const double *z, Error *e);
void codec_settle(Codec *c);

/* T(Y, Z | X), of a settled X, by the scratch of one thread: calls of several threads go side by side. */
double codec_t(const Codec *c, const double *z, int thread);

/* T(Y, X), of a settled X. */
double codec_worth(const Codec *c);

/* z = x - mean, over the standard deviation: false for a column that is constant. `number` is for the message
 * of *e, whose code is ERROR_NUMERIC if something is not finite, else ERROR_NONE. */
bool codec_standard(const float *x, int n, int number, double *z, Error *e);

#endif
