/* fit: all of a picture, or a window of it at a random scale, into the upper left corner of a square; how SAM
 * and HQ-SAM see pictures (data.geometry longest and stretch). The picture's masks follow the same Fit.
 *
 *   longest      the longest side becomes the square's: int(side * (size / longest) + 0.5), bilinear as
 *                Pillow does it; normalised, then padded with zeros (Kirillov et al. 2023; segment_anything)
 *   stretch      straight to size x size, bilinear as PyTorch's interpolate does it, fractions cut off
 *                (HQ-SAM's evaluation)
 *   jitter       training with data.lsj_min, data.lsj_max: the longest side becomes a random share of the
 *                square's, bilinear as PyTorch's interpolate does it; what is too large is cropped at random,
 *                what is missing is padded with grey, 128 (LargeScaleJitter of HQ-SAM's training)
 *
 * Masks are sampled as PyTorch's interpolate does it in all three, and rounded to 8 bits, which the reference
 * leaves out: it trains on masks that are off by half of 1/255 at most. */
#ifndef LETHE_FIT_H
#define LETHE_FIT_H

#include "data/augment.h"

typedef struct Fit {
    int width, height; /* of the whole picture when resized */
    ImageBox window;   /* what is kept of that, from the square's upper left corner on */
    bool mirror;       /* before resizing and cropping */
    bool smooth;       /* resize as Pillow does: longest */
    bool grey;         /* pad with 128, before normalising; else with 0, after it */
} Fit;

/* Draws scale, window and mirroring for a picture of this size. jitter false: as if it were switched off. */
Fit fit_draw(const Augment *a, Rng rng, int width, int height, bool jitter);

/* Where the window looks: for sample_mask, and sample_image. */
bool fit_axes(const Fit *f, int width, int height, SampleAxis *x, SampleAxis *y, Error *e);

/* Height and width of the picture as seen, without decoding. */
bool fit_size(const Augment *a, const AugmentSource *from, int32_t size[2], Error *e);

/* out: f32 [3, size, size]. Colours are jittered as data.jitter says. */
bool fit_run(const Augment *a, AugmentScratch *s, const AugmentSource *from, const Fit *f, Rng rng,
             float *out, Error *e);

#endif
