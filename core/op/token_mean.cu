/* token_mean on CUDA: a sum over the middle axis, and its way back a warp a token. */
#include "core/op/rows.cuh"
#include "core/ops.h"

enum { THREADS = 256 };

extern "C" void token_mean_forward_cuda(OpCall *c) {
    const Tensor *x = c->in[0], *y = c->out[0];
    int64_t n = x->dim[1], d = x->dim[2], start = c->i[0];
    with_data(x, [&](auto *from) {
        fold(c, wide(d, x, y), fold_data(from + start * d, n * d, d), (decltype(from))y->data, x->dim[0],
             n - start, d, 1 / (double)(n - start), true);
    });
}

template <int W, class T>
__global__ static void backward(Width<W>, const T *dy, T *dx, int64_t rows, int64_t n, int64_t d,
                                int64_t start, bool fresh) {
    float factor = 1 / (float)(n - start);
    FOR_WARPS(r, rows) {
        int64_t b = quotient(r, n);
        bool in = r - b * n >= start;
        if (!in && !fresh) continue;
        for (int64_t j = threadIdx.x % 32 * W; j < d; j += 32 * W) {
            float v[W] = {};
            if (in) run_load(dy + b * d + j, v);
#pragma unroll
            for (int k = 0; k < W; k++) v[k] *= factor;
            run_put(dx + r * d + j, v, fresh);
        }
    }
}

extern "C" void token_mean_backward_cuda(OpCall *c) {
    const Tensor *dy = c->out[0]->grad;
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    int64_t n = dx->dim[1], d = dx->dim[2], rows = dx->dim[0] * n;
    with_data(dy, [&](auto *from) {
        with_width(wide(d, dy, dx), [&](auto w) {
            LAUNCH(backward, cuda_warps(rows, THREADS), THREADS, w, from, (decltype(from))dx->data, rows, n,
                   d, c->i[0], fresh);
        });
    });
}
