#include "data/rle.h"

#include <string.h>

enum { GROUPS = 7, GROUP_BITS = 5, MORE = 0x20, SIGN = 0x10, BASE = 48 };

/* Runs under construction, checked one by one. */
typedef struct Builder {
    Bytes *out;
    size_t begin; /* bytes of earlier masks */
    int64_t count, sum, area;
} Builder;

bool rle_size_check(int height, int width, Error *e) {
    if (height >= 1 && width >= 1 && height <= RLE_SIDE && width <= RLE_SIDE) return true;
    return error_set(e, ERROR_FORMAT, "a mask of %d x %d pixels: sides must be 1 to %d", width, height,
                     RLE_SIDE);
}

static bool builder_open(Builder *b, Bytes *out, int height, int width, Error *e) {
    if (!rle_size_check(height, width, e)) return false;
    *b = (Builder){.out = out, .begin = out->size, .area = (int64_t)height * width};
    return true;
}

static bool builder_add(Builder *b, int64_t run, Error *e) {
    if (run < 0) return error_set(e, ERROR_FORMAT, "run %lld of the mask is negative", (long long)b->count);
    if (run > b->area - b->sum)
        return error_set(e, ERROR_FORMAT, "run %lld leaves the mask: the runs exceed its %lld pixels",
                         (long long)b->count, (long long)b->area);
    if (b->count > b->area)
        return error_set(e, ERROR_FORMAT, "more runs than the mask has pixels (%lld)", (long long)b->area);
    uint32_t word = (uint32_t)run;
    if (!bytes_append(b->out, &word, sizeof word, e)) return false;
    b->count++;
    b->sum += run;
    return true;
}

static uint32_t builder_at(const Builder *b, int64_t i) {
    uint32_t word;
    memcpy(&word, b->out->data + b->begin + (size_t)i * sizeof word, sizeof word);
    return word;
}

static bool builder_close(const Builder *b, Rle *r, int height, int width, Error *e) {
    if (b->sum != b->area)
        return error_set(e, ERROR_FORMAT, "the runs make %lld pixels, the mask has %lld", (long long)b->sum,
                         (long long)b->area);
    *r = (Rle){height, width, b->count, (const uint32_t *)(const void *)(b->out->data + b->begin)};
    return true;
}

bool rle_from_counts(Rle *r, Bytes *out, const double *counts, int64_t n, int height, int width, Error *e) {
    Builder b = {0};
    if (!builder_open(&b, out, height, width, e)) return false;
    for (int64_t i = 0; i < n; i++) {
        double v = counts[i];
        if (!(v >= 0.0 && v <= 4294967295.0) || v != (double)(int64_t)v)
            return error_set(e, ERROR_FORMAT, "run %lld of the mask is %g: not a whole number of pixels",
                             (long long)i, v);
        if (!builder_add(&b, (int64_t)v, e)) return false;
    }
    return builder_close(&b, r, height, width, e);
}

/* One number from *text on. */
static bool read_number(const char **text, int64_t *out, Error *e) {
    int64_t v = 0;
    const char *p = *text;
    for (int k = 0; k < GROUPS; k++) {
        int c = (unsigned char)*p;
        if (c < BASE || c >= BASE + 64)
            return error_set(e, ERROR_FORMAT,
                             c ? "a mask string holds the byte 0x%02x, which codes nothing"
                               : "a mask string ends within a number (byte 0x%02x)",
                             c);
        c -= BASE;
        p++;
        v |= (int64_t)(c & 0x1F) << (GROUP_BITS * k);
        if (c & MORE) continue;
        if (c & SIGN) v -= (int64_t)1 << (GROUP_BITS * (k + 1));
        *text = p;
        *out = v;
        return true;
    }
    return error_set(e, ERROR_FORMAT, "a mask string holds a number of more than %d characters", GROUPS);
}

bool rle_from_text(Rle *r, Bytes *out, const char *text, int height, int width, Error *e) {
    Builder b = {0};
    if (!builder_open(&b, out, height, width, e)) return false;
    while (*text) {
        int64_t run = 0;
        if (!read_number(&text, &run, e)) return false;
        if (b.count > 2) run += builder_at(&b, b.count - 2);
        if (!builder_add(&b, run, e)) return false;
    }
    return builder_close(&b, r, height, width, e);
}

