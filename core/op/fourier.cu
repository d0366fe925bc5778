/* fourier on CUDA: a thread a sine and its cosine. */
#include "core/cuda.h"
#include "core/ops.h"

enum { THREADS = 256 };

__global__ static void forward(const float *xyw, const float *g, float *y, int64_t points, int64_t f) {
    FOR_GRID(i, points * f) {
        int64_t p = i / f, j = i - p * f;
        const float *at = xyw + 3 * p;
        double turns = (2 * (double)at[0] - 1) * (double)g[j] + (2 * (double)at[1] - 1) * (double)g[f + j];
        float t = (float)(6.283185307179586 * (turns - rint(turns)));
        y[p * 2 * f + j] = at[2] * sinf(t);
        y[p * 2 * f + f + j] = at[2] * cosf(t);
    }
}

extern "C" void fourier_forward_cuda(OpCall *c) {
    int64_t points = tensor_rows(c->in[0]), f = c->in[1]->dim[1];
    LAUNCH(forward, cuda_blocks(points * f, THREADS), THREADS, tensor_real(c->in[0]), tensor_real(c->in[1]),
           tensor_real(c->out[0]), points, f);
}
