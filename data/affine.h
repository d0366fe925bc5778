/* affine: turning, shearing and shifting an image, as Pillow's transform(AFFINE, BICUBIC) with a fill colour.
 */
#ifndef LETHE_AFFINE_H
#define LETHE_AFFINE_H

#include "data/image.h"

/* Where the output pixel (x, y) looks in the input: (m[0] x + m[1] y + m[2], m[3] x + m[4] y + m[5]), in
 * coordinates where pixel centres lie at one half. Outside the input: `fill`. The cubic is Pillow's for
 * transforms, a = -1 (its resize has -0.5). out: the size of in; another image. */
bool affine_run(Image *out, const Image *in, const double m[6], const uint8_t fill[3], Error *e);

/* The matrix that turns by `degrees` counter-clockwise about the centre of a width x height image. */
void affine_rotation(double m[6], double degrees, int width, int height);

#endif
