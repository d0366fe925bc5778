/* From a mask of low resolution to the image's: two bilinear interpolations, one after the other, the rows of
 * the middle picture made as they are needed. */
#include "segment/predictor_inside.h"

#include <string.h>

/* Where output o of one axis reads: torch's bilinear with align_corners = False. */
typedef struct Tap {
    int first, second;
    float share; /* of the second */
} Tap;

static inline Tap tap_of(int64_t o, float scale, int64_t in) {
    float at = ((float)o + 0.5f) * scale - 0.5f;
    if (at < 0) at = 0;
    int first = (int)at;
    if (first > in - 1) first = (int)in - 1;
    return (Tap){first, first < in - 1 ? first + 1 : first, at - (float)first};
}

/* out[x] for x < n: rows a and b of `in` values, blended downwards by `down`, read across at `scale`. */
static void row_make(float *out, int64_t n, const float *a, const float *b, float down, int64_t in,
                     float scale, float *room) {
#pragma omp simd
    for (int64_t x = 0; x < in; x++) room[x] = a[x] + down * (b[x] - a[x]);
    for (int64_t x = 0; x < n; x++) {
        Tap t = tap_of(x, scale, in);
        out[x] = room[t.first] + t.share * (room[t.second] - room[t.first]);
    }
}

/* The middle picture's row y, from a store of the last two made. */
typedef struct Middle {
    const Embedding *on;
    const float *low;
    int64_t row[2]; /* which rows are in the store; -1: none */
    float *store[2], *room;
} Middle;

static const float *middle_row(Middle *m, int64_t y) {
    int64_t low = m->on->low, k = y & 1;
    if (m->row[k] != y) {
        float scale = (float)low / (float)m->on->side;
        Tap t = tap_of(y, scale, low);
        row_make(m->store[k], m->on->fit_width, m->low + t.first * low, m->low + t.second * low, t.share, low,
                 scale, m->room);
        m->row[k] = y;
    }
    return m->store[k];
}

void predictor_upscale(const Embedding *on, const float *low, float *full) {
    enum { WIDEST = 4096 }; /* model.image_size */
    float store[2][WIDEST], room[WIDEST];
    Middle m = {.on = on, .low = low, .row = {-1, -1}, .store = {store[0], store[1]}, .room = room};
    float down = (float)on->fit_height / (float)on->height, across = (float)on->fit_width / (float)on->width,
          blend[WIDEST];
    for (int64_t y = 0; y < on->height; y++) {
        Tap t = tap_of(y, down, on->fit_height);
        const float *a = middle_row(&m, t.first), *b = middle_row(&m, t.second);
        row_make(full + y * on->width, on->width, a, b, t.share, on->fit_width, across, blend);
    }
}

double predictor_stability(const float *full, int64_t pixels, double offset) {
    int64_t inside = 0, around = 0;
    float limit = (float)offset;
#pragma omp simd reduction(+ : inside, around)
    for (int64_t i = 0; i < pixels; i++) {
        inside += full[i] > limit;
        around += full[i] > -limit;
    }
    return around ? (double)inside / (double)around : 0;
}
