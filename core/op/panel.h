/* panel: products of a few rows with a matrix that was packed once, for attention, whose matrices are too
 * small for a library that packs anew in every call. A matrix's element is a word of 32 bits: one float, or
 * two neighbours along the sum in bf16, which the processor multiplies and adds in one go. `half` tells
 * which. A packed matrix is a row of panels, each `depth` rows of up to PANEL_VECS vectors of PANEL_LANES
 * columns. */
#ifndef LETHE_OP_PANEL_H
#define LETHE_OP_PANEL_H

#ifndef LETHE_DOUBLE
#include "core/base.h"

#ifdef __AVX512F__
enum { PANEL_LANES = 16, PANEL_VECS = 4 };
#else
enum { PANEL_LANES = 8, PANEL_VECS = 2 };
#endif
enum { PANEL_ROWS = 6, PANEL_COLS = PANEL_LANES * PANEL_VECS };

typedef uint32_t __attribute__((may_alias)) Word;

/* True where two bf16 are multiplied at once (AVX512-BF16). */
static inline bool panel_has_half(void) {
#ifdef __AVX512BF16__
    return true;
#else
    return false;
#endif
}

static inline int64_t panel_up(int64_t n, int64_t to) {
    return (n + to - 1) / to * to;
}
static inline int64_t panel_count(int64_t vecs) {
    return (vecs + PANEL_VECS - 1) / PANEL_VECS;
}
/* The first vector of panel p of `vecs` vectors, which panels share alike; panel_count(vecs) gives vecs. */
static inline int64_t panel_first(int64_t vecs, int64_t p) {
    return p * vecs / panel_count(vecs);
}

/* Row i of `from` (n rows of `depth` words, `stride` apart) becomes column i of a matrix of vecs *
 * PANEL_LANES columns; columns from n on are zero. */
void panel_pack(Word *to, int64_t vecs, const Word *from, int64_t stride, int64_t n, int64_t depth);

/* c [rows, PANEL_LANES * w] += a [rows, depth] b [depth, w vectors], `lda`, `ldb` and `ldc` words apart a
 * row. rows must divide by PANEL_ROWS, w is at most PANEL_VECS. */
void panel_multiply(bool half, int64_t rows, int64_t w, int64_t depth, const Word *a, int64_t lda,
                    const Word *b, int64_t ldb, float *c, int64_t ldc);

/* Pairs of bf16 from n floats, rounded; n is even. */
void panel_round(Word *to, const float *from, int64_t n);

#endif
#endif
