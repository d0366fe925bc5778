/* Any bytes as a PNG: never an exit, never a read or write outside. What decodes is written again and must
 * come back the same. */
#include "data/png.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ImageOptions limits = {
    .max_pixels = 1 << 18, .max_memory = 64 << 20, .max_scans = 20, .orient = true};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Error e = {0};
    ImageInfo info;
    Image im = {0}, back = {0};
    Bytes file = {0};
    if (!image_png_probe(&info, data, size, "fuzz", &limits, &e)) {
        if (e.code == ERROR_NONE || strncmp(e.text, "fuzz: ", 6) != 0) abort();
        return 0;
    }
    if (image_png_decode(&im, data, size, "fuzz", &limits, &e)) {
        if (im.width != info.width || im.height != info.height) abort();
        if (!image_png_encode(&file, &im, &e) ||
            !image_png_decode(&back, file.data, file.size, "fuzz", &limits, &e))
            abort();
        if (memcmp(im.pixel, back.pixel, (size_t)im.width * (size_t)im.height * 3) != 0) abort();
    }
    image_free(&im);
    image_free(&back);
    bytes_free(&file);
    return 0;
}
