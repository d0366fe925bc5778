/* attention on CUDA. In bf16, without a bias and with heads of up to 128 channels by eights, cuDNN does it
 * (core/cuda_attention.h); the kernels here do all else, in f32 inside and in a fixed order.
 * A block owns OWN rows of one head and goes through the other side's rows OTHER at a time: forward and dq
 * own queries and go through keys, dk and dv own keys and go through queries, dbias owns a tile of scores and
 * goes through samples and heads. A warp has EACH of the owned rows to itself, a lane one of the others. */
#include "core/cuda.h"
#include "core/cuda_attention.h"
#include "core/cuda_values.h"
#include "core/ops.h"

enum { OWN = 16, OTHER = 32, CHUNK = 32, WARPS = 4, EACH = OWN / WARPS, THREADS = 32 * WARPS };

/* All that a kernel reads. The heads' bias begins at bias + b * bias_b + h * bias_h. */
template <class T> struct Heads {
    int64_t batch, heads, d, n, m, q_row, k_row, bias_b, bias_h;
    const T *q, *k, *v, *o, *dy;
    const float *bias;
    float *logs, *dots; /* (batch, heads, n): log of the sum of exponents, sum of dy o */
    float scale;
    bool causal;
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

/* The score of query i and key j from their product; -inf where there is none. */
template <class T>
__device__ static float score(const Heads<T> &a, int64_t b, int64_t h, int64_t i, int64_t j, float product) {
    if (i >= a.n || j >= a.m || (a.causal && j > i)) return -INFINITY;
    float s = product * a.scale;
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
        if (lane == 0 && i < a.n) a.logs[(t.b * a.heads + t.h) * a.n + i] = top[e] + logf(sum[e]);
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
    int64_t row = (b * a.heads + h) * a.n + i;
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

/* A tile of the gradient of one of the biases: all samples and heads that share it are summed in order. */
template <class T>
__global__ static void backward_bias(Heads<T> a, int64_t by_batch, int64_t by_head, float *db, bool fresh) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int64_t across = (a.m + OTHER - 1) / OTHER, down = (a.n + OWN - 1) / OWN;
    int64_t j = blockIdx.x % across * OTHER, i = blockIdx.x / across % down * OWN;
    int64_t which = blockIdx.x / (across * down), its_b = which / by_head, its_h = which % by_head;
    float sum[EACH] = {};
    for (int64_t b = by_batch > 1 ? its_b : 0; b < (by_batch > 1 ? its_b + 1 : a.batch); b++)
        for (int64_t h = by_head > 1 ? its_h : 0; h < (by_head > 1 ? its_h + 1 : a.heads); h++) {
            float s[EACH], dp[EACH], ds;
            products(queries(a, b, h), i, keys(a, a.k, b, h), j, a.d, s);
            products(outputs(a, a.dy, b, h), i, keys(a, a.v, b, h), j, a.d, dp);
            for (int e = 0; e < EACH; e++) {
                probability(a, b, h, i + warp * EACH + e, j + lane, s[e], dp[e], &ds);
                sum[e] += ds;
            }
        }
    for (int e = 0; e < EACH; e++) {
        int64_t row = i + warp * EACH + e;
        if (row >= a.n || j + lane >= a.m) continue;
        float *p = db + (which * a.n + row) * a.m + j + lane;
        *p = fresh ? sum[e] : *p + sum[e];
    }
}

/* ---- launches ---- */

static AttentionShape shape_of(const OpCall *c) {
    const Tensor *q = c->in[0], *k = c->in[1];
    AttentionShape s = {};
    s.batch = q->dim[0], s.heads = c->i[0], s.n = q->dim[1], s.m = k ? k->dim[1] : s.n;
    s.d = tensor_last(q) / (k ? 1 : 3) / s.heads;
    s.q_row = tensor_last(q), s.k_row = k ? tensor_last(k) : s.q_row, s.causal = c->i[1];
    return s;
}

/* Keys and values of packed rows stand one and two widths behind the queries. */
template <class T> static T *part(const OpCall *c, const AttentionShape *s, const Tensor *own, int k) {
    if (c->in[1]) return own ? (T *)own->data : NULL;
    return (T *)own->data + k * s->heads * s->d;
}

template <class T> static Heads<T> heads_of(const OpCall *c, const AttentionShape *s) {
    Heads<T> a = {};
    const Tensor *bias = c->in[3], *q = c->in[0];
    a.batch = s->batch, a.heads = s->heads, a.d = s->d, a.n = s->n, a.m = s->m;
    a.q_row = s->q_row, a.k_row = s->k_row, a.causal = s->causal;
    a.q = (const T *)q->data, a.k = part<T>(c, s, c->in[1] ? c->in[1] : q, 1);
    a.v = part<T>(c, s, c->in[1] ? c->in[2] : q, 2);
    a.logs = tensor_real(c->save[0]), a.scale = 1.0f / sqrtf((float)s->d);
    if (!bias) return a;
    a.bias = tensor_real(bias);
    a.bias_h = bias->dim[1] > 1 ? s->n * s->m : 0;
    a.bias_b = bias->dim[0] > 1 ? bias->dim[1] * s->n * s->m : 0;
    return a;
}

static unsigned tiles(const AttentionShape *s, int64_t rows) {
    return (unsigned)(s->batch * s->heads * ((rows + OWN - 1) / OWN));
}

template <class T, int CHUNKS> static void forward_launch(const AttentionShape *s, Heads<T> a, T *o) {
    LAUNCH((forward<T, CHUNKS>), tiles(s, s->n), THREADS, a, o);
}

template <class T> static void forward_own(OpCall *c, const AttentionShape *s) {
    Heads<T> a = heads_of<T>(c, s);
    T *o = (T *)c->out[0]->data;
    if (s->d <= 2 * CHUNK)
        forward_launch<T, 2>(s, a, o);
    else if (s->d <= 4 * CHUNK)
        forward_launch<T, 4>(s, a, o);
    else
        forward_launch<T, 16>(s, a, o);
}

template <class T, int CHUNKS>
static void backward_launch(const AttentionShape *s, Heads<T> a, const Grads<T> &to) {
    if (to.q) LAUNCH((backward_queries<T, CHUNKS>), tiles(s, s->n), THREADS, a, to.q, to.q_fresh);
    if (to.k || to.v) LAUNCH((backward_keys<T, CHUNKS>), tiles(s, s->m), THREADS, a, to);
}

template <class T> static void bias_launch(const OpCall *c, Heads<T> a, const Grads<T> &to) {
    const int64_t *dim = c->in[3]->dim;
    int64_t blocks = dim[0] * dim[1] * ((a.n + OWN - 1) / OWN) * ((a.m + OTHER - 1) / OTHER);
    LAUNCH(backward_bias, (unsigned)blocks, THREADS, a, dim[0], dim[1], to.bias, to.bias_fresh);
}

/* The three gradients, of which packed ones share a tensor and its freshness. */
typedef struct Wanted {
    Tensor *q, *k, *v;
    bool q_fresh, k_fresh, v_fresh;
} Wanted;

static Wanted wanted_of(OpCall *c) {
    Wanted w = {};
    w.q = op_grad(c, 0, &w.q_fresh);
    w.k = c->in[1] ? op_grad(c, 1, &w.k_fresh) : w.q;
    w.v = c->in[2] ? op_grad(c, 2, &w.v_fresh) : w.q;
    if (!c->in[1]) w.k_fresh = w.v_fresh = w.q_fresh;
    return w;
}

template <class T> static void backward_own(OpCall *c, const AttentionShape *s, const Wanted *w) {
    Heads<T> a = heads_of<T>(c, s);
    Grads<T> to = {};
    Tensor *db = op_grad(c, 3, &to.bias_fresh);
    to.q = w->q ? (T *)w->q->data : NULL;
    to.k = w->k ? part<T>(c, s, w->k, 1) : NULL, to.v = w->v ? part<T>(c, s, w->v, 2) : NULL;
    to.q_fresh = w->q_fresh, to.k_fresh = w->k_fresh, to.v_fresh = w->v_fresh;
    to.bias = db ? tensor_real(db) : NULL;
    a.o = (const T *)c->out[0]->data, a.dy = (const T *)c->out[0]->grad->data;
    int64_t rows = s->batch * s->heads * s->n;
    a.dots = (float *)op_scratch(c, (size_t)rows * sizeof(float));
    LAUNCH(row_dots, cuda_blocks(rows, WARPS), THREADS, a);
    if (s->d <= 2 * CHUNK)
        backward_launch<T, 2>(s, a, to);
    else if (s->d <= 4 * CHUNK)
        backward_launch<T, 4>(s, a, to);
    else
        backward_launch<T, 16>(s, a, to);
    if (to.bias) bias_launch(c, a, to);
    op_scratch_free(c, a.dots);
}

/* ---- cuDNN ---- */

static bool cudnn_takes(const OpCall *c, const AttentionShape *s, bool backward) {
    return c->in[0]->dtype == DT_BF16 && !c->in[3] && cuda_attention_takes(s, backward);
}

static AttentionData data_of(const OpCall *c, const AttentionShape *s) {
    Heads<bf16> a = heads_of<bf16>(c, s);
    AttentionData t = {};
    t.q = a.q, t.k = a.k, t.v = a.v, t.logs = a.logs;
    t.o = tensor_bf16(c->out[0]);
    return t;
}

/* cuDNN overwrites, and always makes all three. */
static void backward_packed(OpCall *c, const AttentionShape *s, AttentionData *t, const Wanted *w) {
    Result to = result_open(c, w->q, DT_BF16, w->q_fresh);
    t->dq = (bf16 *)to.data;
    t->dk = t->dq + s->heads * s->d;
    t->dv = t->dk + s->heads * s->d;
    cuda_attention_backward(c, s, t);
    result_close(c, &to);
}

/* A gradient that nobody wants goes to scratch memory of the tensor's size. */
static Result part_open(OpCall *c, Tensor *wanted, Tensor *like, bool fresh) {
    if (wanted) return result_open(c, wanted, DT_BF16, fresh);
    void *room = op_scratch(c, tensor_bytes(like));
    return {NULL, DT_BF16, true, room, room};
}

static void part_close(OpCall *c, Result *r) {
    if (r->to)
        result_close(c, r);
    else
        op_scratch_free(c, r->scratch);
}

static void backward_apart(OpCall *c, const AttentionShape *s, AttentionData *t, const Wanted *w) {
    Result q = part_open(c, w->q, c->in[0], w->q_fresh);
    Result k = part_open(c, w->k, c->in[1], w->k_fresh);
    Result v = part_open(c, w->v, c->in[2], w->v_fresh);
    t->dq = (bf16 *)q.data;
    t->dk = (bf16 *)k.data;
    t->dv = (bf16 *)v.data;
    cuda_attention_backward(c, s, t);
    part_close(c, &v);
    part_close(c, &k);
    part_close(c, &q);
}

extern "C" void attention_forward_cuda(OpCall *c) {
    AttentionShape s = shape_of(c);
    if (!tensor_count(c->out[0])) return;
    if (cudnn_takes(c, &s, false)) {
        AttentionData t = data_of(c, &s);
        cuda_attention_forward(c, &s, &t);
        return;
    }
    c->in[0]->dtype == DT_BF16 ? forward_own<bf16>(c, &s) : forward_own<float>(c, &s);
}

extern "C" void attention_backward_cuda(OpCall *c) {
    AttentionShape s = shape_of(c);
    if (!tensor_count(c->out[0])) return;
    Wanted w = wanted_of(c);
    if ((w.q || w.k || w.v) && cudnn_takes(c, &s, true)) {
        AttentionData t = data_of(c, &s);
        t.dy = tensor_bf16(c->out[0]->grad);
        c->in[1] ? backward_apart(c, &s, &t, &w) : backward_packed(c, &s, &t, &w);
        return;
    }
    c->in[0]->dtype == DT_BF16 ? backward_own<bf16>(c, &s, &w) : backward_own<float>(c, &s, &w);
}
