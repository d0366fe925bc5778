/* layernorm on CUDA. Forward: a warp a row, which it keeps in registers. Backward: a block takes a stretch of
 * rows, a few at once, a thread eight columns of them; so dx, and the stretch's part of dg and db, come from
 * one reading of x and dy. Widths that this does not fit take slower kernels. */
#include "core/op/rows.cuh"
#include "core/ops.h"

enum {
    THREADS = 256,
    WIDEST = 2048, /* columns that eight runs a lane hold, and 256 threads with a run each */
    AT_ONCE = 4,   /* rows that backward takes at once: one barrier for all */
    MOST_PARTS = 1024,
};

/* ---- forward ---- */

template <int K, class T, class U>
__global__ static void forward(Width<K>, const T *x, const float *g, const float *b, U *y, float *stats,
                               int64_t rows, int64_t d, float eps) {
    int lane = threadIdx.x % 32;
    FOR_WARPS(r, rows) {
        float v[K][8] = {}, m = 0, var = 0;
#pragma unroll
        for (int q = 0; q < K; q++) {
            int64_t j = (q * 32 + lane) * 8;
            if (j < d) run_load(x + r * d + j, v[q]);
#pragma unroll
            for (int k = 0; k < 8; k++) m += v[q][k];
        }
        m = warp_sum(m) / (float)d;
#pragma unroll
        for (int q = 0; q < K; q++)
#pragma unroll
            for (int k = 0; k < 8; k++)
                if ((q * 32 + lane) * 8 < d) var += (v[q][k] - m) * (v[q][k] - m);
        float s = 1 / sqrtf(warp_sum(var) / (float)d + eps);
        if (lane == 0) stats[r] = m, stats[rows + r] = s;
#pragma unroll
        for (int q = 0; q < K; q++) {
            int64_t j = (q * 32 + lane) * 8;
            float gain[8], bias[8];
            if (j >= d) continue;
            run_load(g + j, gain);
            run_load(b + j, bias);
#pragma unroll
            for (int k = 0; k < 8; k++) v[q][k] = (v[q][k] - m) * s * gain[k] + bias[k];
            run_store(y + r * d + j, v[q]);
        }
    }
}

template <class T, class U>
__global__ static void forward_any(const T *x, const float *g, const float *b, U *y, float *stats,
                                   int64_t rows, int64_t d, float eps) {
    int lane = threadIdx.x % 32;
    FOR_WARPS(r, rows) {
        const T *from = x + r * d;
        float m = 0, var = 0;
        for (int64_t j = lane; j < d; j += 32) m += load(from + j);
        m = warp_sum(m) / (float)d;
        for (int64_t j = lane; j < d; j += 32) var += (load(from + j) - m) * (load(from + j) - m);
        float s = 1 / sqrtf(warp_sum(var) / (float)d + eps);
        if (lane == 0) stats[r] = m, stats[rows + r] = s;
        for (int64_t j = lane; j < d; j += 32) store(y + r * d + j, (load(from + j) - m) * s * g[j] + b[j]);
    }
}

/* f with the number of runs that a lane holds of a row. */
template <class F> static void with_runs(int64_t d, F f) {
    int64_t runs = (d + 255) / 256;
    if (runs <= 1)
        f(Width<1>());
    else if (runs == 2)
        f(Width<2>());
    else if (runs == 3)
        f(Width<3>());
    else if (runs == 4)
        f(Width<4>());
    else
        f(Width<8>());
}

extern "C" void layernorm_forward_cuda(OpCall *c) {
    const Tensor *x = c->in[0], *g = c->in[1], *b = c->in[2], *y = c->out[0];
    int64_t d = tensor_last(x), rows = tensor_rows(x);
    float *stats = tensor_real(c->save[0]), eps = (float)c->f[0];
    int blocks = cuda_warps(rows, THREADS);
    with_data(x, [&](auto *from) {
        with_data(y, [&](auto *to) {
            if (wide(d, x, g, b, y) && d <= WIDEST)
                with_runs(d, [&](auto k) {
                    LAUNCH(forward, blocks, THREADS, k, from, tensor_real(g), tensor_real(b), to, stats, rows,
                           d, eps);
                });
            else
                LAUNCH(forward_any, blocks, THREADS, from, tensor_real(g), tensor_real(b), to, stats, rows, d,
                       eps);
        });
    });
}

