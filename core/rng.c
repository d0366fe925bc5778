#include "core/rng.h"

#include <math.h>

void rng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* The sample fills one half of the counter; purpose, epoch and block index share the rest and the key, so
 * that no two of them can ever meet: key = seed, counter = (block, purpose | part << 8, epoch ^ hi, lo). */
Rng rng_open(uint64_t seed, RngPurpose purpose, uint32_t epoch, uint64_t sample) {
    Rng r = {.key = {(uint32_t)seed, (uint32_t)(seed >> 32)}};
    uint32_t mixed[4], id[4] = {(uint32_t)sample, (uint32_t)(sample >> 32), epoch, 0x4C657468u};
    rng_philox(id, r.key, mixed); /* a bijection of (sample, epoch) for one seed: distinct stays distinct */
    r.counter[1] = (uint32_t)purpose;
    r.key[0] = mixed[0], r.key[1] = mixed[1];
    r.counter[2] = mixed[2], r.counter[3] = mixed[3];
    return r;
}

Rng rng_sub(Rng parent, uint32_t n) {
    parent.counter[0] = 0;
    parent.counter[1] = (parent.counter[1] & 0xFFu) | (n + 1) << 8;
    parent.left = 0;
    return parent;
}

uint32_t rng_u32(Rng *r) {
    if (r->left == 0) {
        rng_philox(r->counter, r->key, r->out);
        r->counter[0]++;
        r->left = 4;
    }
    return r->out[--r->left];
}

double rng_uniform(Rng *r) {
    uint64_t hi = rng_u32(r) >> 5, lo = rng_u32(r) >> 6;
    return ((double)hi * 67108864.0 + (double)lo) / 9007199254740992.0;
}

float rng_uniformf(Rng *r) {
    return (float)(rng_u32(r) >> 8) * 0x1p-24f;
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
