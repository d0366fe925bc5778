/* top_index on CUDA: a block a row finds the k-th value bit by bit, counting, and then writes in order. */
#include "core/op/order.cuh"
#include "core/ops.h"

enum { THREADS = 1024 };

/* Whole numbers in the order of m (top_index.c). */
__device__ static uint32_t key_of(TopKind kind, float x) {
    float m = x != x ? INFINITY : kind == TOP_LEAST ? x : kind == TOP_GREATEST ? -x : fabsf(x);
    uint32_t u = __float_as_uint(m);
    if (u == 0x80000000u) u = 0; /* -0 equals 0 */
    return u >> 31 ? ~u : u | 0x80000000u;
}

/* The k-th least key of a row; *ties gets how many of the keys equal to it are among the first k. */
__device__ static uint32_t threshold_of(TopKind kind, const float *x, int64_t n, int k, int *ties) {
    uint32_t found = 0;
    for (int bit = 31; bit >= 0; bit--) {
        int count = 0; /* of keys that share the bits found, and have a 0 here */
        for (int64_t i = threadIdx.x; i < n; i += THREADS) count += key_of(kind, x[i]) >> bit == found >> bit;
        block_scan(count, &count);
        if (k <= count) continue;
        k -= count;
        found |= 1u << bit;
    }
    *ties = k;
    return found;
}

__global__ static void forward(const float *from, TopKind kind, int32_t *to, int64_t rows, int64_t n, int k) {
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
        const float *x = from + r * n;
        int ties, taken = 0, tied = 0, total;
        uint32_t last = threshold_of(kind, x, n, k, &ties);
        for (int64_t first = 0; first < n; first += THREADS) {
            int64_t i = first + threadIdx.x;
            uint32_t key = i < n ? key_of(kind, x[i]) : 0;
            bool less = i < n && key < last, tie = i < n && key == last;
            int equal_before = tied + block_scan(tie, &total);
            tied += total;
            bool mine = less || (tie && equal_before < ties);
            int at = taken + block_scan(mine, &total);
            taken += total;
            if (mine) to[r * k + at] = (int32_t)i;
        }
    }
}

extern "C" void top_index_forward_cuda(OpCall *c) {
    int64_t rows = c->in[0]->dim[0], n = c->in[0]->dim[1];
    LAUNCH(forward, cuda_blocks(rows, 1), THREADS, tensor_real(c->in[0]), (TopKind)c->i[0],
           tensor_i32(c->out[0]), rows, n, (int)c->i[1]);
}
