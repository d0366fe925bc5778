/* group_norm on CUDA: a block a group finds mean and rstd, and a block a plane (one channel of one sample)
 * does the rest. Sums a plane go to scratch; those of a group, and those of a channel over the samples, are
 * made of them in order. */
#include "core/op/rows.cuh"
#include "core/ops.h"

enum { MOST = 512 };

typedef struct Sizes {
    int64_t samples, groups, channels, each; /* channels of a group, places of a channel */
} Sizes;

__device__ static int64_t rows_of(const Sizes &z) {
    return z.samples * z.groups;
}
__device__ static int64_t planes_of(const Sizes &z) {
    return z.samples * z.groups * z.channels;
}

/* stats: the means, then the rstds, of all groups. */
template <class X> __global__ static void find_stats(const X *x, float *stats, Sizes z, float eps) {
    int64_t n = z.channels * z.each;
    for (int64_t r = blockIdx.x; r < rows_of(z); r += gridDim.x) {
        const X *from = x + r * n;
        float sum = 0, squares = 0;
        for (int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += load(from + i);
        float mean = block_sum(sum) / (float)n;
        for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
            float u = load(from + i) - mean;
            squares += u * u;
        }
        squares = block_sum(squares);
        if (threadIdx.x > 0) continue;
        stats[r] = mean;
        stats[rows_of(z) + r] = 1 / sqrtf(squares / (float)n + eps);
    }
}

template <class X, class Y>
__global__ static void forward(const X *x, const float *g, const float *b, const float *stats, Y *y,
                               Sizes z) {
    for (int64_t p = blockIdx.x; p < planes_of(z); p += gridDim.x) {
        int64_t r = p / z.channels, ch = p % (z.groups * z.channels);
        float mean = stats[r], gain = stats[rows_of(z) + r] * g[ch], shift = b[ch];
        for (int64_t i = p * z.each + threadIdx.x; i < (p + 1) * z.each; i += blockDim.x)
            store(y + i, (load(x + i) - mean) * gain + shift);
    }
}

/* sums: of dy u a plane, then of dy. */
template <class X, class Y>
__global__ static void plane_sums(const X *x, const Y *dy, const float *stats, float *sums, Sizes z) {
    for (int64_t p = blockIdx.x; p < planes_of(z); p += gridDim.x) {
        int64_t r = p / z.channels;
        float mean = stats[r], rstd = stats[rows_of(z) + r], yu = 0, y = 0;
        for (int64_t i = p * z.each + threadIdx.x; i < (p + 1) * z.each; i += blockDim.x) {
            float v = load(dy + i);
            yu += v * ((load(x + i) - mean) * rstd);
            y += v;
        }
        yu = block_sum(yu);
        y = block_sum(y);
        if (threadIdx.x > 0) continue;
        sums[p] = yu;
        sums[planes_of(z) + p] = y;
    }
}

/* Every plane's block makes its group's averages of h and of h u again: a few numbers a channel. */
template <class X, class Y>
__global__ static void backward(const X *x, const float *g, const Y *dy, const float *stats,
                                const float *sums, X *dx, Sizes z, bool fresh) {
    float n = (float)(z.channels * z.each);
    for (int64_t p = blockIdx.x; p < planes_of(z); p += gridDim.x) {
        int64_t r = p / z.channels, ch = p % (z.groups * z.channels), first = ch / z.channels * z.channels;
        float mean = stats[r], rstd = stats[rows_of(z) + r], h = 0, hu = 0;
        for (int64_t k = threadIdx.x; k < z.channels; k += blockDim.x) {
            hu += g[first + k] * sums[r * z.channels + k];
            h += g[first + k] * sums[planes_of(z) + r * z.channels + k];
        }
        h = block_sum(h) / n;
        hu = block_sum(hu) / n;
        for (int64_t i = p * z.each + threadIdx.x; i < (p + 1) * z.each; i += blockDim.x) {
            float u = (load(x + i) - mean) * rstd;
            float v = rstd * (load(dy + i) * g[ch] - h - u * hu);
            store(dx + i, fresh ? v : load(dx + i) + v);
        }
    }
}

static Sizes sizes_of(const OpCall *c) {
    const Tensor *x = c->in[0];
    int64_t batch = x->dim[0], channels = x->dim[1];
    return {batch, c->i[0], channels / c->i[0], tensor_count(x) / (batch * channels)};
}

/* Whole warps, at most four elements a thread until there are MOST of them. */
static int threads_for(int64_t n) {
    int threads = 32;
    while (threads < MOST && threads * 4 < n) threads *= 2;
    return threads;
}

template <class X, class Y> static void run_forward(OpCall *c, const X *x, Y *y) {
    Sizes z = sizes_of(c);
    int64_t rows = z.samples * z.groups, planes = rows * z.channels;
    float *stats = tensor_real(c->save[0]);
    LAUNCH(find_stats, cuda_blocks(rows, 1), threads_for(z.channels * z.each), x, stats, z, (float)c->f[0]);
    LAUNCH(forward, cuda_blocks(planes, 1), threads_for(z.each), x, tensor_real(c->in[1]),
           tensor_real(c->in[2]), stats, y, z);
}

static void run_channel_sums(OpCall *c, int k, const float *sums, const Sizes &z) {
    bool fresh;
    Tensor *to = op_grad(c, k, &fresh);
    int64_t channels = z.groups * z.channels;
    if (to) fold(c, false, fold_data(sums, 0, channels), tensor_real(to), 1, z.samples, channels, 1, fresh);
}

template <class X, class Y> static void run_backward(OpCall *c, const X *x, const Y *dy) {
    Sizes z = sizes_of(c);
    int64_t planes = z.samples * z.groups * z.channels;
    const float *g = tensor_real(c->in[1]), *stats = tensor_real(c->save[0]);
    float *sums = (float *)op_scratch(c, (size_t)planes * 2 * sizeof *sums);
    LAUNCH(plane_sums, cuda_blocks(planes, 1), threads_for(z.each), x, dy, stats, sums, z);
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (dx)
        LAUNCH(backward, cuda_blocks(planes, 1), threads_for(z.each), x, g, dy, stats, (const float *)sums,
               (X *)dx->data, z, fresh);
    run_channel_sums(c, 1, sums, z);
    run_channel_sums(c, 2, sums + planes, z);
    op_scratch_free(c, sums);
}

extern "C" void group_norm_forward_cuda(OpCall *c) {
    with_data(c->in[0], [&](auto *x) { with_data(c->out[0], [&](auto *y) { run_forward(c, x, y); }); });
}

extern "C" void group_norm_backward_cuda(OpCall *c) {
    with_data(c->in[0],
              [&](auto *x) { with_data(c->out[0]->grad, [&](auto *dy) { run_backward(c, x, dy); }); });
}
