/* png: libpng behind an error handler that never ends the process. For data/image.c. */
#ifndef LETHE_PNG_H
#define LETHE_PNG_H

#include "data/bytes.h"
#include "data/image.h"

bool image_png_probe(ImageInfo *out, const uint8_t *data, size_t size, const char *name,
                     const ImageOptions *options, Error *e);
bool image_png_decode(Image *out, const uint8_t *data, size_t size, const char *name,
                      const ImageOptions *options, Error *e);
bool image_png_encode(Bytes *out, const Image *im, Error *e);
/* pixel: [height, width], 8 bits */
bool image_png_encode_grey(Bytes *out, const uint8_t *pixel, int width, int height, Error *e);

#endif
