/* Any text as SA-1B's JSON of a picture of 20 x 30 pixels: refused with a line, or every mask fills it. */
#include "data/rle.h"
#include "data/sa1b.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { HEIGHT = 20, WIDTH = 30 };
    Error e = {0};
    Bytes list = {0}, runs = {0};
    if (sa1b_parse(&list, &runs, "f.json", (const char *)data, size, HEIGHT, WIDTH, &e)) {
        const Sa1bMask *m = (const Sa1bMask *)(const void *)list.data;
        for (size_t k = 0; k < list.size / sizeof *m; k++) {
            const uint32_t *run = (const uint32_t *)(const void *)(runs.data + m[k].begin);
            if (m[k].begin + (size_t)m[k].count * sizeof *run > runs.size) abort();
            int64_t sum = 0;
            for (int64_t i = 0; i < m[k].count; i++) sum += run[i];
            if (sum != HEIGHT * WIDTH) abort();
        }
    } else if (e.code == ERROR_NONE) {
        abort();
    }
    bytes_free(&list);
    bytes_free(&runs);
    return 0;
}
