/* Twins of core/rng.c for kernels: the same four keys give the same stream on the GPU, word for word. */
#ifndef LETHE_RNG_CUH
#define LETHE_RNG_CUH

#include "core/cuda.h"
#include "core/rng.h"

__device__ static inline void rng_philox_cuda(const uint32_t counter[4], const uint32_t key[2],
                                              uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint32_t n0 = __umulhi(0xCD9E8D57u, c2) ^ c1 ^ k0, n2 = __umulhi(0xD2511F53u, c0) ^ c3 ^ k1;
        c1 = 0xCD9E8D57u * c2;
        c3 = 0xD2511F53u * c0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

__device__ static inline Rng rng_open_cuda(uint64_t seed, RngPurpose purpose, uint32_t epoch,
                                           uint64_t sample) {
    Rng r;
    r.key[0] = (uint32_t)seed, r.key[1] = (uint32_t)(seed >> 32);
    uint32_t mixed[4], id[4] = {(uint32_t)sample, (uint32_t)(sample >> 32), epoch, 0x4C657468u};
    rng_philox_cuda(id, r.key, mixed);
    r.counter[0] = 0, r.counter[1] = (uint32_t)purpose;
    r.key[0] = mixed[0], r.key[1] = mixed[1];
    r.counter[2] = mixed[2], r.counter[3] = mixed[3];
    r.left = 0;
    return r;
}

__device__ static inline Rng rng_sub_cuda(Rng parent, uint32_t n) {
    parent.counter[0] = 0;
    parent.counter[1] = (parent.counter[1] & 0xFFu) | (n + 1) << 8;
    parent.left = 0;
    return parent;
}

__device__ static inline uint32_t rng_u32_cuda(Rng *r) {
    if (r->left == 0) {
        rng_philox_cuda(r->counter, r->key, r->out);
        r->counter[0]++;
        r->left = 4;
    }
    return r->out[--r->left];
}

__device__ static inline double rng_uniform_cuda(Rng *r) {
    uint64_t hi = rng_u32_cuda(r) >> 5, lo = rng_u32_cuda(r) >> 6;
    return ((double)hi * 67108864.0 + (double)lo) / 9007199254740992.0;
}

__device__ static inline float rng_uniformf_cuda(Rng *r) {
    return (float)(rng_u32_cuda(r) >> 8) * 0x1p-24f;
}

/* What keys the draws of dropout and drop path: the seed, the step's number and the ids of its samples. The
 * last two lie in device memory, where a captured graph finds those of the step that it is run for. */
typedef struct RngStep {
    uint64_t seed;
    int64_t index;
    const int64_t *index_at, *sample;
} RngStep;

__device__ static inline Rng rng_drop_cuda(RngStep s, int64_t b, int64_t layer) {
    int64_t index = s.index_at ? *s.index_at : s.index;
    uint64_t sample = (uint64_t)(s.sample ? s.sample[b] : b);
    return rng_sub_cuda(rng_open_cuda(s.seed, RNG_DROP, (uint32_t)index, sample), (uint32_t)layer);
}

#endif
