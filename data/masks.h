/* masks: what is inside the objects of a picture, whichever layout it comes from: polygons or runs of a COCO
 * file, the runs of SA-1B's JSON beside each picture, or a PNG.
 *
 * A mask's PNG is grey, or has equal red, green and blue, of 8 bits or fewer, or a palette. With values of
 * 128 and more it is taken as it is, 0 .. 255, soft edges and all, and 129 and more are inside, as HQ-SAM's
 * evaluation has it; if there is but one value besides 0, that is inside. Other numbers are labels of many
 * things, not a mask, and refused. */
#ifndef LETHE_MASKS_H
#define LETHE_MASKS_H

#include "data/dataset.h"
#include "data/rle.h"

/* The masks of one picture. A zeroed one is ready; memory is kept from picture to picture. */
typedef struct Masks {
    int height, width;
    int64_t count;
    int64_t *id;     /* [count] the annotation's, or 0 for a PNG */
    Bytes list, ids; /* behind id, and where each mask comes from */
    Bytes runs, one, scratch, column, file;
    Image picture; /* a PNG: 0 .. 255 in the first of three channels */
} Masks;
void masks_free(Masks *m);

/* Do this layout's samples come with masks? */
bool masks_layout(int layout);
/* False if it is known without opening a file that sample i has none. */
bool masks_any(const Dataset *d, int64_t i);

/* Those of sample i, whose picture is height x width as seen; crowds of COCO are no objects. count may be 0.
 * Errors name the file. */
bool masks_read(Masks *m, const Dataset *d, int64_t i, int height, int width, const ImageOptions *limits,
                Error *e);

/* Mask k as values 0 .. 255, or as runs. Both are borrowed until the next call. */
bool masks_plane(Masks *m, int64_t k, GreyPlane *out, Error *e);
bool masks_runs(Masks *m, int64_t k, Rle *out, Error *e);

/* For data/masks.c: a mask's PNG into the first channel of `out`, 0 outside. file: used and kept. */
bool mask_file_read(Image *out, Bytes *file, const char *path, const ImageOptions *limits, Error *e);

#endif
