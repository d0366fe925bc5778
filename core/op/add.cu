/* add on CUDA: a thread holds a run of b and takes it through the repeats; db is a sum over them. */
#include "core/op/rows.cuh"
#include "core/ops.h"

enum { THREADS = 128 };

template <int W, class A, class B, class Y>
__global__ static void forward(Width<W>, const A *a, const B *b, Y *y, int64_t repeats, int64_t m) {
    FOR_GRID(i, m / W) {
        float own[W], v[W];
        run_load(b + i * W, own);
        for (int64_t r = blockIdx.y; r < repeats; r += gridDim.y) {
            run_load(a + r * m + i * W, v);
#pragma unroll
            for (int k = 0; k < W; k++) v[k] += own[k];
            run_store(y + r * m + i * W, v);
        }
    }
}

extern "C" void add_forward_cuda(OpCall *c) {
    const Tensor *a = c->in[0], *b = c->in[1], *y = c->out[0];
    int64_t m = tensor_count(b), repeats = tensor_count(a) / m;
    bool eight = wide(m, a, b, y);
    dim3 blocks = cuda_grid(eight ? m / 8 : m, repeats, THREADS);
    with_data(a, [&](auto *pa) {
        with_data(b, [&](auto *pb) {
            with_data(y, [&](auto *py) {
                with_width(eight,
                           [&](auto w) { LAUNCH(forward, blocks, THREADS, w, pa, pb, py, repeats, m); });
            });
        });
    });
}

/* b first, as on the processor: a may take over the gradient's memory. */
extern "C" void add_backward_cuda(OpCall *c) {
    Tensor *dy = c->out[0]->grad;
    int64_t m = tensor_count(c->in[1]), repeats = tensor_count(dy) / m;
    bool fresh;
    Tensor *db = op_grad(c, 1, &fresh);
    if (db && repeats == 1) {
        tensor_accumulate_cuda(db, dy, fresh);
    } else if (db) {
        with_data(dy, [&](auto *from) {
            with_data(db, [&](auto *to) {
                fold(c, wide(m, dy, db), fold_data(from, 0, m), to, 1, repeats, m, 1, fresh);
            });
        });
    }
    op_grad_pass(c, 0, dy);
}
