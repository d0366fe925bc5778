/* pointwise on CUDA: a thread a run of elements. The functions are the accurate ones of CUDA's library, in
 * f32. */
#include "core/op/rows.cuh"
#include "core/ops.h"

enum { THREADS = 256 };

__device__ static float sigmoid(float x) {
    return 1 / (1 + expf(-x));
}

/* The normal distribution's Phi(x). */
__device__ static float normal(float x) {
    return 0.5f * (1 + erff(x * 0.70710678118654752440f));
}

__device__ static float value(float x, PointKind kind) {
    switch (kind) {
    case POINT_SIGMOID:
        return sigmoid(x);
    case POINT_TANH:
        return tanhf(x);
    case POINT_EXP:
        return expf(x);
    case POINT_LOG:
        return logf(x);
    case POINT_GELU:
        return x * normal(x);
    case POINT_RELU:
        return x > 0 ? x : 0;
    }
    return x;
}

__device__ static float slope(float x, PointKind kind) {
    switch (kind) {
    case POINT_SIGMOID:
        return sigmoid(x) * sigmoid(-x);
    case POINT_TANH: {
        float t = tanhf(x);
        return 1 - t * t;
    }
    case POINT_EXP:
        return expf(x);
    case POINT_LOG:
        return 1 / x;
    case POINT_GELU:
        return normal(x) + x * 0.39894228040143267794f * expf(-0.5f * x * x);
    case POINT_RELU:
        return x > 0;
    }
    return 1;
}

template <int W, class T>
__global__ static void forward(Width<W>, const T *x, T *y, int64_t runs, PointKind kind) {
    FOR_GRID(i, runs) {
        float v[W];
        run_load(x + i * W, v);
#pragma unroll
        for (int k = 0; k < W; k++) v[k] = value(v[k], kind);
        run_store(y + i * W, v);
    }
}

template <int W, class T>
__global__ static void backward(Width<W>, const T *x, const T *dy, T *dx, int64_t runs, PointKind kind,
                                bool fresh) {
    FOR_GRID(i, runs) {
        float v[W], g[W];
        run_load(x + i * W, v);
        run_load(dy + i * W, g);
#pragma unroll
        for (int k = 0; k < W; k++) g[k] *= slope(v[k], kind);
        run_put(dx + i * W, g, fresh);
    }
}

extern "C" void pointwise_forward_cuda(OpCall *c) {
    const Tensor *x = c->in[0], *y = c->out[0];
    int64_t n = tensor_count(x);
    bool eight = wide(n, x, y);
    with_data(x, [&](auto *from) {
        with_width(eight, [&](auto w) {
            int64_t runs = eight ? n / 8 : n;
            LAUNCH(forward, cuda_blocks(runs, THREADS), THREADS, w, from, (decltype(from))y->data, runs,
                   (PointKind)c->i[0]);
        });
    });
}

extern "C" void pointwise_backward_cuda(OpCall *c) {
    const Tensor *x = c->in[0], *dy = c->out[0]->grad;
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    int64_t n = tensor_count(x);
    bool eight = wide(n, x, dy, dx);
    with_data(x, [&](auto *at) {
        with_width(eight, [&](auto w) {
            int64_t runs = eight ? n / 8 : n;
            LAUNCH(backward, cuda_blocks(runs, THREADS), THREADS, w, at, (decltype(at))dy->data,
                   (decltype(at))dx->data, runs, (PointKind)c->i[0], fresh);
        });
    });
}
