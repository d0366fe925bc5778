/* drop_path on CUDA: blocks share out the runs of a sample; its one draw is made by one thread of each. */
#include "core/op/rows.cuh"
#include "core/ops.h"
#include "core/rng.cuh"

enum { THREADS = 256 };

template <int W, class T>
__global__ static void apply(Width<W>, const T *x, T *y, int64_t batch, int64_t n, double rate, int64_t layer,
                             RngStep step, bool fresh) {
    __shared__ float drawn;
    for (int64_t b = blockIdx.y; b < batch; b += gridDim.y) {
        __syncthreads(); /* drawn may still be read */
        if (threadIdx.x == 0) {
            Rng r = cuda_rng_drop(step, b, (uint32_t)layer);
            drawn = (float)(floor(1 - rate + rng_stream_uniform(&r)) / (1 - rate));
        }
        __syncthreads();
        float factor = drawn;
        FOR_GRID(i, n / W) {
            float v[W];
            run_load(x + b * n + i * W, v);
#pragma unroll
            for (int k = 0; k < W; k++) v[k] *= factor;
            run_put(y + b * n + i * W, v, fresh);
        }
    }
}

static void run(const OpCall *c, const Tensor *x, const Tensor *y, bool fresh) {
    RngStep step = rng_step(c->step);
    int64_t batch = x->dim[0], n = tensor_count(x) / batch;
    bool eight = wide(n, x, y);
    with_data(x, [&](auto *from) {
        with_width(eight, [&](auto w) {
            LAUNCH(apply, cuda_grid(eight ? n / 8 : n, batch, THREADS), THREADS, w, from,
                   (decltype(from))y->data, batch, n, c->f[0], c->i[0], step, fresh);
        });
    });
}

extern "C" void drop_path_forward_cuda(OpCall *c) {
    run(c, c->in[0], c->out[0], true);
}

extern "C" void drop_path_backward_cuda(OpCall *c) {
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (dx) run(c, c->out[0]->grad, dx, fresh);
}