bool rle_from_plane(Rle *r, Bytes *out, const GreyPlane *p, int above, Error *e) {
    Builder b = {0};
    if (!builder_open(&b, out, p->height, p->width, e)) return false;
    bool inside = false;
    int64_t run = 0;
    for (int x = 0; x < p->width; x++)
        for (int y = 0; y < p->height; y++) {
            bool v = plane_at(p, x, y) > above;
            if (v != inside) {
                if (!builder_add(&b, run, e)) return false;
                inside = v;
                run = 0;
            }
            run++;
        }
    return builder_add(&b, run, e) && builder_close(&b, r, p->height, p->width, e);
}

bool rle_from_mask(Rle *r, Bytes *out, const uint8_t *mask, int height, int width, Error *e) {
    GreyPlane p = plane_of(mask, 1, (size_t)width, width, height);
    return rle_from_plane(r, out, &p, 0, e);
}

bool rle_from_places(Rle *r, Bytes *out, const uint32_t *place, int64_t n, int height, int width, Error *e) {
    Builder b = {0};
    if (!builder_open(&b, out, height, width, e)) return false;
    for (int64_t i = 0, same; i < n; i += same) {
        for (same = 1; i + same < n && place[i + same] == place[i]; same++) {}
        if (same % 2 == 0 || place[i] == b.area) continue;
        if (!builder_add(&b, (int64_t)place[i] - b.sum, e)) return false;
    }
    return builder_add(&b, b.area - b.sum, e) && builder_close(&b, r, height, width, e);
}

bool rle_to_text(const Rle *r, Bytes *out, Error *e) {
    out->size = 0;
    for (int64_t i = 0; i < r->count; i++) {
        int64_t v = r->run[i];
        if (i > 2) v -= r->run[i - 2];
        for (bool more = true; more;) {
            int c = (int)(v & 0x1F);
            v >>= GROUP_BITS; /* arithmetic: a negative rest stays negative */
            more = c & SIGN ? v != -1 : v != 0;
            char letter = (char)(BASE + (more ? c | MORE : c));
            if (!bytes_append(out, &letter, 1, e)) return false;
        }
    }
    if (!bytes_append(out, "", 1, e)) return false;
    out->size--;
    return true;
}

void rle_to_mask(const Rle *r, uint8_t *mask) {
    int64_t at = 0;
    for (int64_t i = 0; i < r->count; i++)
        for (uint32_t k = 0; k < r->run[i]; k++, at++)
            mask[at % r->height * r->width + at / r->height] = (uint8_t)(i % 2);
}

void rle_paint(const Rle *r, uint8_t *column) {
    size_t at = 0;
    for (int64_t i = 0; i < r->count; at += r->run[i++])
        if (i % 2) memset(column + at, 255, r->run[i]);
}

ImageBox rle_box(const Rle *r) {
    uint32_t height = (uint32_t)r->height, at = 0, left = UINT32_MAX, right = 0, top = height, bottom = 0;
    for (int64_t i = 0; i < r->count; at += r->run[i++]) {
        if (i % 2 == 0 || r->run[i] == 0) continue;
        uint32_t last = at + r->run[i] - 1, x0 = at / height, x1 = last / height;
        uint32_t y0 = x0 == x1 ? at % height : 0, y1 = x0 == x1 ? last % height : height - 1;
        left = left == UINT32_MAX ? x0 : left;
        right = x1;
        top = y0 < top ? y0 : top;
        bottom = y1 > bottom ? y1 : bottom;
    }
    if (left == UINT32_MAX) return (ImageBox){0};
    return (ImageBox){(int)left, (int)top, (int)(right - left) + 1, (int)(bottom - top) + 1};
}

int64_t rle_area(const Rle *r) {
    int64_t sum = 0;
    for (int64_t i = 1; i < r->count; i += 2) sum += r->run[i];
    return sum;
}
