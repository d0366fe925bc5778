/* Any bytes as a JPEG: whole, in part, shrunk, by the EXIF way up; never an exit, never a read or write
 * outside. A part that is not shrunk has the pixels of the whole. */
#include "data/jpeg.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Small limits keep each input quick. */
static const ImageOptions limits = {
    .max_pixels = 1 << 18, .max_memory = 64 << 20, .max_scans = 20, .orient = true};

static void check_part(const uint8_t *data, size_t size, const Image *whole, const ImageInfo *info) {
    Error e;
    Image part = {0};
    ImagePart at;
    ImageBox box = {info->width / 3, info->height / 3, (info->width + 2) / 3, (info->height + 2) / 3};
    if (!image_jpeg_part(&part, &at, data, size, "fuzz", box, 1, &limits, &e)) abort();
    for (int y = box.y; y < box.y + box.height; y++)
        if (memcmp(part.pixel + ((size_t)(y - at.y) * (size_t)part.width + (size_t)(box.x - at.x)) * 3,
                   whole->pixel + ((size_t)y * (size_t)info->width + (size_t)box.x) * 3,
                   (size_t)box.width * 3) != 0)
            abort();
    image_jpeg_part(&part, &at, data, size, "fuzz", box, 8, &limits, &e);
    image_free(&part);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Error e = {0};
    ImageInfo info;
    ImagePart at;
    Image whole = {0}, seen = {0};
    if (!image_jpeg_probe(&info, data, size, "fuzz", &limits, &e)) {
        if (e.code == ERROR_NONE || strncmp(e.text, "fuzz: ", 6) != 0) abort();
        return 0;
    }
    ImageBox all = {0, 0, info.width, info.height};
    if (image_jpeg_part(&whole, &at, data, size, "fuzz", all, 1, &limits, &e)) {
        if (whole.width != info.width || whole.height != info.height) abort();
        check_part(data, size, &whole, &info);
        if (!image_orient(&seen, &whole, info.orientation, &e) || seen.width != image_info_width(&info))
            abort();
    }
    image_free(&whole);
    image_free(&seen);
    return 0;
}