/* ---- backward ---- */

/* part (blocks, 2, d): what each stretch of `length` rows adds to dg and db. */
template <class T, class U>
__global__ static void __launch_bounds__(THREADS)
    backward(const T *x, const U *dy, const float *g, const float *stats, T *dx, float *part, int64_t rows,
             int64_t d, int64_t length, bool fresh) {
    __shared__ float room[2][THREADS / 32][2 * AT_ONCE]; /* in turn, so that one barrier is enough */
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32, turn = 0;
    int64_t j = (int64_t)threadIdx.x * 8, first = blockIdx.x * length;
    int64_t past = first + length < rows ? first + length : rows;
    float gain[8] = {}, sum_g[8] = {}, sum_b[8] = {};
    if (j < d) run_load(g + j, gain);
    for (int64_t r0 = first; r0 < past; r0 += AT_ONCE) {
        float n[AT_ONCE][8] = {}, h[AT_ONCE][8] = {};
#pragma unroll
        for (int q = 0; q < AT_ONCE; q++) {
            if (j >= d || r0 + q >= past) continue;
            run_load(x + (r0 + q) * d + j, n[q]);
            run_load(dy + (r0 + q) * d + j, h[q]);
        }
#pragma unroll
        for (int q = 0; q < AT_ONCE; q++) {
            int64_t r = r0 + q < past ? r0 + q : past - 1;
            float m = stats[r], s = stats[rows + r], h_sum = 0, hn_sum = 0;
#pragma unroll
            for (int k = 0; k < 8; k++) {
                n[q][k] = (n[q][k] - m) * s;
                sum_g[k] += h[q][k] * n[q][k];
                sum_b[k] += h[q][k];
                h[q][k] *= gain[k];
                h_sum += h[q][k];
                hn_sum += h[q][k] * n[q][k];
            }
            h_sum = warp_sum(h_sum);
            hn_sum = warp_sum(hn_sum);
            if (lane == 0) room[turn][warp][2 * q] = h_sum, room[turn][warp][2 * q + 1] = hn_sum;
        }
        __syncthreads();
#pragma unroll
        for (int q = 0; q < AT_ONCE; q++) {
            float h_avg = 0, hn_avg = 0;
            if (!dx || j >= d || r0 + q >= past) continue;
            for (int w = 0; w < warps; w++) h_avg += room[turn][w][2 * q], hn_avg += room[turn][w][2 * q + 1];
            h_avg /= (float)d;
            hn_avg /= (float)d;
            float s = stats[rows + r0 + q];
#pragma unroll
            for (int k = 0; k < 8; k++) h[q][k] = s * (h[q][k] - h_avg - n[q][k] * hn_avg);
            run_put(dx + (r0 + q) * d + j, h[q], fresh);
        }
        turn ^= 1;
    }
    if (j >= d) return;
    run_store(part + (int64_t)blockIdx.x * 2 * d + j, sum_g);
    run_store(part + ((int64_t)blockIdx.x * 2 + 1) * d + j, sum_b);
}

