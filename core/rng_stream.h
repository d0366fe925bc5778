/* rng_stream: the streams of core/rng.h themselves, written once for the host (core/rng.c) and for kernels
 * (core/rng.cuh, where RNG_FN makes them device functions). */
#ifndef LETHE_RNG_STREAM_H
#define LETHE_RNG_STREAM_H

#include "core/rng.h"

#ifndef RNG_FN
#define RNG_FN static inline
#endif

RNG_FN void rng_stream_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
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
RNG_FN Rng rng_stream_open(uint64_t seed, RngPurpose purpose, uint32_t epoch, uint64_t sample) {
    Rng r = {{(uint32_t)seed, (uint32_t)(seed >> 32)}, {0, 0, 0, 0}, {0, 0, 0, 0}, 0};
    uint32_t mixed[4], id[4] = {(uint32_t)sample, (uint32_t)(sample >> 32), epoch, 0x4C657468u};
    rng_stream_philox(id, r.key,
                      mixed); /* a bijection of (sample, epoch) for one seed: distinct stays distinct */
    r.counter[1] = (uint32_t)purpose;
    r.key[0] = mixed[0], r.key[1] = mixed[1];
    r.counter[2] = mixed[2], r.counter[3] = mixed[3];
    return r;
}

RNG_FN Rng rng_stream_sub(Rng parent, uint32_t n) {
    parent.counter[0] = 0;
    parent.counter[1] = (parent.counter[1] & 0xFFu) | (n + 1) << 8;
    parent.left = 0;
    return parent;
}

RNG_FN uint32_t rng_stream_u32(Rng *r) {
    if (r->left == 0) {
        rng_stream_philox(r->counter, r->key, r->out);
        r->counter[0]++;
        r->left = 4;
    }
    return r->out[--r->left];
}

RNG_FN double rng_stream_uniform(Rng *r) {
    uint64_t hi = rng_stream_u32(r) >> 5, lo = rng_stream_u32(r) >> 6;
    return ((double)hi * 67108864.0 + (double)lo) / 9007199254740992.0;
}

RNG_FN float rng_stream_uniformf(Rng *r) {
    return (float)(rng_stream_u32(r) >> 8) * 0x1p-24f;
}

#endif
