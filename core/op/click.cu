/* click on CUDA: a block a picture. Each warp counts a stretch of the pixels; the warp whose stretch holds
 * the one that was drawn walks through it again. */
#include "core/op/order.cuh"
#include "core/op/rows.cuh"
#include "core/ops.h"

enum { THREADS = 1024, WARPS = THREADS / 32 };

template <class T> struct Picture {
    const T *x;
    const float *target;
    int64_t n;
    __device__ bool inside(int64_t i) const { return target[i] > 0.5f; }
    __device__ bool differs(int64_t i) const { return (load(x + i) > 0) != inside(i); }
    __device__ bool counts(int64_t i, bool wrong) const { return wrong ? differs(i) : inside(i); }
};

/* The pixel that is number `left` of those that count in first .. past - 1, found by a whole warp. */
template <class T>
__device__ static int64_t walk(const Picture<T> &p, int64_t first, int64_t past, bool wrong, int left) {
    int lane = threadIdx.x % 32;
    for (int64_t i = first; i < past; i += 32) {
        unsigned votes = __ballot_sync(0xFFFFFFFFu, i + lane < past && p.counts(i + lane, wrong));
        int count = __popc(votes);
        if (left < count) {
            for (; left > 0; left--) votes &= votes - 1;
            return i + __ffs((int)votes) - 1;
        }
        left -= count;
    }
    return -1;
}

template <class T> __device__ static int64_t pick(const Picture<T> &p, float uniform) {
    int64_t each = (p.n + WARPS - 1) / WARPS, first = threadIdx.x / 32 * each;
    int64_t past = first + each < p.n ? first + each : p.n;
    int wrong = 0, target = 0, all_wrong, all_target;
    for (int64_t i = first + threadIdx.x % 32; i < past; i += 32) {
        wrong += p.differs(i);
        target += p.inside(i);
    }
    int wrong_before = block_scan(wrong, &all_wrong), target_before = block_scan(target, &all_target);
    bool any = all_wrong > 0;
    int count = any ? all_wrong : all_target, mine = any ? wrong : target;
    int before = __shfl_sync(0xFFFFFFFFu, any ? wrong_before : target_before, 0);
    int number = (int)((double)uniform * (double)count);
    if (number > count - 1) number = count - 1;
    for (int d = 16; d; d /= 2) mine += __shfl_xor_sync(0xFFFFFFFFu, mine, d);
    if (number < before || number >= before + mine) return -1;
    return walk(p, first, past, any, number - before);
}

template <class T>
__global__ static void forward(const T *x, const float *target, const float *uniform, float *point,
                               int32_t *label, int64_t rows, int64_t high, int64_t wide) {
    __shared__ int64_t found[WARPS];
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
        Picture<T> p = {x + r * high * wide, target + r * high * wide, high * wide};
        int64_t at = pick(p, uniform[r]);
        __syncthreads(); /* found may still be read from the picture before */
        if (threadIdx.x % 32 == 0) found[threadIdx.x / 32] = at;
        __syncthreads();
        if (threadIdx.x > 0) continue;
        at = -1;
        for (int w = 0; w < WARPS; w++) at = found[w] > at ? found[w] : at;
        point[3 * r] = at < 0 ? 0.5f : ((float)(at % wide) + 0.5f) / (float)wide;
        point[3 * r + 1] = at < 0 ? 0.5f : ((float)(at / wide) + 0.5f) / (float)high;
        point[3 * r + 2] = 1;
        label[r] = at >= 0 && p.inside(at);
    }
}

extern "C" void click_forward_cuda(OpCall *c) {
    const Tensor *x = c->in[0];
    with_data(x, [&](auto *from) {
        LAUNCH(forward, cuda_blocks(x->dim[0], 1), THREADS, from, tensor_real(c->in[1]),
               tensor_real(c->in[2]), tensor_real(c->out[0]), tensor_i32(c->out[1]), x->dim[0], x->dim[1],
               x->dim[2]);
    });
}
