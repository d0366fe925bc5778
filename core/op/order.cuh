/* order: what CUDA kernels share that count and sort inside a block: places before mine, and a stable sort of
 * every row. Integers throughout, so any order of adding gives the same. */
#ifndef LETHE_OP_ORDER_CUH
#define LETHE_OP_ORDER_CUH

#include "core/cuda.h"
#include "core/op.h"

/* The sum of v over the threads of the block before this one; *total, given to all, is that over all threads.
 * All threads of the block must call: whole warps, at most 1024 threads. */
__device__ static inline int block_scan(int v, int *total) {
    __shared__ int part[32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32, sum = v;
    for (int d = 1; d < 32; d *= 2) {
        int from = __shfl_up_sync(0xFFFFFFFFu, sum, (unsigned)d);
        if (lane >= d) sum += from;
    }
    __syncthreads(); /* part may still be read from the call before */
    if (lane == 31) part[warp] = sum;
    __syncthreads();
    int before = 0, all = 0;
    for (int w = 0; w < warps; w++) {
        if (w == warp) before = all;
        all += part[w];
    }
    *total = all;
    return before + sum - v;
}

/* ---- rows of (key, place) sorted by key, by place where keys are equal ---- */

enum { SORT_THREADS = 512, SORT_DIGIT = 4, SORT_DIGITS = 1 << SORT_DIGIT };

__host__ __device__ static inline uint32_t sorted_key(uint64_t v) {
    return (uint32_t)(v >> 32);
}
__host__ __device__ static inline int64_t sorted_place(uint64_t v) {
    return (int64_t)(uint32_t)v;
}

/* The first of the n sorted values whose key is not below `key`. */
__device__ static inline int64_t sorted_find(const uint64_t *v, int64_t n, uint32_t key) {
    int64_t low = 0, high = n;
    while (low < high) {
        int64_t mid = (low + high) / 2;
        if (sorted_key(v[mid]) < key)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* One pass: to = from, stably by the digit at bit `shift` of the key. A thread has a stretch of the row. */
__device__ static inline void sort_pass(const uint64_t *from, uint64_t *to, int64_t n, int shift) {
    __shared__ int count[SORT_DIGITS * SORT_THREADS];
    int64_t each = (n + SORT_THREADS - 1) / SORT_THREADS, first = threadIdx.x * each;
    int64_t past = first + each < n ? first + each : n;
    int *mine = count + threadIdx.x, *run = count + threadIdx.x * SORT_DIGITS, sum = 0, total;
    for (int d = 0; d < SORT_DIGITS; d++) mine[d * SORT_THREADS] = 0;
    for (int64_t i = first; i < past; i++)
        mine[(sorted_key(from[i]) >> shift) % SORT_DIGITS * SORT_THREADS]++;
    __syncthreads();
    for (int d = 0; d < SORT_DIGITS; d++) sum += run[d];
    int before = block_scan(sum, &total);
    for (int d = 0; d < SORT_DIGITS; d++) {
        int v = run[d];
        run[d] = before;
        before += v;
    }
    __syncthreads();
    for (int64_t i = first; i < past; i++)
        to[mine[(sorted_key(from[i]) >> shift) % SORT_DIGITS * SORT_THREADS]++] = from[i];
    __syncthreads();
}

/* v (rows, n) = key_of(row, place) and place, sorted; room is like v. `passes`: digits of a key, even. */
template <class F>
__global__ static void sort_rows(F key_of, uint64_t *v, uint64_t *room, int64_t rows, int64_t n, int passes) {
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
        uint64_t *row = v + r * n, *other = room + r * n;
        for (int64_t i = threadIdx.x; i < n; i += SORT_THREADS)
            row[i] = (uint64_t)key_of(r, i) << 32 | (uint64_t)i;
        __syncthreads();
        for (int p = 0; p < passes; p += 2) {
            sort_pass(row, other, n, p * SORT_DIGIT);
            sort_pass(other, row, n, (p + 1) * SORT_DIGIT);
        }
    }
}

/* v (rows, n) sorted by keys below `keys`; a block a row, whose length is below 2^31. */
template <class F> static void sort(OpCall *c, F key_of, uint64_t *v, int64_t rows, int64_t n, int64_t keys) {
    int passes = 2;
    while (passes < 32 / SORT_DIGIT && keys > (int64_t)1 << (passes * SORT_DIGIT)) passes += 2;
    uint64_t *room = (uint64_t *)op_scratch(c, (size_t)(rows * n) * sizeof *room);
    LAUNCH(sort_rows, cuda_blocks(rows, 1), SORT_THREADS, key_of, v, room, rows, n, passes);
    op_scratch_free(c, room);
}

#endif
