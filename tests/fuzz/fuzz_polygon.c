/* Two bytes of size and then points, 8 bytes each, as an outline. Whatever it is, its runs fill the mask, and
 * none but the first is empty. */
#include "data/polygon.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Sixteenths of a pixel, near the picture as a rule; now and then far
 * away. */
static double coordinate(const uint8_t *p) {
    int32_t v;
    memcpy(&v, p, sizeof v);
    double far = (double)v / 21474.83648;
    return v % 251 ? (double)(v >> 16) / 16.0 : far;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Error e = {0};
    Rle r;
    Bytes runs = {0}, scratch = {0};
    if (size < 2) return 0;
    int height = data[0] % 60 + 1, width = data[1] % 60 + 1;
    size_t n = (size - 2) / 8;
    n = n > 64 ? 64 : n;
    double *xy = mem_get((2 * n + 1) * sizeof *xy);
    if (!xy) abort();
    for (size_t i = 0; i < 2 * n; i++) xy[i] = coordinate(data + 2 + 4 * i);
    if (polygon_to_rle(&r, &runs, &scratch, xy, (int64_t)n, height, width, &e)) {
        int64_t sum = 0;
        for (int64_t i = 0; i < r.count; i++) {
            if (i > 0 && r.run[i] == 0) abort();
            sum += r.run[i];
        }
        if (sum != (int64_t)height * width || rle_area(&r) > sum) abort();
    } else if (e.code == ERROR_NONE) {
        abort();
    }
    mem_free(xy);
    bytes_free(&runs);
    bytes_free(&scratch);
    return 0;
}
