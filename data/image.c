#include "data/image.h"

#include "data/bytes.h"
#include "data/jpeg.h"
#include "data/png.h"

#include <string.h>

const ImageOptions image_standard = {
    .max_pixels = 256 << 20, .max_memory = (int64_t)2 << 30, .max_scans = 100, .orient = true};

enum { FILE_BYTES = 1 << 30 }; /* more than any picture within the pixel limit needs */

bool image_reserve(Image *im, int width, int height, Error *e) {
    if (width < 1 || height < 1)
        return error_set(e, ERROR_VALUE, "an image of %d x %d pixels", width, height);
    size_t wanted = (size_t)width * (size_t)height * 3 + IMAGE_SLACK;
    if (wanted > im->capacity) {
        if (wanted < 2 * im->capacity) wanted = 2 * im->capacity;
        image_free(im);
        im->pixel = mem_get(wanted);
        if (!im->pixel) return error_memory(e, wanted);
        im->capacity = wanted;
    }
    im->width = width;
    im->height = height;
    im->channels = 3;
    return true;
}

void image_free(Image *im) {
    mem_free(im->pixel);
    *im = (Image){0};
}

int image_info_width(const ImageInfo *i) {
    return i->orientation > 4 ? i->height : i->width;
}

int image_info_height(const ImageInfo *i) {
    return i->orientation > 4 ? i->width : i->height;
}

static bool kind_of(ImageKind *out, const uint8_t *data, size_t size, const char *name, Error *e) {
    static const uint8_t png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    if (size >= 3 && data[0] == 0xFF && data[1] == 0xD8 && data[2] == 0xFF) {
        *out = IMAGE_JPEG;
        return true;
    }
    if (size >= 8 && memcmp(data, png, 8) == 0) {
        *out = IMAGE_PNG;
        return true;
    }
    return error_set(e, ERROR_FORMAT,
                     "%s: neither a JPEG nor a PNG (its first bytes say so, whatever its name)", name);
}

bool image_probe(ImageInfo *out, const uint8_t *data, size_t size, const char *name,
                 const ImageOptions *options, Error *e) {
    ImageKind kind;
    if (!kind_of(&kind, data, size, name, e)) return false;
    if (kind == IMAGE_PNG) return image_png_probe(out, data, size, name, options, e);
    return image_jpeg_probe(out, data, size, name, options, e);
}

bool image_decode_part(Image *out, ImagePart *part, const uint8_t *data, size_t size, const char *name,
                       ImageBox box, int max_shrink, const ImageOptions *options, Error *e) {
    ImageKind kind;
    if (!kind_of(&kind, data, size, name, e)) return false;
    if (kind == IMAGE_JPEG) return image_jpeg_part(out, part, data, size, name, box, max_shrink, options, e);
    *part = (ImagePart){0, 0, 1};
    return image_png_decode(out, data, size, name, options, e);
}

bool image_decode(Image *out, const uint8_t *data, size_t size, const char *name, const ImageOptions *options,
                  Error *e) {
    ImageInfo info;
    ImagePart part;
    if (!image_probe(&info, data, size, name, options, e)) return false;
    ImageBox all = {0, 0, info.width, info.height};
    if (info.orientation == 1) return image_decode_part(out, &part, data, size, name, all, 1, options, e);
    Image stored = {0};
    bool ok = image_decode_part(&stored, &part, data, size, name, all, 1, options, e) &&
              image_orient(out, &stored, info.orientation, e);
    image_free(&stored);
    return ok;
}

bool image_read(Image *out, const char *path, const ImageOptions *options, Error *e) {
    Bytes file = {0};
    bool ok =
        bytes_read(&file, path, FILE_BYTES, e) && image_decode(out, file.data, file.size, path, options, e);
    bytes_free(&file);
    return ok;
}

/* EXIF 2.3, tag 0x0112: orientations above 4 exchange the axes; besides, the stored columns, rows or both may
 * run backwards. */
static bool turned(int orientation) {
    return orientation > 4;
}

static bool columns_backward(int orientation) {
    return orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
}

static bool rows_backward(int orientation) {
    return orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
}

ImageBox image_box_stored(const ImageInfo *i, ImageBox seen) {
    ImageBox b = turned(i->orientation) ? (ImageBox){seen.y, seen.x, seen.height, seen.width} : seen;
    if (columns_backward(i->orientation)) b.x = i->width - b.x - b.width;
    if (rows_backward(i->orientation)) b.y = i->height - b.y - b.height;
    return b;
}

bool image_orient(Image *out, const Image *in, int orientation, Error *e) {
    int w = in->width, h = in->height;
    bool turn = turned(orientation), back_x = columns_backward(orientation),
         back_y = rows_backward(orientation);
    if (!image_reserve(out, turn ? h : w, turn ? w : h, e)) return false;
    for (int y = 0; y < out->height; y++) {
        uint8_t *to = out->pixel + (size_t)y * (size_t)out->width * 3;
        for (int x = 0; x < out->width; x++, to += 3) {
            int sx = turn ? y : x, sy = turn ? x : y;
            if (back_x) sx = w - 1 - sx;
            if (back_y) sy = h - 1 - sy;
            memcpy(to, in->pixel + ((size_t)sy * (size_t)w + (size_t)sx) * 3, 3);
        }
    }
    return true;
}

bool image_write_png(const Image *im, const char *path, Error *e) {
    Bytes file = {0};
    bool ok = image_png_encode(&file, im, e) && bytes_write(&file, path, e);
    bytes_free(&file);
    return ok;
}

bool image_write_grey(const uint8_t *pixel, int width, int height, const char *path, Error *e) {
    Bytes file = {0};
    bool ok = image_png_encode_grey(&file, pixel, width, height, e) && bytes_write(&file, path, e);
    bytes_free(&file);
    return ok;
}

bool image_write_jpeg(const Image *im, int quality, const char *path, Error *e) {
    Bytes file = {0};
    bool ok = image_jpeg_encode(&file, im, quality, e) && bytes_write(&file, path, e);
    bytes_free(&file);
    return ok;
}
