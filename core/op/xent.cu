/* xent on CUDA: a block a row; the loss is summed over rows by one block. A label out of range has no target:
 * nothing outside of the row is read. */
#include "core/op/rows.cuh"
#include "core/ops.h"

enum { THREADS = 128, SUMMING = 1024 };

typedef struct Targets {
    const int32_t *label;
    const float *soft;
    int64_t classes;
    float smoothing;
} Targets;

static Targets targets_of(const OpCall *c) {
    return {c->in[1] ? tensor_i32(c->in[1]) : nullptr, c->in[2] ? tensor_real(c->in[2]) : nullptr,
            c->in[0]->dim[1], (float)c->f[0]};
}

__device__ static float target(const Targets &t, int64_t b, int64_t k) {
    if (t.soft) return t.soft[b * t.classes + k];
    return t.smoothing / (float)t.classes + (t.label[b] == k ? 1 - t.smoothing : 0);
}

/* The largest of the block's values, for all threads. */
__device__ static float block_max(float v) {
    __shared__ float part[32];
    for (int d = 16; d; d >>= 1) v = fmaxf(v, __shfl_xor_sync(0xFFFFFFFFu, v, d));
    __syncthreads(); /* part may still be read from the call before */
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
    __syncthreads();
    v = part[0];
    for (unsigned w = 1; w < blockDim.x / 32; w++) v = fmaxf(v, part[w]);
    return v;
}

/* The row's largest logit, and the log of the sum of exponents above it: their sum is the norm, but small
 * differences are kept when they are taken one after the other. */
template <class T> __device__ static float log_sum(const T *z, int64_t classes, float *top) {
    float most = -INFINITY, sum = 0;
    for (int64_t k = threadIdx.x; k < classes; k += blockDim.x) most = fmaxf(most, load(z + k));
    *top = most = block_max(most);
    for (int64_t k = threadIdx.x; k < classes; k += blockDim.x) sum += expf(load(z + k) - most);
    return logf(block_sum(sum));
}

template <class T> __global__ static void forward(const T *z, Targets t, float *each, int64_t batch) {
    for (int64_t b = blockIdx.x; b < batch; b += gridDim.x) {
        const T *row = z + b * t.classes;
        float top, norm = log_sum(row, t.classes, &top), sum = 0;
        for (int64_t k = threadIdx.x; k < t.classes; k += blockDim.x)
            sum -= target(t, b, k) * (load(row + k) - top - norm);
        sum = block_sum(sum);
        if (threadIdx.x == 0) each[b] = sum;
    }
}

__global__ static void total(const float *each, int64_t batch, float *loss) {
    float sum = 0;
    for (int64_t b = threadIdx.x; b < batch; b += blockDim.x) sum += each[b];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *loss = sum / (float)batch;
}

static int row_blocks(int64_t batch) {
    return cuda_blocks(batch * THREADS, THREADS);
}

extern "C" void xent_forward_cuda(OpCall *c) {
    int64_t batch = c->in[0]->dim[0];
    float *each = tensor_real(c->out[1]);
    with_data(c->in[0],
              [&](auto *z) { LAUNCH(forward, row_blocks(batch), THREADS, z, targets_of(c), each, batch); });
    LAUNCH(total, 1, SUMMING, each, batch, tensor_real(c->out[0]));
}

template <class T>
__global__ static void backward(const T *z, Targets t, const float *dloss, T *dz, int64_t batch, bool fresh) {
    float scale = *dloss / (float)batch;
    for (int64_t b = blockIdx.x; b < batch; b += gridDim.x) {
        const T *row = z + b * t.classes;
        float top, norm = log_sum(row, t.classes, &top), mass = 0;
        for (int64_t k = threadIdx.x; k < t.classes; k += blockDim.x) mass += target(t, b, k);
        mass = block_sum(mass);
        for (int64_t k = threadIdx.x; k < t.classes; k += blockDim.x) {
            float v[1] = {scale * (expf(load(row + k) - top - norm) * mass - target(t, b, k))};
            run_put(dz + b * t.classes + k, v, fresh);
        }
    }
}

extern "C" void xent_backward_cuda(OpCall *c) {
    int64_t batch = c->in[0]->dim[0];
    bool fresh;
    Tensor *dz = op_grad(c, 0, &fresh);
    if (!dz) return;
    with_data(c->in[0], [&](auto *z) {
        LAUNCH(backward, row_blocks(batch), THREADS, z, targets_of(c), tensor_real(c->out[0]->grad),
               (decltype(z))dz->data, batch, fresh);
    });
}
