/* Two bytes of size and then any string, once as a compressed mask and once as a list of counts. What is
 * accepted fills its mask exactly, and the mask codes to runs of the same area; painted down the columns it
 * is the same mask, inside its box; text to runs to text ends after one round. */
#include "data/rle.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Painted by columns it is the same mask, and nothing of it lies outside its box. */
static void check_paint(const Rle *r, const uint8_t *mask) {
    size_t pixels = (size_t)r->height * (size_t)r->width;
    uint8_t *column = mem_zero(pixels, 1);
    if (!column) abort();
    rle_paint(r, column);
    ImageBox box = rle_box(r);
    for (int y = 0; y < r->height; y++)
        for (int x = 0; x < r->width; x++) {
            bool in = column[x * r->height + y] == 255,
                 boxed = x >= box.x && x < box.x + box.width && y >= box.y && y < box.y + box.height;
            if (in != (mask[y * r->width + x] == 1) || (in && !boxed)) abort();
        }
    mem_free(column);
}

/* Runs that were accepted. */
static void check_runs(const Rle *r) {
    Error e = {0};
    Rle again;
    Bytes more = {0}, text = {0};
    size_t pixels = (size_t)r->height * (size_t)r->width;
    uint8_t *mask = mem_get(pixels);
    int64_t area = 0;
    if (!mask) abort();
    memset(mask, 7, pixels);
    rle_to_mask(r, mask);
    for (size_t i = 0; i < pixels; i++) {
        if (mask[i] > 1) abort();
        area += mask[i];
    }
    if (area != rle_area(r) || !rle_from_mask(&again, &more, mask, r->height, r->width, &e) ||
        rle_area(&again) != area)
        abort();
    check_paint(r, mask);
    if (!rle_to_text(r, &text, &e) ||
        !rle_from_text(&again, &more, (char *)text.data, r->height, r->width, &e))
        abort();
    if (again.count != r->count || memcmp(again.run, r->run, (size_t)r->count * sizeof *r->run) != 0) abort();
    mem_free(mask);
    bytes_free(&more);
    bytes_free(&text);
}

/* The bytes as counts of two bytes each; with the size's highest bit set they are halves. */
static void try_counts(const uint8_t *data, size_t size, int height, int width) {
    Error e = {0};
    Rle r;
    Bytes runs = {0};
    size_t n = (size - 2) / 2;
    double *count = mem_get((n + 1) * sizeof *count);
    if (!count) abort();
    for (size_t i = 0; i < n; i++) {
        int16_t v;
        memcpy(&v, data + 2 + 2 * i, sizeof v);
        count[i] = v / (data[0] & 0x80 ? 2.0 : 1.0);
    }
    if (rle_from_counts(&r, &runs, count, (int64_t)n, height, width, &e)) {
        check_runs(&r);
    } else if (e.code == ERROR_NONE) {
        abort();
    }
    mem_free(count);
    bytes_free(&runs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Error e = {0};
    Rle r;
    Bytes runs = {0};
    if (size < 2) return 0;
    int height = data[0] % 40 + 1, width = data[1] % 40 + 1;
    char *string = mem_get(size);
    if (!string) abort();
    memcpy(string, data + 2, size - 2);
    string[size - 2] = '\0';
    if (rle_from_text(&r, &runs, string, height, width, &e)) {
        check_runs(&r);
    } else if (e.code == ERROR_NONE) {
        abort();
    }
    mem_free(string);
    bytes_free(&runs);
    try_counts(data, size, height, width);
    return 0;
}
