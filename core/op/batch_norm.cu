/* batch_norm on CUDA: the sums of a channel over samples and places are folds, in two readings for the
 * variance as on the processor; all else is element by element. */
#include "core/batch.h"
#include "core/comm_nccl.h"
#include "core/op/rows.cuh"
#include "core/ops.h"

enum { THREADS = 256 };

/* x as (batch, channels, each). The channels lie side by side where each is 1, and are the inner axis of a
 * fold; else a channel is one of its outer axis. */
typedef struct Layout {
    int64_t batch, channels, each;
} Layout;

static Layout layout_of(const OpCall *c) {
    const Tensor *x = c->in[0];
    return {x->dim[0], x->dim[1], tensor_count(x) / (x->dim[0] * x->dim[1])};
}

/* Place and channel of the summand (o, m, i) of a fold. */
__device__ static int64_t place_of(const Layout &l, int64_t o, int64_t m, int64_t i, int64_t *channel) {
    if (l.each == 1) {
        *channel = i;
        return m * l.channels + i;
    }
    int64_t b = quotient(m, l.each);
    *channel = o;
    return (b * l.channels + o) * l.each + m - b * l.each;
}

template <class F>
static void fold_channels(OpCall *c, const Layout &l, bool eight, F f, float *to, double factor) {
    if (l.each == 1)
        fold(c, eight, f, to, 1, l.batch, l.channels, factor, true);
    else
        fold(c, false, f, to, l.channels, l.batch * l.each, 1, factor, true);
}

/* ---- forward ---- */

/* (x - mean)^2, or x itself where mean is NULL. */
template <class T> struct Power {
    const T *x;
    const float *mean;
    Layout l;
    template <int W> __device__ void operator()(int64_t o, int64_t m, int64_t i, float (&v)[W]) const {
        int64_t channel;
        run_load(x + place_of(l, o, m, i, &channel), v);
        if (!mean) return;
#pragma unroll
        for (int k = 0; k < W; k++) {
            float u = v[k] - mean[channel + k];
            v[k] = u * u;
        }
    }
};

typedef struct Running {
    float *mean, *var; /* NULL: none are kept */
    float momentum, eps;
    bool training, keep; /* keep: as they are */
    double n;            /* values a channel, of all ranks */
    float *moved;        /* how often; may be NULL */
} Running;

/* rstd holds the variance of the batch in training. */
__global__ static void settle(float *mean, float *rstd, int64_t channels, Running run) {
    FOR_GRID(ch, channels) {
        if (!run.training) {
            mean[ch] = run.mean[ch];
            rstd[ch] = 1 / sqrtf(run.var[ch] + run.eps);
            continue;
        }
        float var = rstd[ch];
        rstd[ch] = 1 / sqrtf(var + run.eps);
        if (ch == 0 && run.moved && !run.keep) *run.moved += 1;
        if (!run.mean || run.keep) continue;
        run.mean[ch] += run.momentum * (mean[ch] - run.mean[ch]);
        run.var[ch] += run.momentum * ((float)(var * (run.n / (run.n - 1))) - run.var[ch]);
    }
}

template <int W, class T, class U>
__global__ static void normalise(Width<W>, const T *x, U *y, const float *stats, const float *g,
                                 const float *b, int64_t n, Layout l) {
    FOR_GRID(run, n / W) {
        int64_t row = quotient(run * W, l.each), first = row - quotient(row, l.channels) * l.channels;
        float v[W];
        run_load(x + run * W, v);
#pragma unroll
        for (int k = 0; k < W; k++) {
            int64_t ch = l.each == 1 ? first + k : first;
            v[k] = (v[k] - stats[ch]) * stats[l.channels + ch] * (g ? g[ch] : 1) + (b ? b[ch] : 0);
        }
        run_store(y + run * W, v);
    }
}

static float *values(const Tensor *t) {
    return t ? tensor_real(t) : nullptr;
}

/* Runs of eight stay within a channel, or within the channels of a sample. */
static int64_t run_room(const Layout &l) {
    return l.each == 1 ? l.channels : l.each;
}

/* Values a channel over all ranks: of the whole batch, of which this rank's is a part. */
static double values_all(const OpCall *c, const Layout &l) {
    const Batch *b = c->step->batch;
    double own = (double)(l.batch * l.each);
    return comm_size() > 1 && b && b->n ? own * b->whole / b->n : own;
}

