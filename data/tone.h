/* tone: changes of an image's colours, each with the bytes Pillow gives (ImageOps, ImageEnhance).
 * All work in place. Factor 1 leaves the image as it is. */
#ifndef LETHE_TONE_H
#define LETHE_TONE_H

#include "data/image.h"

void tone_autocontrast(Image *im); /* each channel stretched to 0..255 */
void tone_equalize(Image *im);     /* each channel's histogram made flat */
void tone_invert(Image *im);
void tone_posterize(Image *im, int bits);       /* keeps the upper 0..8 bits */
void tone_solarize(Image *im, int threshold);   /* inverts values from the threshold on; 256: none */
void tone_solarize_add(Image *im, int add);     /* adds to values below 128, at most up to 255 */
void tone_saturation(Image *im, double factor); /* 0: grey */
void tone_contrast(Image *im, double factor);   /* 0: the mean grey */
void tone_brightness(Image *im, double factor); /* 0: black */
/* 0: smoothed by a 3 x 3 kernel. `scratch` is another image, overwritten. */
bool tone_sharpness(Image *im, double factor, Image *scratch, Error *e);

#endif
