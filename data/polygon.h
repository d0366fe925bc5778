/* polygon: the pixels inside an outline, as COCO's API decides it (cocodataset/cocoapi, common/maskApi.c,
 * rleFrPoly): the outline is walked on a grid five times as fine; where it passes the middle of a column of
 * pixels, inside and outside change below. What is walked over twice cancels. */
#ifndef LETHE_POLYGON_H
#define LETHE_POLYGON_H

#include "data/rle.h"

/* xy: [points, 2] x and y in pixels, |x|, |y| <= 1e7, closed by the first point. Runs go behind those in
 * `out` (see data/rle.h). scratch: used and kept. An outline so long that only malice explains it is an
 * error. */
bool polygon_to_rle(Rle *r, Bytes *out, Bytes *scratch, const double *xy, int64_t points, int height,
                    int width, Error *e);

#endif
