/* heads: attention's own kernels on CUDA, for the ops that differ in what they add to the scores alone: in
 * f32 inside and in a fixed order. A block owns OWN rows of one head and goes through the other side's rows
 * OTHER at a time: forward and dq own queries and go through keys, dk and dv own keys and go through queries.
 * A warp has EACH of the owned rows to itself, a lane one of the others. */
#ifndef LETHE_OP_HEADS_CUH
#define LETHE_OP_HEADS_CUH

#include "core/cuda.h"
#include "core/op.h"

enum { OWN = 16, OTHER = 32, CHUNK = 32, WARPS = 4, EACH = OWN / WARPS, THREADS = 32 * WARPS };

/* All that a kernel reads. The heads' bias begins at bias + b * bias_b + h * bias_h. */
template <class T> struct Heads {
    int64_t batch, heads, d, n, m, q_row, k_row, bias_b, bias_h;
    const T *q, *k, *v, *o, *dy;
    const float *bias;
    float *logs, *dots; /* (batch, heads, n): log of the sum of exponents, sum of dy o */
    float scale;
    bool causal;
    const float
        *rel; /* (batch, heads, n, high + wide) or NULL: added for the keys of a map's row and column */
    int64_t high, wide;
};

/* Where gradients go. */
template <class T> struct Grads {
    T *q, *k, *v; /* NULL: not wanted */
    float *bias;
    bool q_fresh, k_fresh, v_fresh, bias_fresh;
};

/* One head's rows, `row` apart. */
template <class T> struct Rows {
    const T *at;
    int64_t row, count;
};

template <class T> __device__ static Rows<T> queries(const Heads<T> &a, int64_t b, int64_t h) {
    return {a.q + b * a.n * a.q_row + h * a.d, a.q_row, a.n};
}
template <class T> __device__ static Rows<T> keys(const Heads<T> &a, const T *from, int64_t b, int64_t h) {
    return {from + b * a.m * a.k_row + h * a.d, a.k_row, a.m};
}
template <class T> __device__ static Rows<T> outputs(const Heads<T> &a, const T *from, int64_t b, int64_t h) {
    return {from + (b * a.n * a.heads + h) * a.d, a.heads * a.d, a.n};
}

template <class T> __device__ static float fetch(const Rows<T> &rows, int64_t i, int64_t x, int64_t d) {
    return i < rows.count && x < d ? load(rows.at + i * rows.row + x) : 0;
}

/* s[e] = own row i + warp * EACH + e times other row j + lane. */
template <class T>
__device__ static void products(const Rows<T> &own, int64_t i, const Rows<T> &other, int64_t j, int64_t d,
                                float (&s)[EACH]) {
    __shared__ float mine[OWN][CHUNK], theirs[OTHER][CHUNK + 1]; /* + 1: lanes read different banks */
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int e = 0; e < EACH; e++) s[e] = 0;
    for (int64_t x = 0; x < d; x += CHUNK) {
        __syncthreads();
        for (int r = warp; r < OWN; r += WARPS) mine[r][lane] = fetch(own, i + r, x + lane, d);
        for (int r = warp; r < OTHER; r += WARPS) theirs[r][lane] = fetch(other, j + r, x + lane, d);
        __syncthreads();
#pragma unroll 8
        for (int y = 0; y < CHUNK; y++) {
            float v = theirs[lane][y];
            for (int e = 0; e < EACH; e++) s[e] += mine[warp * EACH + e][y] * v;
        }
    }
}

/* sum[c][e] += weight[own row] [j] times channel c * CHUNK + lane of the other rows from j on. The weights of
 * a warp's rows were written by its lanes. */
template <class T, int CHUNKS>
__device__ static void gather(const float (&weight)[OWN][OTHER], const Rows<T> &other, int64_t j, int64_t d,
                              float (&sum)[CHUNKS][EACH]) {
    __shared__ float theirs[OTHER][CHUNK];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) {
        if (c * CHUNK >= d) break;
        __syncthreads();
        for (int r = warp; r < OTHER; r += WARPS) theirs[r][lane] = fetch(other, j + r, c * CHUNK + lane, d);
        __syncthreads();
#pragma unroll 4
        for (int r = 0; r < OTHER; r++) {
            float v = theirs[r][lane];
            for (int e = 0; e < EACH; e++) sum[c][e] += weight[warp * EACH + e][r] * v;
        }
    }
}

