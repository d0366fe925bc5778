/* mse on CUDA: a warp a row; the loss is summed over rows by one block. */
#include "core/op/rows.cuh"
#include "core/ops.h"

enum { THREADS = 256, SUMMING = 1024 };

template <int W, class T>
__global__ static void forward(Width<W>, const T *x, const float *t, float *each, int64_t rows, int64_t d) {
    FOR_WARPS(r, rows) {
        float sum = 0;
        for (int64_t j = threadIdx.x % 32 * W; j < d; j += 32 * W) {
            float v[W], u[W];
            run_load(x + r * d + j, v);
            run_load(t + r * d + j, u);
#pragma unroll
            for (int k = 0; k < W; k++) sum += (v[k] - u[k]) * (v[k] - u[k]);
        }
        sum = warp_sum(sum);
        if (threadIdx.x % 32 == 0) each[r] = sum / (float)d;
    }
}

__global__ static void total(const float *each, const float *weight, int64_t rows, float *loss,
                             float *weights) {
    float sum = 0, all = 0;
    for (int64_t r = threadIdx.x; r < rows; r += blockDim.x) {
        float w = weight ? weight[r] : 1;
        sum += w * each[r];
        all += w;
    }
    sum = block_sum(sum);
    all = block_sum(all);
    if (threadIdx.x > 0) return;
    *weights = all;
    *loss = all > 0 ? sum / all : 0;
}

extern "C" void mse_forward_cuda(OpCall *c) {
    const Tensor *x = c->in[0], *t = c->in[1];
    int64_t rows = tensor_rows(x), d = tensor_last(x);
    float *each = tensor_real(c->out[1]);
    with_data(x, [&](auto *from) {
        with_width(wide(d, x, t), [&](auto w) {
            LAUNCH(forward, cuda_warps(rows, THREADS), THREADS, w, from, tensor_real(t), each, rows, d);
        });
    });
    LAUNCH(total, 1, SUMMING, each, c->in[2] ? tensor_real(c->in[2]) : nullptr, rows, tensor_real(c->out[0]),
           tensor_real(c->save[0]));
}

template <int W, class T>
__global__ static void backward(Width<W>, const T *x, const float *t, const float *weight,
                                const float *weights, const float *dloss, T *dx, int64_t rows, int64_t d,
                                bool fresh) {
    float scale = *weights > 0 ? 2 * *dloss / ((float)d * *weights) : 0;
    FOR_WARPS(r, rows) {
        float factor = weight ? scale * weight[r] : scale;
        for (int64_t j = threadIdx.x % 32 * W; j < d; j += 32 * W) {
            float v[W], u[W];
            run_load(x + r * d + j, v);
            run_load(t + r * d + j, u);
#pragma unroll
            for (int k = 0; k < W; k++) v[k] = factor * (v[k] - u[k]);
            run_put(dx + r * d + j, v, fresh);
        }
    }
}

extern "C" void mse_backward_cuda(OpCall *c) {
    const Tensor *x = c->in[0], *t = c->in[1];
    int64_t rows = tensor_rows(x), d = tensor_last(x);
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    const float *weight = c->in[2] ? tensor_real(c->in[2]) : nullptr;
    with_data(x, [&](auto *from) {
        with_width(wide(d, x, t, dx), [&](auto w) {
            LAUNCH(backward, cuda_warps(rows, THREADS), THREADS, w, from, tensor_real(t), weight,
                   tensor_real(c->save[0]), tensor_real(c->out[0]->grad), (decltype(from))dx->data, rows, d,
                   fresh);
        });
    });
}
