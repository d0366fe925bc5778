#include "core/rng_stream.h"

#include <math.h>

void rng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    rng_stream_philox(counter, key, out);
}

Rng rng_open(uint64_t seed, RngPurpose purpose, uint32_t epoch, uint64_t sample) {
    return rng_stream_open(seed, purpose, epoch, sample);
}

Rng rng_sub(Rng parent, uint32_t n) {
    return rng_stream_sub(parent, n);
}

uint32_t rng_u32(Rng *r) {
    return rng_stream_u32(r);
}

double rng_uniform(Rng *r) {
    return rng_stream_uniform(r);
}

float rng_uniformf(Rng *r) {
    return rng_stream_uniformf(r);
}

double rng_range(Rng *r, double lo, double hi) {
    return lo + (hi - lo) * rng_uniform(r);
}

double rng_normal(Rng *r) {
    double u = 1.0 - rng_uniform(r), v = rng_uniform(r);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586476925 * v);
}

/* Marsaglia and Tsang 2000; a < 1 is lifted to a + 1 and scaled back by u^(1/a). */
static double gamma_draw(Rng *r, double a) {
    double boost = 1.0;
    if (a < 1.0) {
        boost = pow(1.0 - rng_uniform(r), 1.0 / a);
        a += 1.0;
    }
    double d = a - 1.0 / 3.0, c = 1.0 / sqrt(9.0 * d);
    for (;;) {
        double x = rng_normal(r), v = 1.0 + c * x;
        if (v <= 0.0) continue;
        v = v * v * v;
        double u = 1.0 - rng_uniform(r);
        if (log(u) < 0.5 * x * x + d - d * v + d * log(v)) return boost * d * v;
    }
}

double rng_beta(Rng *r, double a, double b) {
    double x = gamma_draw(r, a), y = gamma_draw(r, b);
    return x + y > 0.0 ? x / (x + y) : 0.5;
}

uint64_t rng_below(Rng *r, uint64_t n) {
    uint64_t limit = UINT64_MAX - UINT64_MAX % n, x;
    do x = (uint64_t)rng_u32(r) << 32 | rng_u32(r);
    while (x >= limit);
    return x % n;
}

void rng_shuffle(Rng *r, uint32_t *list, size_t n) {
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)rng_below(r, i);
        uint32_t t = list[i - 1];
        list[i - 1] = list[j];
        list[j] = t;
    }
}

uint64_t rng_hash(const char *text) {
    uint64_t h = 0xCBF29CE484222325u;
    for (; *text; text++) h = (h ^ (uint8_t)*text) * 0x100000001B3u;
    return h;
}
