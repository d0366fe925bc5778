/* pointwise on CUDA: a thread an element. The functions are the accurate ones of CUDA's library in f32. */
#include "core/cuda.h"
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

template <class T> __global__ static void forward(const T *x, T *y, int64_t n, PointKind kind) {
    FOR_GRID(i, n)
    store(y + i, value(load(x + i), kind));
}

template <class T>
__global__ static void backward(const T *x, const T *dy, T *dx, int64_t n, PointKind kind, bool fresh) {
    FOR_GRID(i, n) {
        float g = load(dy + i) * slope(load(x + i), kind);
        store(dx + i, fresh ? g : load(dx + i) + g);
    }
}

template <class T> static void run_forward(OpCall *c) {
    int64_t n = tensor_count(c->in[0]);
    LAUNCH(forward, cuda_blocks(n, THREADS), THREADS, (const T *)c->in[0]->data, (T *)c->out[0]->data, n,
           (PointKind)c->i[0]);
}

template <class T> static void run_backward(OpCall *c) {
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    int64_t n = tensor_count(dx);
    LAUNCH(backward, cuda_blocks(n, THREADS), THREADS, (const T *)c->in[0]->data,
           (const T *)c->out[0]->grad->data, (T *)dx->data, n, (PointKind)c->i[0], fresh);
}

extern "C" void pointwise_forward_cuda(OpCall *c) {
    c->in[0]->dtype == DT_BF16 ? run_forward<bf16>(c) : run_forward<float>(c);
}

extern "C" void pointwise_backward_cuda(OpCall *c) {
    c->in[0]->dtype == DT_BF16 ? run_backward<bf16>(c) : run_backward<float>(c);
}
