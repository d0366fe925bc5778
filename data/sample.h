/* sample: bilinear sampling as PyTorch's interpolate(mode="bilinear", align_corners=False) does it, without
 * antialiasing, in single precision; masks and pictures of HQ-SAM's training go through it. */
#ifndef LETHE_SAMPLE_H
#define LETHE_SAMPLE_H

#include "data/bytes.h"
#include "data/plane.h"

/* Where outputs first .. first + count - 1 of `out` look among `in` pixels. */
typedef struct SampleAxis {
    int count;
    int *low, *high; /* the two neighbours */
    float *share;    /* of the higher one */
    Bytes memory;    /* behind the three; kept */
} SampleAxis;

/* mirror: the source is read backwards, as if it had been mirrored first. */
bool sample_axis(SampleAxis *a, int in, int out, int first, int count, bool mirror, Error *e);
void sample_axis_free(SampleAxis *a);

/* out: x->count by y->count pixels; fractions are cut off, as HQ-SAM's training does. */
bool sample_image(Image *out, const Image *in, const SampleAxis *x, const SampleAxis *y, Error *e);

/* A mask of values 0 .. 255 into the upper left corner of a square of zeros, rounded. Returns how many of its
 * pixels are 128 and more. */
int64_t sample_mask(uint8_t *out, int side, const GreyPlane *in, const SampleAxis *x, const SampleAxis *y);

#endif
