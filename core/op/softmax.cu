/* softmax on CUDA: a block a row, as many threads as the row can use. */
#include "core/cuda.h"
#include "core/ops.h"

/* The largest v of the block's threads, given to all of them; a NaN is passed over, as fmax does. */
__device__ static float block_max(float v) {
    __shared__ float part[32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    for (int d = 16; d; d >>= 1) v = fmaxf(v, __shfl_xor_sync(0xFFFFFFFFu, v, d));
    __syncthreads(); /* part may still be read from the row before */
    if (lane == 0) part[warp] = v;
    __syncthreads();
    v = part[0];
    for (int w = 1; w < warps; w++) v = fmaxf(v, part[w]);
    return v;
}

template <class T> __global__ static void forward(const T *x, T *y, int64_t rows, int64_t d) {
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
        const T *from = x + r * d;
        T *to = y + r * d;
        float top = -INFINITY, sum = 0;
        for (int64_t j = threadIdx.x; j < d; j += blockDim.x) top = fmaxf(top, load(from + j));
        top = block_max(top);
        for (int64_t j = threadIdx.x; j < d; j += blockDim.x) sum += expf(load(from + j) - top);
        float inverse = 1 / block_sum(sum);
        for (int64_t j = threadIdx.x; j < d; j += blockDim.x)
            store(to + j, expf(load(from + j) - top) * inverse);
    }
}

template <class T>
__global__ static void backward(const T *y, const T *dy, T *dx, int64_t rows, int64_t d, bool fresh) {
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
        float dot = 0;
        for (int64_t i = r * d + threadIdx.x; i < (r + 1) * d; i += blockDim.x)
            dot += load(dy + i) * load(y + i);
        dot = block_sum(dot);
        for (int64_t i = r * d + threadIdx.x; i < (r + 1) * d; i += blockDim.x) {
            float g = load(y + i) * (load(dy + i) - dot);
            store(dx + i, fresh ? g : load(dx + i) + g);
        }
    }
}

/* Whole warps, at most four elements a thread until there are 256 of them. */
static int threads_for(int64_t d) {
    int threads = 32;
    while (threads < 256 && threads * 4 < d) threads *= 2;
    return threads;
}

template <class T> static void run_forward(OpCall *c) {
    int64_t d = tensor_last(c->in[0]), rows = tensor_rows(c->in[0]);
    LAUNCH(forward, cuda_blocks(rows, 1), threads_for(d), (const T *)c->in[0]->data, (T *)c->out[0]->data,
           rows, d);
}

template <class T> static void run_backward(OpCall *c) {
    const Tensor *y = c->out[0];
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    int64_t d = tensor_last(y), rows = tensor_rows(y);
    LAUNCH(backward, cuda_blocks(rows, 1), threads_for(d), (const T *)y->data, (const T *)y->grad->data,
           (T *)dx->data, rows, d, fresh);
}

extern "C" void softmax_forward_cuda(OpCall *c) {
    c->in[0]->dtype == DT_BF16 ? run_forward<bf16>(c) : run_forward<float>(c);
}

extern "C" void softmax_backward_cuda(OpCall *c) {
    c->in[0]->dtype == DT_BF16 ? run_backward<bf16>(c) : run_backward<float>(c);
}
