/* rng.cuh: core/rng.c for kernels: the same streams, word for word. */
#ifndef LETHE_RNG_CUH
#define LETHE_RNG_CUH

#include "core/cuda.h"
#include "core/step.h"

__device__ static inline void cuda_rng_philox(const uint32_t counter[4], const uint32_t key[2],
                                              uint32_t out[4]) {
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

__device__ static inline Rng cuda_rng_open(uint64_t seed, RngPurpose purpose, uint32_t epoch,
                                           uint64_t sample) {
    Rng r = {{(uint32_t)seed, (uint32_t)(seed >> 32)}, {0, 0, 0, 0}, {0, 0, 0, 0}, 0};
    uint32_t mixed[4], id[4] = {(uint32_t)sample, (uint32_t)(sample >> 32), epoch, 0x4C657468u};
    cuda_rng_philox(id, r.key, mixed);
    r.counter[1] = (uint32_t)purpose;
    r.key[0] = mixed[0], r.key[1] = mixed[1];
    r.counter[2] = mixed[2], r.counter[3] = mixed[3];
    return r;
}

__device__ static inline Rng cuda_rng_sub(Rng parent, uint32_t n) {
    parent.counter[0] = 0;
    parent.counter[1] = (parent.counter[1] & 0xFFu) | (n + 1) << 8;
    parent.left = 0;
    return parent;
}

/* Jumps to word 4 * block of a stream of which nothing was read. */
__device__ static inline void cuda_rng_seek(Rng *r, uint32_t block) {
    r->counter[0] = block;
}

__device__ static inline uint32_t cuda_rng_u32(Rng *r) {
    if (r->left == 0) {
        cuda_rng_philox(r->counter, r->key, r->out);
        r->counter[0]++;
        r->left = 4;
    }
    return r->out[--r->left];
}

__device__ static inline double cuda_rng_uniform(Rng *r) {
    uint64_t hi = cuda_rng_u32(r) >> 5, lo = cuda_rng_u32(r) >> 6;
    return ((double)hi * 67108864.0 + (double)lo) / 9007199254740992.0;
}

__device__ static inline float cuda_rng_uniformf(Rng *r) {
    return (float)(cuda_rng_u32(r) >> 8) * 0x1p-24f;
}

/* What keys the draws of a step: kernels get it by value and read in device memory what a captured graph must
 * read anew. */
typedef struct RngStep {
    uint64_t seed;
    int64_t index;
    const int64_t *index_at, *sample;
} RngStep;

static inline RngStep rng_step(const Step *s) {
    return {s->seed, s->index, s->index_at, s->sample};
}

/* The stream of sample b of the batch in layer n, for dropout and drop path. */
__device__ static inline Rng cuda_rng_drop(const RngStep &s, int64_t b, uint32_t n) {
    uint64_t sample = (uint64_t)(s.sample ? s.sample[b] : b);
    int64_t index = s.index_at ? *s.index_at : s.index;
    return cuda_rng_sub(cuda_rng_open(s.seed, RNG_DROP, (uint32_t)index, sample), n);
}

#endif
