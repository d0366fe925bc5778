#include "data/resize.h"

#include <string.h>

#ifdef __AVX2__
#include <immintrin.h>
#endif

enum { FRACTION = 22, SPLIT = 15, ROUND = 1 << (FRACTION - 1) };

static uint8_t to_byte(int32_t v) {
    v >>= FRACTION;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* Weights of output i that fall on pixels that exist. */
static int taps_at(const ResizeAxis *a, int i) {
    int left = a->size - a->first[i];
    return left < a->taps ? left : a->taps;
}

void resize_across_plain(const ResizeAxis *a, uint8_t *to, size_t to_stride, const uint8_t *from,
                         size_t from_stride, int rows) {
    for (int y = 0; y < rows; y++, to += to_stride, from += from_stride)
        for (int x = 0; x < a->count; x++) {
            const uint8_t *p = from + (size_t)a->first[x] * 3;
            const int32_t *w = a->weight + (size_t)x * (size_t)a->taps;
            int taps = taps_at(a, x);
            int32_t r = ROUND, g = ROUND, b = ROUND;
            for (int k = 0; k < taps; k++, p += 3) {
                r += w[k] * p[0];
                g += w[k] * p[1];
                b += w[k] * p[2];
            }
            to[3 * x] = to_byte(r), to[3 * x + 1] = to_byte(g), to[3 * x + 2] = to_byte(b);
        }
}

void resize_down_plain(const ResizeAxis *a, uint8_t *to, size_t to_stride, const uint8_t *from,
                       size_t from_stride, int from_row, int bytes) {
    enum { BLOCK = 64 }; /* sums that stay in registers or the nearest cache */
    for (int y = 0; y < a->count; y++, to += to_stride) {
        const uint8_t *top = from + (size_t)(a->first[y] - from_row) * from_stride;
        const int32_t *w = a->weight + (size_t)y * (size_t)a->taps;
        int taps = taps_at(a, y);
        for (int x = 0; x < bytes; x += BLOCK) {
            int32_t sum[BLOCK];
            int n = bytes - x < BLOCK ? bytes - x : BLOCK;
            for (int i = 0; i < n; i++) sum[i] = ROUND;
            for (int k = 0; k < taps; k++) {
                const uint8_t *p = top + (size_t)k * from_stride + x;
                for (int i = 0; i < n; i++) sum[i] += w[k] * p[i];
            }
            for (int i = 0; i < n; i++) to[x + i] = to_byte(sum[i]);
        }
    }
}

#ifdef __AVX2__

/* weight = high * 2^15 + low, so two 16-bit multiply-adds do the work of a 32-bit multiplication. Sums of the
 * low halves may wrap around; the whole is right modulo 2^32 and fits, so nothing is lost. */
static __m256i join(__m256i low, __m256i high) {
    return _mm256_add_epi32(_mm256_slli_epi32(high, SPLIT), low);
}

/* The red, green and blue sums in both lanes to four bytes r g b 0, in the low part of the result. */
static __m128i pixel_of(__m256i low, __m256i high) {
    __m256i v = join(low, high);
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    return _mm_srai_epi32(_mm_add_epi32(s, _mm_set1_epi32(ROUND)), FRACTION);
}

static __m256i four_pixels(const uint8_t *p) {
    const __m256i spread = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, 6, -1,
                                            9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1);
    __m128i sixteen = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(sixteen), spread);
}

