/* Two bytes of size and then any string as a compressed mask. What is accepted fills its mask exactly, and
 * the mask codes to runs of the same area; text to runs to text ends after one round. */
#include "data/rle.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Error e = {0};
    Rle r, again;
    Bytes runs = {0}, more = {0}, text = {0};
    if (size < 2) return 0;
    int height = data[0] % 40 + 1, width = data[1] % 40 + 1;
    char *string = mem_get(size);
    uint8_t *mask = mem_get((size_t)(height * width));
    if (!string || !mask) abort();
    memcpy(string, data + 2, size - 2);
    string[size - 2] = '\0';
    if (rle_from_text(&r, &runs, string, height, width, &e)) {
        memset(mask, 7, (size_t)(height * width));
        rle_to_mask(&r, mask);
        int64_t area = 0;
        for (int i = 0; i < height * width; i++) {
            if (mask[i] > 1) abort();
            area += mask[i];
        }
        if (area != rle_area(&r) || !rle_from_mask(&again, &more, mask, height, width, &e) ||
            rle_area(&again) != area)
            abort();
        if (!rle_to_text(&r, &text, &e) ||
            !rle_from_text(&again, &more, (char *)text.data, height, width, &e))
            abort();
        if (again.count != r.count || memcmp(again.run, r.run, (size_t)r.count * sizeof *r.run) != 0) abort();
    } else if (e.code == ERROR_NONE) {
        abort();
    }
    mem_free(string);
    mem_free(mask);
    bytes_free(&runs);
    bytes_free(&more);
    bytes_free(&text);
    return 0;
}
