#include "core/op/panel.h"

#ifndef LETHE_DOUBLE

#include "core/op/simd.h"

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

typedef float Vec __attribute__((vector_size(4 * PANEL_LANES)));
typedef float VecAt __attribute__((vector_size(4 * PANEL_LANES), aligned(4), may_alias)); /* anywhere */

/* One panel: row k of it holds column words of `n` rows, zeros behind. */
static void pack(Word *to, int64_t cols, const Word *from, int64_t stride, int64_t n, int64_t depth) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < depth; k++) to[k * cols + i] = from[i * stride + k];
    for (int64_t k = 0; k < depth && n < cols; k++)
        memset(to + k * cols + n, 0, (size_t)(cols - n) * sizeof *to);
}

void panel_pack(Word *to, int64_t vecs, const Word *from, int64_t stride, int64_t n, int64_t depth) {
    for (int64_t p = 0; p < panel_count(vecs); p++) {
        int64_t first = panel_first(vecs, p) * PANEL_LANES,
                cols = panel_first(vecs, p + 1) * PANEL_LANES - first;
        int64_t left = n - first < 0 ? 0 : n - first;
        pack(to + first * depth, cols, from + first * stride, stride, left < cols ? left : cols, depth);
    }
}

__attribute__((always_inline)) static inline Vec multiply_add(bool half, Vec sum, Word a, Vec b) {
#ifdef __AVX512BF16__
    if (half) return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)a), (__m512bh)b);
#endif
    (void)half;
    union {
        Word word;
        float f;
    } x = {.word = a};
    return sum + x.f * b;
}

/* PANEL_ROWS rows times w vectors: the sums stay in registers, as `half` and w are known where this is
 * inlined. */
__attribute__((always_inline)) static inline void tile(bool half, int w, int64_t depth, const Word *a,
                                                       int64_t lda, const Word *b, int64_t ldb, float *c,
                                                       int64_t ldc) {
    Vec sum[PANEL_ROWS][PANEL_VECS];
#pragma GCC unroll 6
    for (int r = 0; r < PANEL_ROWS; r++)
#pragma GCC unroll 4
        for (int v = 0; v < w; v++) sum[r][v] = *(const VecAt *)(c + r * ldc + v * PANEL_LANES);
    for (int64_t k = 0; k < depth; k++) {
        Vec y[PANEL_VECS];
#pragma GCC unroll 4
        for (int v = 0; v < w; v++) y[v] = *(const VecAt *)(b + k * ldb + v * PANEL_LANES);
#pragma GCC unroll 6
        for (int r = 0; r < PANEL_ROWS; r++)
#pragma GCC unroll 4
            for (int v = 0; v < w; v++) sum[r][v] = multiply_add(half, sum[r][v], a[r * lda + k], y[v]);
    }
#pragma GCC unroll 6
    for (int r = 0; r < PANEL_ROWS; r++)
#pragma GCC unroll 4
        for (int v = 0; v < w; v++) *(VecAt *)(c + r * ldc + v * PANEL_LANES) = sum[r][v];
}

#define WIDTH(w)                                                                                             \
    case w:                                                                                                  \
        for (int64_t r = 0; r < rows; r += PANEL_ROWS)                                                       \
            tile(half, w, depth, a + r * lda, lda, b, ldb, c + r * ldc, ldc);                                \
        break;

__attribute__((always_inline)) static inline void by_width(bool half, int64_t rows, int64_t w, int64_t depth,
                                                           const Word *a, int64_t lda, const Word *b,
                                                           int64_t ldb, float *c, int64_t ldc) {
    switch (w) {
        WIDTH(1)
        WIDTH(2)
#ifdef __AVX512F__
        WIDTH(3)
        WIDTH(4)
#endif
    default:
        die("panel: %d vectors", (int)w);
    }
}

void panel_multiply(bool half, int64_t rows, int64_t w, int64_t depth, const Word *a, int64_t lda,
                    const Word *b, int64_t ldb, float *c, int64_t ldc) {
    if (half && panel_has_half())
        by_width(true, rows, w, depth, a, lda, b, ldb, c, ldc);
    else
        by_width(false, rows, w, depth, a, lda, b, ldb, c, ldc);
}

void panel_round(Word *to, const float *from, int64_t n) {
    int64_t i = 0;
#ifdef __AVX512BF16__
    for (; i + 16 <= n; i += 16) {
        __m256i pair = (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from + i));
        _mm256_storeu_si256((__m256i_u *)(to + i / 2), pair);
    }
#endif
    for (; i < n; i += 2) to[i / 2] = (Word)bf16_from_f32(from[i]) | (Word)bf16_from_f32(from[i + 1]) << 16;
}
#endif
