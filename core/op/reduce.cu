/* reduce on CUDA: x as (outer, middle, inner), the middle summed. */
#include "core/op/rows.cuh"
#include "core/ops.h"

enum { THREADS = 256 };

/* inner stays 1 when no axis is behind. */
static Fold folded_of(const OpCall *c) {
    Fold f = {1, 1, 1, 1, 1, 1};
    int first = (int)c->i[0], past = first + (int)c->i[1];
    for (int k = 0; k < c->in[0]->ndim; k++) {
        int64_t *part = k < first ? &f.outer : k < past ? &f.middle : &f.inner;
        *part *= c->in[0]->dim[k];
    }
    if (c->i[2] == REDUCE_MEAN) f.factor = (float)(1 / (double)f.middle);
    return f;
}

extern "C" void reduce_forward_cuda(OpCall *c) {
    const Tensor *x = c->in[0], *y = c->out[0];
    Fold f = folded_of(c);
    with_data(x, [&](auto *from) {
        fold(c, wide(f.inner, x, y), fold_data(from, f.middle * f.inner, f.inner), (decltype(from))y->data,
             f.outer, f.middle, f.inner, (double)f.factor, true);
    });
}

template <int W, class T>
__global__ static void backward(Width<W>, const T *dy, T *dx, int64_t n, Fold f, bool fresh) {
    FOR_GRID(run, n / W) {
        int64_t row = quotient(run * W, f.inner), o = quotient(row, f.middle), i = run * W - row * f.inner;
        float v[W];
        run_load(dy + o * f.inner + i, v);
#pragma unroll
        for (int k = 0; k < W; k++) v[k] *= f.factor;
        run_put(dx + run * W, v, fresh);
    }
}

extern "C" void reduce_backward_cuda(OpCall *c) {
    const Tensor *dy = c->out[0]->grad;
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    Fold f = folded_of(c);
    int64_t n = tensor_count(dx);
    bool eight = wide(f.inner, dy, dx);
    with_data(dy, [&](auto *from) {
        with_width(eight, [&](auto w) {
            LAUNCH(backward, cuda_blocks(eight ? n / 8 : n, THREADS), THREADS, w, from,
                   (decltype(from))dx->data, n, f, fresh);
        });
    });
}
