/* plane: pixels of one value each, wherever they lie: the rows of a grey picture, one channel of a colour
 * picture, or a mask that was painted column by column. */
#ifndef LETHE_PLANE_H
#define LETHE_PLANE_H

#include "data/image.h"

typedef struct GreyPlane {
    const uint8_t *value;
    size_t across, down; /* bytes from a pixel to its right neighbour, and to the one below */
    int width, height;
    ImageBox box; /* outside it all values are 0 */
} GreyPlane;

static inline GreyPlane plane_of(const uint8_t *value, size_t across, size_t down, int width, int height) {
    return (GreyPlane){value, across, down, width, height, {0, 0, width, height}};
}

static inline uint8_t plane_at(const GreyPlane *p, int x, int y) {
    return p->value[(size_t)x * p->across + (size_t)y * p->down];
}

#endif
