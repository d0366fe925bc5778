/* mask: what is done with masks as bitmaps: boxes, overlap, regions, borders. A bitmap is [height, width]
 * bytes, 0 or 1, row by row. */
#ifndef LETHE_SEGMENT_MASK_H
#define LETHE_SEGMENT_MASK_H

#include "core/base.h"

/* left, top, right, bottom: the first and last column and row with a pixel inside, as torch's
 * batched_mask_to_box; all 0 for an empty mask. */
typedef struct MaskBox {
    double x0, y0, x1, y1;
} MaskBox;

MaskBox mask_box(const uint8_t *mask, int height, int width);
int64_t mask_area(const uint8_t *mask, int64_t pixels);
double mask_iou(const uint8_t *a, const uint8_t *b, int64_t pixels); /* both empty: 1 */

/* IoU of the bands along the borders (Cheng et al. 2021), as HQ-SAM's evaluation makes them: what 3x3 erosion
 * takes away in max(1, round(ratio x diagonal)) rounds, the outside of the picture counting as empty. ratio
 * 0.02. */
bool mask_boundary_iou(const uint8_t *a, const uint8_t *b, int height, int width, double ratio, double *out,
                       Error *e);

/* SAM's remove_small_regions, 8-connected: islands (or, with `holes`, holes) smaller than `area` go; if all
 * islands are, the largest stays. Tells whether anything changed. */
bool mask_remove_small(uint8_t *mask, int height, int width, int64_t area, bool holes, bool *changed,
                       Error *e);

/* The pixel farthest from the border of what is set (the picture's border counts), for simulated clicks in
 * evaluation; of several the first. False where nothing is set. Distances as cv2.distanceTransform(DIST_L2,
 * 0) gives them: exact Euclidean. */
bool mask_centre(const uint8_t *mask, int height, int width, int *x, int *y, Error *e);

/* Greedy suppression as torchvision.ops.nms: by falling score (ties: first), a box that overlaps a kept one
 * by more than `limit` goes. keep: [n] indices, in order of score. Returns how many are kept;
 * -1: no memory. */
int64_t mask_nms(const MaskBox *box, const double *score, int64_t n, double limit, int64_t *keep, Error *e);

#endif
