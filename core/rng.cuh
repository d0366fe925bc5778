/* rng.cuh: the streams of core/rng.h in kernels. */
#ifndef LETHE_RNG_CUH
#define LETHE_RNG_CUH

#include "core/cuda.h"
#include "core/step.h"

#define RNG_FN __device__ static inline
#include "core/rng_stream.h"

/* Jumps to word 4 * block of a stream of which nothing was read. */
__device__ static inline void cuda_rng_seek(Rng *r, uint32_t block) {
    r->counter[0] = block;
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
    return rng_stream_sub(rng_stream_open(s.seed, RNG_DROP, (uint32_t)index, sample), n);
}

#endif
