#include "data/tone.h"

#include <string.h>

#include "data/exact.h"

static size_t values_of(const Image *im) {
    return (size_t)im->width * (size_t)im->height * 3;
}

static uint8_t clip(int v) {
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void histogram(const Image *im, int64_t count[3][256]) {
    memset(count, 0, 3 * sizeof count[0]);
    const uint8_t *p = im->pixel;
    for (size_t n = values_of(im); n; n -= 3, p += 3) count[0][p[0]]++, count[1][p[1]]++, count[2][p[2]]++;
}

static void map_channels(Image *im, uint8_t map[3][256]) {
    uint8_t *p = im->pixel;
    for (size_t n = values_of(im); n; n -= 3, p += 3)
        for (int c = 0; c < 3; c++) p[c] = map[c][p[c]];
}

static void map_all(Image *im, const uint8_t map[256]) {
    uint8_t *p = im->pixel;
    for (size_t n = values_of(im); n; n--, p++) *p = map[*p];
}

void tone_autocontrast(Image *im) {
    int64_t count[3][256];
    uint8_t map[3][256];
    histogram(im, count);
    for (int c = 0; c < 3; c++) {
        int lo = 0, hi = 255;
        while (lo < 255 && !count[c][lo]) lo++;
        while (hi > 0 && !count[c][hi]) hi--;
        double scale = hi > lo ? 255.0 / (hi - lo) : 1.0, shift = hi > lo ? -lo * scale : 0.0;
        for (int v = 0; v < 256; v++) map[c][v] = clip((int)(v * scale + shift));
    }
    map_channels(im, map);
}

void tone_equalize(Image *im) {
    int64_t count[3][256];
    uint8_t map[3][256];
    histogram(im, count);
    for (int c = 0; c < 3; c++) {
        int64_t last = 0, total = 0;
        int used = 0;
        for (int v = 0; v < 256; v++) {
            if (!count[c][v]) continue;
            last = count[c][v];
            total += last;
            used++;
        }
        int64_t step = used > 1 ? (total - last) / 255 : 0, sum = step / 2;
        for (int v = 0; v < 256; v++) {
            int64_t level = step ? sum / step : v;
            map[c][v] = (uint8_t)(level > 255 ? 255 : level);
            sum += count[c][v];
        }
    }
    map_channels(im, map);
}

void tone_invert(Image *im) {
    uint8_t *p = im->pixel;
    for (size_t n = values_of(im); n; n--, p++) *p = (uint8_t)(255 - *p);
}

void tone_posterize(Image *im, int bits) {
    uint8_t map[256];
    int mask = bits >= 8 ? 255 : ~((1 << (8 - bits)) - 1);
    for (int v = 0; v < 256; v++) map[v] = (uint8_t)(v & mask);
    map_all(im, map);
}

void tone_solarize(Image *im, int threshold) {
    uint8_t map[256];
    for (int v = 0; v < 256; v++) map[v] = (uint8_t)(v < threshold ? v : 255 - v);
    map_all(im, map);
}

void tone_solarize_add(Image *im, int add) {
    uint8_t map[256];
    for (int v = 0; v < 256; v++) map[v] = v < 128 ? clip(v + add) : (uint8_t)v;
    map_all(im, map);
}

/* ITU-R 601 luma in 16-bit fixed point, as Pillow's convert("L"). */
static int luma(const uint8_t *p) {
    return (p[0] * 19595 + p[1] * 38470 + p[2] * 7471 + 0x8000) >> 16;
}

/* From `base` (factor 0) to `v` (factor 1) and beyond; cut off, not rounded. */
static uint8_t blend(int base, int v, float factor) {
    float mixed = (float)base + factor * (float)(v - base);
    return mixed <= 0.0f ? 0 : mixed >= 255.0f ? 255 : (uint8_t)mixed;
}

void tone_saturation(Image *im, double factor) {
    uint8_t *p = im->pixel;
    if (factor == 1.0) return;
    for (size_t n = values_of(im); n; n -= 3, p += 3) {
        int grey = luma(p);
        for (int c = 0; c < 3; c++) p[c] = blend(grey, p[c], (float)factor);
    }
}

static void blend_constant(Image *im, int base, double factor) {
    uint8_t map[256];
    if (factor == 1.0) return;
    for (int v = 0; v < 256; v++) map[v] = blend(base, v, (float)factor);
    map_all(im, map);
}

void tone_contrast(Image *im, double factor) {
    const uint8_t *p = im->pixel;
    int64_t sum = 0;
    for (size_t n = values_of(im); n; n -= 3, p += 3) sum += luma(p);
    double mean = (double)sum / ((double)im->width * im->height);
    blend_constant(im, (int)(mean + 0.5), factor);
}

void tone_brightness(Image *im, double factor) {
    blend_constant(im, 0, factor);
}

/* (the 3 x 3 neighbourhood + 4 times the centre) / 13; pixels at the border stay. 2 sum is even and 13 odd,
 * so no quotient lies on the middle between two values. */
static void smooth(Image *out, const Image *in) {
    size_t row = (size_t)in->width * 3;
    memcpy(out->pixel, in->pixel, values_of(in));
    for (int y = 1; y + 1 < in->height; y++) {
        const uint8_t *p = in->pixel + (size_t)y * row, *above = p - row, *below = p + row;
        uint8_t *to = out->pixel + (size_t)y * row;
        for (size_t x = 3; x + 3 < row; x++) {
            int sum = above[x - 3] + above[x] + above[x + 3] + p[x - 3] + 5 * p[x] + p[x + 3] + below[x - 3] +
                      below[x] + below[x + 3];
            to[x] = (uint8_t)((2 * sum + 13) / 26);
        }
    }
}

bool tone_sharpness(Image *im, double factor, Image *scratch, Error *e) {
    if (factor == 1.0) return true;
    if (!image_reserve(scratch, im->width, im->height, e)) return false;
    smooth(scratch, im);
    for (size_t i = 0; i < values_of(im); i++)
        im->pixel[i] = blend(scratch->pixel[i], im->pixel[i], (float)factor);
    return true;
}
