#include "data/noise.h"

#include "core/rng.h"

#include <math.h>

#define WRAP(i) ((unsigned)(i) & (NOISE_SIDE - 1))

static float lattice(const float *tile, int step, int x, int y) {
    return tile[WRAP(y * step) * NOISE_SIDE + WRAP(x * step)];
}

/* Value noise on a lattice of `step` texels, so that it still wraps with the tile. */
static float octave(const float *white, int step, int x, int y) {
    int i = x / step, j = y / step;
    float u = (float)(x % step) / (float)step, v = (float)(y % step) / (float)step;
    u = u * u * (3.0f - 2.0f * u), v = v * v * (3.0f - 2.0f * v);
    float top = lattice(white, step, i, j) * (1.0f - u) + lattice(white, step, i + 1, j) * u;
    float low = lattice(white, step, i, j + 1) * (1.0f - u) + lattice(white, step, i + 1, j + 1) * u;
    return top * (1.0f - v) + low * v;
}

void noise_fill(Noise *noise, uint64_t seed) {
    const int total = NOISE_SIDE * NOISE_SIDE;
    Rng r = rng_open(seed, RNG_SYNTH, 1, 0);
    for (int i = 0; i < total; i++) noise->white[i] = 2.0f * rng_uniformf(&r) - 1.0f;
    double sum = 0.0, square = 0.0;
    for (int y = 0; y < NOISE_SIDE; y++)
        for (int x = 0; x < NOISE_SIDE; x++) {
            float value = 0.0f, weight = 1.0f;
            for (int step = NOISE_SIDE / 4; step > 0; step /= 2, weight *= 0.55f)
                value += weight * octave(noise->white, step, x, y);
            noise->cloud[y * NOISE_SIDE + x] = value;
            sum += value, square += (double)value * value;
        }
    float mean = (float)(sum / total), scale = (float)(1.0 / sqrt(square / total - (double)mean * mean));
    for (int i = 0; i < total; i++) noise->cloud[i] = (noise->cloud[i] - mean) * scale;
}

static float mix4(const float *tile, int i, int j, float u, float v) {
    const float *top = tile + WRAP(j) * NOISE_SIDE, *low = tile + WRAP(j + 1) * NOISE_SIDE;
    float a = top[WRAP(i)] + (top[WRAP(i + 1)] - top[WRAP(i)]) * u;
    float b = low[WRAP(i)] + (low[WRAP(i + 1)] - low[WRAP(i)]) * u;
    return a + (b - a) * v;
}

float noise_value(const Noise *noise, float x, float y) {
    float fx = floorf(x), fy = floorf(y), u = x - fx, v = y - fy;
    return mix4(noise->white, (int)fx, (int)fy, u * u * (3.0f - 2.0f * u), v * v * (3.0f - 2.0f * v));
}

float noise_cloud(const Noise *noise, float x, float y) {
    x *= NOISE_SIDE, y *= NOISE_SIDE;
    float fx = floorf(x), fy = floorf(y);
    return mix4(noise->cloud, (int)fx, (int)fy, x - fx, y - fy);
}
