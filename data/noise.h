/* noise: one square tile of random texture that wraps at its edges, made once and then only looked up.
 * Drawing many images needs millions of noise values; a table costs a few loads each. */
#ifndef LETHE_NOISE_H
#define LETHE_NOISE_H

#include "core/base.h"

#define NOISE_SIDE 256

typedef struct Noise {
    float white[NOISE_SIDE * NOISE_SIDE]; /* independent, uniform in [-1, 1] */
    float cloud[NOISE_SIDE * NOISE_SIDE]; /* seven octaves of value noise: mean 0, variance 1 */
} Noise;

void noise_fill(Noise *noise, uint64_t seed);

/* Value noise with one random value per unit square, smooth in between; in [-1, 1]. Period NOISE_SIDE. */
float noise_value(const Noise *noise, float x, float y);

/* Fractal noise; mean 0, variance 1; the whole tile is the unit square. Period 1. */
float noise_cloud(const Noise *noise, float x, float y);

#endif
