/* image: JPEG and PNG files to RGB pixels and back, by libjpeg-turbo and libpng.
 *
 * The kind is told by the first bytes, never by the name: a "photo.png" that is a JPEG is read as one.
 * Whatever is stored comes out as 8-bit RGB, with the values Pillow's convert("RGB") gives: grey is repeated,
 * CMYK and YCCK are taken as Adobe's inverted ones, palettes are looked up, alpha is dropped (not blended).
 * Of 16-bit samples the high byte is kept (for 16-bit grey Pillow clips at 255 instead, which turns
 * microscopy images white). Gamma chunks and colour profiles are not applied, as in Pillow.
 *
 * EXIF orientation of a JPEG is applied when ImageOptions.orient is set (the standard). Pillow and
 * torchvision's ImageFolder do not apply it: clear the flag to see what they see.
 *
 * Files are hostile. Limits on pixels, memory and scans hold before anything is allocated; no decoder can end
 * the process; a file cut short is an error that names the file and the byte. Harmless oddities (bytes
 * between markers, an unknown JFIF version) pass; damage in the coded data does not. */
#ifndef LETHE_IMAGE_H
#define LETHE_IMAGE_H

#include "core/base.h"

enum { IMAGE_SLACK = 64 }; /* readable bytes after the last pixel, for vector loads */

typedef struct Image {
    int width, height;
    int channels;    /* always 3 */
    uint8_t *pixel;  /* [height, width, 3], R G B, rows without padding */
    size_t capacity; /* bytes behind pixel; the next image of that size or less asks for no memory */
} Image;

/* Makes room; the contents are undefined. */
bool image_reserve(Image *im, int width, int height, Error *e);
void image_free(Image *im); /* a zeroed Image is fine */

typedef struct ImageOptions {
    int64_t max_pixels; /* width x height */
    int64_t max_memory; /* bytes that libjpeg may hold (progressive files keep all coefficients) */
    int max_scans;      /* of a progressive JPEG: each costs a pass over the whole picture */
    bool orient;        /* apply the EXIF orientation */
    bool numbers;       /* a palette's numbers stand for its colours, and 16-bit samples are refused: for PNGs
                           that are masks */
} ImageOptions;

extern const ImageOptions image_standard; /* 256 Mpixel, 2 GiB, 100 scans, orient */

typedef enum { IMAGE_JPEG, IMAGE_PNG } ImageKind;

typedef struct ImageInfo {
    ImageKind kind;
    int width, height; /* as stored: before orientation */
    int orientation;   /* EXIF 1..8, 1 = as stored; always 1 when options say not to orient */
} ImageInfo;

typedef struct ImageBox {
    int x, y, width, height; /* pixels */
} ImageBox;

/* Size of the picture as seen: sides exchanged by orientations 5 to 8. */
int image_info_width(const ImageInfo *i);
int image_info_height(const ImageInfo *i);

/* `name` stands at the head of every message. All of these replace *out and keep its memory for the next use.
 */
bool image_probe(ImageInfo *out, const uint8_t *data, size_t size, const char *name,
                 const ImageOptions *options, Error *e);
bool image_decode(Image *out, const uint8_t *data, size_t size, const char *name, const ImageOptions *options,
                  Error *e);
bool image_read(Image *out, const char *path, const ImageOptions *options, Error *e);

/* Decodes no more than a rectangle needs. The result is the part [x, x + out.width) x [y, y + out.height) of
 * the stored picture shrunk `shrink` times (1, 2, 4 or 8, by libjpeg-turbo's scaled inverse DCT); it covers
 * `box` and is a little larger, since JPEG is coded in blocks. shrink 1 gives exactly the pixels of a full
 * decode. `max_shrink` bounds it; PNG is always decoded whole. Orientation is left to the caller. */
typedef struct ImagePart {
    int x, y, shrink;
} ImagePart;
bool image_decode_part(Image *out, ImagePart *part, const uint8_t *data, size_t size, const char *name,
                       ImageBox box, int max_shrink, const ImageOptions *options, Error *e);

/* The box of stored pixels behind a box of the picture as seen. */
ImageBox image_box_stored(const ImageInfo *i, ImageBox seen);

/* out = `in` as seen under EXIF orientation 1..8; out and in are different images. */
bool image_orient(Image *out, const Image *in, int orientation, Error *e);

bool image_write_png(const Image *im, const char *path, Error *e);
/* 8-bit grey: pixel [height, width] */
bool image_write_grey(const uint8_t *pixel, int width, int height, const char *path, Error *e);
bool image_write_jpeg(const Image *im, int quality, const char *path, Error *e); /* 1..100; 4:2:0 */

#endif