/* Writes the owned rows' sums: row i + warp * EACH + e at to[.. * row]. */
template <class T, int CHUNKS>
__device__ static void put(T *to, int64_t row, int64_t i, int64_t count, int64_t d,
                           const float (&sum)[CHUNKS][EACH], bool fresh) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int c = 0; c < CHUNKS; c++)
        for (int e = 0; e < EACH; e++) {
            int64_t r = i + warp * EACH + e, x = c * CHUNK + lane;
            if (r >= count || x >= d) continue;
            T *p = to + r * row + x;
            store(p, fresh ? sum[c][e] : load(p) + sum[c][e]);
        }
}

/* A query's row among (batch, heads, n). */
template <class T> __device__ static int64_t row_of(const Heads<T> &a, int64_t b, int64_t h, int64_t i) {
    return (b * a.heads + h) * a.n + i;
}

/* The score of query i and key j from their product; -inf where there is none. */
template <class T>
__device__ static float score(const Heads<T> &a, int64_t b, int64_t h, int64_t i, int64_t j, float product) {
    if (i >= a.n || j >= a.m || (a.causal && j > i)) return -INFINITY;
    float s = product * a.scale;
    if (a.rel) {
        const float *rel = a.rel + row_of(a, b, h, i) * (a.high + a.wide);
        return s + (rel[j / a.wide] + rel[a.high + j % a.wide]);
    }
    return a.bias ? s + a.bias[b * a.bias_b + h * a.bias_h + i * a.m + j] : s;
}

/* The block's head and the first row it owns, of `count` rows a head. */
struct Task {
    int64_t b, h, first;
};
__device__ static Task task_of(int64_t heads, int64_t count) {
    int64_t tiles = (count + OWN - 1) / OWN, head = blockIdx.x / tiles;
    return {head / heads, head % heads, blockIdx.x % tiles * OWN};
}

template <class T, int CHUNKS> __global__ static void forward(Heads<T> a, T *o) {
    __shared__ float weight[OWN][OTHER];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    Task t = task_of(a.heads, a.n);
    float top[EACH], sum[EACH] = {}, out[CHUNKS][EACH] = {};
    for (int e = 0; e < EACH; e++) top[e] = -INFINITY;
    int64_t end = a.causal && t.first + OWN < a.m ? t.first + OWN : a.m;
    for (int64_t j = 0; j < end; j += OTHER) {
        float s[EACH];
        products(queries(a, t.b, t.h), t.first, keys(a, a.k, t.b, t.h), j, a.d, s);
        for (int e = 0; e < EACH; e++) {
            float v = score(a, t.b, t.h, t.first + warp * EACH + e, j + lane, s[e]), most = v;
            for (int d = 16; d; d >>= 1) most = fmaxf(most, __shfl_xor_sync(0xFFFFFFFFu, most, d));
            most = fmaxf(most, top[e]);
            float base = most == -INFINITY ? 0 : most; /* so far this row has seen no key */
            float p = expf(v - base), keep = expf(top[e] - base);
            sum[e] = sum[e] * keep + warp_sum(p);
            top[e] = most;
            weight[warp * EACH + e][lane] = p;
#pragma unroll
            for (int c = 0; c < CHUNKS; c++) out[c][e] *= keep;
        }
        gather(weight, keys(a, a.v, t.b, t.h), j, a.d, out);
    }
    for (int e = 0; e < EACH; e++) {
        int64_t i = t.first + warp * EACH + e;
        if (lane == 0 && i < a.n) a.logs[row_of(a, t.b, t.h, i)] = top[e] + logf(sum[e]);
#pragma unroll
        for (int c = 0; c < CHUNKS; c++) out[c][e] /= sum[e];
    }
    put(o + (t.b * a.n * a.heads + t.h) * a.d, a.heads * a.d, t.first, a.n, a.d, out, true);
}

/* dots: a warp a row. */
template <class T> __global__ static void row_dots(Heads<T> a) {
    int64_t rows = a.batch * a.heads * a.n, step = (int64_t)gridDim.x * WARPS;
    int lane = threadIdx.x % 32;
    for (int64_t r = blockIdx.x * WARPS + threadIdx.x / 32; r < rows; r += step) {
        int64_t b = r / (a.heads * a.n), h = r / a.n % a.heads, i = r % a.n;
        Rows<T> y = outputs(a, a.o, b, h), dy = outputs(a, a.dy, b, h);
        float v = 0;
        for (int64_t x = lane; x < a.d; x += 32) v += fetch(y, i, x, a.d) * fetch(dy, i, x, a.d);
        v = warp_sum(v);
        if (lane == 0) a.dots[r] = v;
    }
}

/* The probability of key j for query i, and the gradient of their score. */
template <class T>
__device__ static float probability(const Heads<T> &a, int64_t b, int64_t h, int64_t i, int64_t j,
                                    float product, float dp, float *ds) {
    int64_t row = row_of(a, b, h, i);
    float s = score(a, b, h, i, j, product), p = s == -INFINITY ? 0 : expf(s - a.logs[row]);
    *ds = s == -INFINITY ? 0 : p * (dp - a.dots[row]);
    return p;
}