/* Two rows at a time share the weights. */
static void across_pair(const ResizeAxis *a, uint8_t *to0, uint8_t *to1, const uint8_t *from0,
                        const uint8_t *from1) {
    const __m256i *weights = (const __m256i *)(const void *)a->packed;
    for (int x = 0; x < a->count; x++, weights += a->taps / 2) {
        const uint8_t *p0 = from0 + (size_t)a->first[x] * 3, *p1 = from1 + (size_t)a->first[x] * 3;
        const __m256i *w = weights;
        __m256i low0 = _mm256_setzero_si256(), high0 = low0, low1 = low0, high1 = low0;
        for (int k = taps_at(a, x); k > 0; k -= 4, w += 2, p0 += 12, p1 += 12) {
            __m256i wl = _mm256_load_si256(w), wh = _mm256_load_si256(w + 1);
            __m256i v0 = four_pixels(p0), v1 = four_pixels(p1);
            low0 = _mm256_add_epi32(low0, _mm256_madd_epi16(v0, wl));
            high0 = _mm256_add_epi32(high0, _mm256_madd_epi16(v0, wh));
            low1 = _mm256_add_epi32(low1, _mm256_madd_epi16(v1, wl));
            high1 = _mm256_add_epi32(high1, _mm256_madd_epi16(v1, wh));
        }
        __m128i both = _mm_packs_epi32(pixel_of(low0, high0), pixel_of(low1, high1));
        both = _mm_packus_epi16(both, both);
        uint32_t rgb0 = (uint32_t)_mm_cvtsi128_si32(both), rgb1 = (uint32_t)_mm_extract_epi32(both, 1);
        if (x + 1 < a->count) { /* the fourth byte belongs to the next pixel, which comes next */
            memcpy(to0 + 3 * x, &rgb0, 4);
            memcpy(to1 + 3 * x, &rgb1, 4);
        } else {
            memcpy(to0 + 3 * x, &rgb0, 3);
            memcpy(to1 + 3 * x, &rgb1, 3);
        }
    }
}

void resize_across(const ResizeAxis *a, uint8_t *to, size_t to_stride, const uint8_t *from,
                   size_t from_stride, int rows) {
    for (int y = 0; y + 1 < rows; y += 2, to += 2 * to_stride, from += 2 * from_stride)
        across_pair(a, to, to + to_stride, from, from + from_stride);
    if (rows % 2) across_pair(a, to, to, from, from);
}

/* Bytes of two rows, p and q, times their weights, added to four pairs of sums. */
static void down_pair(__m256i low[4], __m256i high[4], const uint8_t *p, const uint8_t *q, int32_t wp,
                      int32_t wq) {
    const int32_t mask = (1 << SPLIT) - 1;
    const __m256i zero = _mm256_setzero_si256();
    __m256i wl = _mm256_set1_epi32((wq & mask) << 16 | (wp & mask));
    __m256i wh =
        _mm256_set1_epi32((int32_t)((uint32_t)(wq >> SPLIT) << 16 | ((uint32_t)(wp >> SPLIT) & 0xFFFF)));
    __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)p);
    __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)q);
    __m256i ab[2] = {_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b)};
    for (int i = 0; i < 4; i++) {
        __m256i v = i % 2 ? _mm256_unpackhi_epi8(ab[i / 2], zero) : _mm256_unpacklo_epi8(ab[i / 2], zero);
        low[i] = _mm256_add_epi32(low[i], _mm256_madd_epi16(v, wl));
        high[i] = _mm256_add_epi32(high[i], _mm256_madd_epi16(v, wh));
    }
}

void resize_down(const ResizeAxis *a, uint8_t *to, size_t to_stride, const uint8_t *from, size_t from_stride,
                 int from_row, int bytes) {
    for (int y = 0; y < a->count; y++, to += to_stride) {
        const uint8_t *top = from + (size_t)(a->first[y] - from_row) * from_stride;
        const int32_t *w = a->weight + (size_t)y * (size_t)a->taps;
        int taps = taps_at(a, y);
        for (int x = 0; x < bytes; x += 32) {
            __m256i low[4], high[4], v[4];
            for (int i = 0; i < 4; i++) {
                low[i] = _mm256_set1_epi32(ROUND);
                high[i] = _mm256_setzero_si256();
            }
            const uint8_t *p = top + x;
            int k = 0;
            for (; k + 1 < taps; k += 2, p += 2 * from_stride)
                down_pair(low, high, p, p + from_stride, w[k], w[k + 1]);
            if (k < taps) down_pair(low, high, p, p, w[k], 0);
            for (int i = 0; i < 4; i++) v[i] = _mm256_srai_epi32(join(low[i], high[i]), FRACTION);
            __m256i packed =
                _mm256_packus_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
            _mm256_storeu_si256((__m256i *)(void *)(to + x), packed);
        }
    }
}

#else

void resize_across(const ResizeAxis *a, uint8_t *to, size_t to_stride, const uint8_t *from,
                   size_t from_stride, int rows) {
    resize_across_plain(a, to, to_stride, from, from_stride, rows);
}

void resize_down(const ResizeAxis *a, uint8_t *to, size_t to_stride, const uint8_t *from, size_t from_stride,
                 int from_row, int bytes) {
    resize_down_plain(a, to, to_stride, from, from_stride, from_row, bytes);
}

#endif