extern "C" void batch_norm_forward_cuda(OpCall *c) {
    const Tensor *x = c->in[0], *y = c->out[0];
    Layout l = layout_of(c);
    int64_t n = tensor_count(x);
    bool eight = wide(run_room(l), x, y);
    double count = values_all(c, l);
    float *mean = tensor_real(c->save[0]), *rstd = mean + l.channels;
    Running run = {values(c->in[3]), values(c->in[4]), (float)c->f[1], (float)c->f[0],
                   c->i[0] != 0,     c->step->again,   count,          values(c->in[5])};
    with_data(x, [&](auto *from) {
        Power<std::remove_pointer_t<decltype(from)>> power = {from, nullptr, l};
        if (run.training) {
            fold_channels(c, l, wide(l.channels, x), power, mean, 1 / count);
            nccl_sum_float(mean, (int)l.channels);
            power.mean = mean;
            fold_channels(c, l, wide(l.channels, x, rstd), power, rstd, 1 / count);
            nccl_sum_float(rstd, (int)l.channels);
        }
        LAUNCH(settle, cuda_blocks(l.channels, THREADS), THREADS, mean, rstd, l.channels, run);
        with_data(y, [&](auto *to) {
            with_width(eight, [&](auto w) {
                LAUNCH(normalise, cuda_blocks(eight ? n / 8 : n, THREADS), THREADS, w, from, to, mean,
                       values(c->in[1]), values(c->in[2]), n, l);
            });
        });
    });
}

/* ---- backward ---- */

/* dy, or dy u where stats are given. */
template <class T, class U> struct Slope {
    const T *x;
    const U *dy;
    const float *stats;
    Layout l;
    template <int W> __device__ void operator()(int64_t o, int64_t m, int64_t i, float (&v)[W]) const {
        int64_t channel, at = place_of(l, o, m, i, &channel);
        run_load(dy + at, v);
        if (!stats) return;
        float u[W];
        run_load(x + at, u);
#pragma unroll
        for (int k = 0; k < W; k++) v[k] *= (u[k] - stats[channel + k]) * stats[l.channels + channel + k];
    }
};

/* sums: of dy, then of dy u; NULL: the statistics did not move with x. */
template <int W, class T, class U>
__global__ static void backward(Width<W>, const T *x, const U *dy, T *dx, const float *stats, const float *g,
                                const float *sums, float share, int64_t n, Layout l, bool fresh) {
    FOR_GRID(run, n / W) {
        int64_t row = quotient(run * W, l.each), first = row - quotient(row, l.channels) * l.channels;
        float v[W], u[W];
        run_load(dy + run * W, v);
        run_load(x + run * W, u);
#pragma unroll
        for (int k = 0; k < W; k++) {
            int64_t ch = l.each == 1 ? first + k : first;
            float s = stats[l.channels + ch];
            if (sums) v[k] -= share * (sums[ch] + (u[k] - stats[ch]) * s * sums[l.channels + ch]);
            v[k] *= s * (g ? g[ch] : 1);
        }
        run_put(dx + run * W, v, fresh);
    }
}

__global__ static void put(const float *sum, float *to, int64_t n, bool fresh) {
    FOR_GRID(i, n) to[i] = fresh ? sum[i] : to[i] + sum[i];
}

static void put_grad(OpCall *c, int k, const float *sum, int64_t n) {
    bool fresh;
    Tensor *to = op_grad(c, k, &fresh);
    if (to) LAUNCH(put, cuda_blocks(n, THREADS), THREADS, sum, tensor_real(to), n, fresh);
}

template <class T, class U> static void run_backward(OpCall *c, const T *x, const U *dy) {
    Layout l = layout_of(c);
    int64_t n = tensor_count(c->in[0]);
    const float *stats = tensor_real(c->save[0]);
    float *sums = (float *)op_scratch(c, (size_t)l.channels * 2 * sizeof(float));
    bool eight = wide(l.channels, x, dy);
    fold_channels(c, l, eight, Slope<T, U>{x, dy, nullptr, l}, sums, 1);
    fold_channels(c, l, eight, Slope<T, U>{x, dy, stats, l}, sums + l.channels, 1);
    put_grad(c, 1, sums + l.channels, l.channels);
    put_grad(c, 2, sums, l.channels);
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (dx && c->i[0]) nccl_sum_float(sums, (int)(2 * l.channels));
    eight = wide(run_room(l), x, dy, dx);
    if (dx)
        with_width(eight, [&](auto w) {
            LAUNCH(backward, cuda_blocks(eight ? n / 8 : n, THREADS), THREADS, w, x, dy, (T *)dx->data, stats,
                   values(c->in[1]), c->i[0] ? (const float *)sums : nullptr, (float)(1 / values_all(c, l)),
                   n, l, fresh);
        });
    op_scratch_free(c, sums);
}

extern "C" void batch_norm_backward_cuda(OpCall *c) {
    with_data(c->in[0],
              [&](auto *x) { with_data(c->out[0]->grad, [&](auto *dy) { run_backward(c, x, dy); }); });
}
