/* jpeg: libjpeg-turbo behind an error handler that never ends the process. For data/image.c. */
#ifndef LETHE_JPEG_H
#define LETHE_JPEG_H

#include "data/bytes.h"
#include "data/image.h"

bool image_jpeg_probe(ImageInfo *out, const uint8_t *data, size_t size, const char *name,
                      const ImageOptions *options, Error *e);
bool image_jpeg_part(Image *out, ImagePart *part, const uint8_t *data, size_t size, const char *name,
                     ImageBox box, int max_shrink, const ImageOptions *options, Error *e);
bool image_jpeg_encode(Bytes *out, const Image *im, int quality, Error *e);

#endif
