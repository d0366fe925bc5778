/* One mask in a PNG: which values are inside? */
#include "data/masks.h"

enum { FILE_BYTES = 1 << 30, SOFT = 128 };

/* Which values there are; only greys may be. */
static bool census(const Image *im, bool seen[256], const char *path, Error *e) {
    size_t n = (size_t)im->width * (size_t)im->height;
    const uint8_t *p = im->pixel;
    for (size_t i = 0; i < n; i++, p += 3) {
        if (p[0] != p[1] || p[0] != p[2])
            return error_set(e, ERROR_FORMAT, "%s: a picture in colours, where a mask is grey", path);
        seen[p[0]] = true;
    }
    return true;
}

/* PNG specification, 11.2.2: the colour type follows width, height and depth in the first chunk. */
static bool has_palette(const Bytes *file) {
    enum { COLOUR_TYPE = 25, PALETTE = 3 };
    return file->data[0] == 0x89 && file->size > COLOUR_TYPE && file->data[COLOUR_TYPE] == PALETTE;
}

bool mask_file_read(Image *out, Bytes *file, const char *path, const ImageOptions *limits, Error *e) {
    ImageOptions options = *limits;
    bool seen[256] = {false};
    int values = 0, most = 0;
    options.numbers = true;
    options.orient = false; /* of a JPEG under a PNG's name: greys without EXIF as a rule */
    if (!bytes_read(file, path, FILE_BYTES, e) ||
        !image_decode(out, file->data, file->size, path, &options, e) || !census(out, seen, path, e))
        return false;
    for (int v = 1; v < 256; v++)
        if (seen[v]) values++, most = v;
    if (values > 1 && (has_palette(file) || most < SOFT))
        return error_set(e, ERROR_FORMAT,
                         "%s: %d values besides 0: labels of several things, not one mask (0 and 255)", path,
                         values);
    size_t n = (size_t)out->width * (size_t)out->height;
    for (size_t i = 0; values == 1 && i < n; i++) out->pixel[3 * i] = out->pixel[3 * i] ? 255 : 0;
    return true;
}