template <class T, int CHUNKS> __global__ static void backward_queries(Heads<T> a, T *dq, bool fresh) {
    __shared__ float weight[OWN][OTHER];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    Task t = task_of(a.heads, a.n);
    float sum[CHUNKS][EACH] = {};
    int64_t end = a.causal && t.first + OWN < a.m ? t.first + OWN : a.m;
    for (int64_t j = 0; j < end; j += OTHER) {
        float s[EACH], dp[EACH], ds;
        products(queries(a, t.b, t.h), t.first, keys(a, a.k, t.b, t.h), j, a.d, s);
        products(outputs(a, a.dy, t.b, t.h), t.first, keys(a, a.v, t.b, t.h), j, a.d, dp);
        for (int e = 0; e < EACH; e++) {
            probability(a, t.b, t.h, t.first + warp * EACH + e, j + lane, s[e], dp[e], &ds);
            weight[warp * EACH + e][lane] = ds * a.scale;
        }
        gather(weight, keys(a, a.k, t.b, t.h), j, a.d, sum);
    }
    put(dq + t.b * a.n * a.q_row + t.h * a.d, a.q_row, t.first, a.n, a.d, sum, fresh);
}

template <class T, int CHUNKS> __global__ static void backward_keys(Heads<T> a, Grads<T> to) {
    __shared__ float weight[OWN][OTHER], value_weight[OWN][OTHER];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    Task t = task_of(a.heads, a.m);
    float dk[CHUNKS][EACH] = {}, dv[CHUNKS][EACH] = {};
    for (int64_t i = a.causal ? t.first / OTHER * OTHER : 0; i < a.n; i += OTHER) {
        float s[EACH], dp[EACH], ds;
        products(keys(a, a.k, t.b, t.h), t.first, queries(a, t.b, t.h), i, a.d, s);
        products(keys(a, a.v, t.b, t.h), t.first, outputs(a, a.dy, t.b, t.h), i, a.d, dp);
        for (int e = 0; e < EACH; e++) {
            int64_t j = t.first + warp * EACH + e;
            value_weight[warp * EACH + e][lane] = probability(a, t.b, t.h, i + lane, j, s[e], dp[e], &ds);
            weight[warp * EACH + e][lane] = ds * a.scale;
        }
        gather(weight, queries(a, t.b, t.h), i, a.d, dk);
        gather(value_weight, outputs(a, a.dy, t.b, t.h), i, a.d, dv);
    }
    int64_t at = t.b * a.m * a.k_row + t.h * a.d;
    if (to.k) put(to.k + at, a.k_row, t.first, a.m, a.d, dk, to.k_fresh);
    if (to.v) put(to.v + at, a.k_row, t.first, a.m, a.d, dv, to.v_fresh);
}

/* ---- launches ---- */

template <class T> static unsigned tiles(const Heads<T> &a, int64_t rows) {
    return (unsigned)(a.batch * a.heads * ((rows + OWN - 1) / OWN));
}

template <class T, int CHUNKS> static void forward_launch(const Heads<T> &a, T *o) {
    LAUNCH((forward<T, CHUNKS>), tiles(a, a.n), THREADS, a, o);
}

template <class T> static void heads_forward(const Heads<T> &a, T *o) {
    if (a.d <= 2 * CHUNK)
        forward_launch<T, 2>(a, o);
    else if (a.d <= 4 * CHUNK)
        forward_launch<T, 4>(a, o);
    else
        forward_launch<T, 16>(a, o);
}

/* Makes dots, which backward kernels read. */
template <class T> static void heads_dots(const Heads<T> &a) {
    LAUNCH(row_dots, cuda_blocks(a.batch * a.heads * a.n, WARPS), THREADS, a);
}

template <class T, int CHUNKS> static void backward_launch(const Heads<T> &a, const Grads<T> &to) {
    if (to.q) LAUNCH((backward_queries<T, CHUNKS>), tiles(a, a.n), THREADS, a, to.q, to.q_fresh);
    if (to.k || to.v) LAUNCH((backward_keys<T, CHUNKS>), tiles(a, a.m), THREADS, a, to);
}

template <class T> static void heads_backward(const Heads<T> &a, const Grads<T> &to) {
    if (a.d <= 2 * CHUNK)
        backward_launch<T, 2>(a, to);
    else if (a.d <= 4 * CHUNK)
        backward_launch<T, 4>(a, to);
    else
        backward_launch<T, 16>(a, to);
}

#endif
