/* mask_overlap on CUDA: a block a row. */
#include "core/op/order.cuh"
#include "core/op/rows.cuh"
#include "core/ops.h"

enum { THREADS = 1024 };

template <class T>
__global__ static void forward(const T *x, const float *target, float *y, int64_t rows, int64_t n) {
    for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
        int both = 0, either = 0;
        for (int64_t i = r * n + threadIdx.x; i < (r + 1) * n; i += THREADS) {
            bool a = load(x + i) > 0, b = target[i] > 0.5f;
            both += a && b;
            either += a || b;
        }
        block_scan(both, &both);
        block_scan(either, &either);
        if (threadIdx.x == 0) y[r] = either ? (float)both / (float)either : 1;
    }
}

extern "C" void mask_overlap_forward_cuda(OpCall *c) {
    const Tensor *x = c->in[0];
    int64_t rows = x->dim[0], n = rows ? tensor_count(x) / rows : 0;
    with_data(x, [&](auto *from) {
        LAUNCH(forward, cuda_blocks(rows, 1), THREADS, from, tensor_real(c->in[1]), tensor_real(c->out[0]),
               rows, n);
    });
}
