/* overlay: masks and prompts drawn over a picture. */
#ifndef LETHE_CLI_OVERLAY_H
#define LETHE_CLI_OVERLAY_H

#include "data/image.h"

typedef struct OverlayColour {
    uint8_t channel[3]; /* R G B */
} OverlayColour;

/* Colour i of a list without end, neighbours far apart. */
OverlayColour overlay_colour(int64_t i);

/* mask: [height, width] of the image, 0 and 1. What is inside is tinted, its border drawn in full colour. */
void overlay_mask(Image *im, const uint8_t *mask, OverlayColour c);

/* A point prompt: green inside, red outside. A box prompt: x0, y0, x1, y1. */
void overlay_point(Image *im, double x, double y, bool inside);
void overlay_box(Image *im, const double box[4]);

#endif