template <class T, class U>
__global__ static void backward_any(const T *x, const U *dy, const float *g, const float *stats, T *dx,
                                    int64_t rows, int64_t d, bool fresh) {
    int lane = threadIdx.x % 32;
    FOR_WARPS(r, rows) {
        float m = stats[r], s = stats[rows + r], h_avg = 0, hn_avg = 0;
        for (int64_t j = lane; j < d; j += 32) {
            float h = load(dy + r * d + j) * g[j];
            h_avg += h;
            hn_avg += h * (load(x + r * d + j) - m) * s;
        }
        h_avg = warp_sum(h_avg) / (float)d;
        hn_avg = warp_sum(hn_avg) / (float)d;
        for (int64_t j = lane; j < d; j += 32) {
            float n = (load(x + r * d + j) - m) * s, h = load(dy + r * d + j) * g[j];
            float v[1] = {s * (h - h_avg - n * hn_avg)};
            run_put(dx + r * d + j, v, fresh);
        }
    }
}

/* What dg sums: rows are the middle axis. */
template <class T, class U> struct GainSlope {
    const T *x;
    const U *dy;
    const float *stats;
    int64_t rows, d;
    template <int W> __device__ void operator()(int64_t, int64_t r, int64_t j, float (&v)[W]) const {
        float n[W], m = stats[r], s = stats[rows + r];
        run_load(x + r * d + j, n);
        run_load(dy + r * d + j, v);
#pragma unroll
        for (int k = 0; k < W; k++) v[k] *= (n[k] - m) * s;
    }
};

typedef struct Grads {
    Tensor *x, *g, *b;
    bool fresh_x, fresh_g, fresh_b;
} Grads;

template <class T, class U> static void run_wide(OpCall *c, const T *x, const U *dy, const Grads &to) {
    int64_t d = tensor_last(c->in[0]), rows = tensor_rows(c->in[0]);
    int64_t length = (rows + MOST_PARTS - 1) / MOST_PARTS;
    length = (length + AT_ONCE - 1) / AT_ONCE * AT_ONCE;
    int64_t parts = (rows + length - 1) / length;
    float *part = (float *)op_scratch(c, (size_t)(parts * 2 * d) * sizeof(float));
    LAUNCH(backward, (int)parts, (int)((d / 8 + 31) / 32 * 32), x, dy, tensor_real(c->in[1]),
           tensor_real(c->save[0]), to.x ? (T *)to.x->data : nullptr, part, rows, d, length, to.fresh_x);
    const float *all = part;
    if (to.g) fold(c, false, fold_data(all, 0, 2 * d), tensor_real(to.g), 1, parts, d, 1, to.fresh_g);
    if (to.b) fold(c, false, fold_data(all + d, 0, 2 * d), tensor_real(to.b), 1, parts, d, 1, to.fresh_b);
    op_scratch_free(c, part);
}

template <class T, class U> static void run_any(OpCall *c, const T *x, const U *dy, const Grads &to) {
    int64_t d = tensor_last(c->in[0]), rows = tensor_rows(c->in[0]);
    const float *stats = tensor_real(c->save[0]);
    if (to.x)
        LAUNCH(backward_any, cuda_warps(rows, THREADS), THREADS, x, dy, tensor_real(c->in[1]), stats,
               (T *)to.x->data, rows, d, to.fresh_x);
    GainSlope<T, U> slope = {x, dy, stats, rows, d};
    if (to.g) fold(c, wide(d, x, dy, to.g), slope, tensor_real(to.g), 1, rows, d, 1, to.fresh_g);
    if (to.b) fold(c, wide(d, dy, to.b), fold_data(dy, 0, d), tensor_real(to.b), 1, rows, d, 1, to.fresh_b);
}

extern "C" void layernorm_backward_cuda(OpCall *c) {
    const Tensor *x = c->in[0], *dy = c->out[0]->grad;
    int64_t d = tensor_last(x);
    Grads to = {};
    to.x = op_grad(c, 0, &to.fresh_x);
    to.g = op_grad(c, 1, &to.fresh_g);
    to.b = op_grad(c, 2, &to.fresh_b);
    bool fits = wide(d, x, c->in[1], dy, to.x) && d <= WIDEST;
    with_data(x, [&](auto *px) {
        with_data(dy, [&](auto *py) { fits ? run_wide(c, px, py, to) : run_any(c, px, py, to); });
    });
}
