/* rle: masks as COCO stores them (cocodataset/cocoapi, common/maskApi.c): runs of pixels in column order,
 * zeros first (the first run may be 0 long). Compressed: each run, from the fourth on less the one two
 * before, in groups of 5 bits, low ones first, as characters '0' to 'o'. Strings come from outside: no run
 * may be negative or leave the mask, their sum must be exactly its area, a group may have at most 7
 * characters. */
#ifndef LETHE_RLE_H
#define LETHE_RLE_H

#include "data/bytes.h"
#include "data/plane.h"

typedef struct Rle {
    int height, width;
    int64_t count;
    const uint32_t *run; /* [count]; sums to height * width */
} Rle;

enum { RLE_SIDE = (1 << 16) - 1 }; /* largest height and width: the area fits into 32 bits */

/* All of these write runs behind those already in `out`, 4 bytes each, and make *r borrow the new ones: valid
 * until `out` grows or is freed. Error texts say what is wrong and where in the runs; callers add the file.
 */
bool rle_from_counts(Rle *r, Bytes *out, const double *counts, int64_t n, int height, int width, Error *e);
bool rle_from_text(Rle *r, Bytes *out, const char *text, int height, int width, Error *e);
/* mask: [height, width], any value but 0 is inside */
bool rle_from_mask(Rle *r, Bytes *out, const uint8_t *mask, int height, int width, Error *e);

/* Inside is what is greater than `above`. */
bool rle_from_plane(Rle *r, Bytes *out, const GreyPlane *plane, int above, Error *e);
/* place: [n] sorted places in column order, 0 .. height * width, where inside and outside change; two equal
 * ones cancel. */
bool rle_from_places(Rle *r, Bytes *out, const uint32_t *place, int64_t n, int height, int width, Error *e);

bool rle_size_check(int height, int width, Error *e); /* 1 .. RLE_SIDE, both */

bool rle_to_text(const Rle *r, Bytes *out, Error *e); /* replaces the contents; ends with a NUL not counted */
void rle_to_mask(const Rle *r, uint8_t *mask);        /* [height, width], 0 and 1 */
/* Sets what is inside to 255 in `column`, [width, height], and leaves the rest: masks painted one over the
 * other make their union. */
void rle_paint(const Rle *r, uint8_t *column);
/* The least box around what is inside; its height is the whole column's where a run goes on in the next. */
ImageBox rle_box(const Rle *r);
int64_t rle_area(const Rle *r); /* pixels inside */

#endif
