/* scale on CUDA: a thread a run of elements. */
#include "core/op/rows.cuh"
#include "core/ops.h"

enum { THREADS = 256 };

template <int W, class T>
__global__ static void apply(Width<W>, const T *x, T *y, int64_t n, float factor, float shift, bool fresh) {
    FOR_GRID(i, n / W) {
        float v[W];
        run_load(x + i * W, v);
#pragma unroll
        for (int k = 0; k < W; k++) v[k] = factor * v[k] + shift;
        run_put(y + i * W, v, fresh);
    }
}

static void run(const OpCall *c, const Tensor *x, const Tensor *y, float shift, bool fresh) {
    int64_t n = tensor_count(x);
    bool eight = wide(n, x, y);
    with_data(x, [&](auto *from) {
        with_width(eight, [&](auto w) {
            LAUNCH(apply, cuda_blocks(eight ? n / 8 : n, THREADS), THREADS, w, from, (decltype(from))y->data,
                   n, (float)c->f[0], shift, fresh);
        });
    });
}

extern "C" void scale_forward_cuda(OpCall *c) {
    run(c, c->in[0], c->out[0], (float)c->f[1], true);
}

extern "C" void scale_backward_cuda(OpCall *c) {
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (dx) run(c, c->out[0]->grad, dx, 0, fresh);
}
