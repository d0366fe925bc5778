/* layernorm2d on CUDA: a thread a place goes through the channels, so that neighbouring threads read
 * neighbouring places. For dg and db a block sums each plane (one channel of one sample) and a thread a
 * channel adds up the samples, in order. */
#include "core/op/rows.cuh"
#include "core/ops.h"

enum { THREADS = 128 };

typedef struct Sizes {
    int64_t samples, channels, each; /* each: places */
} Sizes;

/* stats: the means, then the rstds, of all places. */
template <class X, class Y>
__global__ static void forward(const X *x, const float *g, const float *b, float *stats, Y *y, Sizes z,
                               float eps) {
    FOR_GRID(p, z.samples * z.each) {
        int64_t sample = p / z.each, base = sample * z.channels * z.each + (p - sample * z.each);
        float mean = 0, squares = 0;
        for (int64_t k = 0; k < z.channels; k++) mean += load(x + base + k * z.each);
        mean /= (float)z.channels;
        for (int64_t k = 0; k < z.channels; k++) {
            float u = load(x + base + k * z.each) - mean;
            squares += u * u;
        }
        float rstd = 1 / sqrtf(squares / (float)z.channels + eps);
        stats[p] = mean;
        stats[z.samples * z.each + p] = rstd;
        for (int64_t k = 0; k < z.channels; k++)
            store(y + base + k * z.each, (load(x + base + k * z.each) - mean) * rstd * g[k] + b[k]);
    }
}

template <class X, class Y>
__global__ static void backward(const X *x, const float *g, const Y *dy, const float *stats, X *dx, Sizes z,
                                bool fresh) {
    FOR_GRID(p, z.samples * z.each) {
        int64_t sample = p / z.each, base = sample * z.channels * z.each + (p - sample * z.each);
        float mean = stats[p], rstd = stats[z.samples * z.each + p], h = 0, hu = 0;
        for (int64_t k = 0; k < z.channels; k++) {
            int64_t at = base + k * z.each;
            float v = load(dy + at) * g[k];
            h += v;
            hu += v * ((load(x + at) - mean) * rstd);
        }
        h /= (float)z.channels;
        hu /= (float)z.channels;
        for (int64_t k = 0; k < z.channels; k++) {
            int64_t at = base + k * z.each;
            float u = (load(x + at) - mean) * rstd, v = rstd * (load(dy + at) * g[k] - h - u * hu);
            store(dx + at, fresh ? v : load(dx + at) + v);
        }
    }
}

/* sums: of dy u a plane, then of dy. */
template <class X, class Y>
__global__ static void plane_sums(const X *x, const Y *dy, const float *stats, float *sums, Sizes z) {
    for (int64_t p = blockIdx.x; p < z.samples * z.channels; p += gridDim.x) {
        const float *mean = stats + p / z.channels * z.each, *rstd = mean + z.samples * z.each;
        float yu = 0, y = 0;
        for (int64_t i = threadIdx.x; i < z.each; i += blockDim.x) {
            float v = load(dy + p * z.each + i);
            yu += v * ((load(x + p * z.each + i) - mean[i]) * rstd[i]);
            y += v;
        }
        yu = block_sum(yu);
        y = block_sum(y);
        if (threadIdx.x > 0) continue;
        sums[p] = yu;
        sums[z.samples * z.channels + p] = y;
    }
}

static Sizes sizes_of(const OpCall *c) {
    const Tensor *x = c->in[0];
    return {x->dim[0], x->dim[1], tensor_count(x) / (x->dim[0] * x->dim[1])};
}

template <class X, class Y> static void run_forward(OpCall *c, const X *x, Y *y) {
    Sizes z = sizes_of(c);
    LAUNCH(forward, cuda_blocks(z.samples * z.each, THREADS), THREADS, x, tensor_real(c->in[1]),
           tensor_real(c->in[2]), tensor_real(c->save[0]), y, z, (float)c->f[0]);
}

/* The gradients of gain and bias, of which either may be unwanted. */
template <class X, class Y> static void run_sums(OpCall *c, const X *x, const Y *dy, const Sizes &z) {
    bool fresh_gain, fresh_bias;
    Tensor *dg = op_grad(c, 1, &fresh_gain), *db = op_grad(c, 2, &fresh_bias);
    if (!dg && !db) return;
    int64_t planes = z.samples * z.channels;
    int threads = z.each > 4 * THREADS ? THREADS : 32;
    float *sums = (float *)op_scratch(c, (size_t)planes * 2 * sizeof *sums);
    LAUNCH(plane_sums, cuda_blocks(planes, 1), threads, x, dy, tensor_real(c->save[0]), sums, z);
    auto add_up = [&](const float *from, Tensor *to, bool fresh) {
        fold(c, false, fold_data(from, 0, z.channels), tensor_real(to), 1, z.samples, z.channels, 1, fresh);
    };
    if (dg) add_up(sums, dg, fresh_gain);
    if (db) add_up(sums + planes, db, fresh_bias);
    op_scratch_free(c, sums);
}

template <class X, class Y> static void run_backward(OpCall *c, const X *x, const Y *dy) {
    Sizes z = sizes_of(c);
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (dx)
        LAUNCH(backward, cuda_blocks(z.samples * z.each, THREADS), THREADS, x, tensor_real(c->in[1]), dy,
               tensor_real(c->save[0]), (X *)dx->data, z, fresh);
    run_sums(c, x, dy, z);
}

extern "C" void layernorm2d_forward_cuda(OpCall *c) {
    with_data(c->in[0], [&](auto *x) { with_data(c->out[0], [&](auto *y) { run_forward(c, x, y); }); });
}

extern "C" void layernorm2d_backward_cuda(OpCall *c) {
    with_data(c->in[0],
              [&](auto *x) { with_data(c->out[0]->grad, [&](auto *dy) { run_backward(c, x, dy); }); });
}
