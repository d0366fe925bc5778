/* rel_attention on CUDA: attention's own kernels (heads.cuh), which read what a query adds for each row and
 * column of the map from a table of (batch, heads, N, high + wide) products; backward makes that table's
 * gradient, and from it the relative positions' part of dq and the two tables' gradients. */
#include "core/op/heads.cuh"
#include "core/op/rows.cuh"
#include "core/ops.h"

/* The relative positions (2 high - 1, d) and (2 wide - 1, d). */
struct Tables {
    const float *h, *w;
};

/* What slot s of a query's products stands for: keys of map row s, or of map column s - high. */
template <class T>
__device__ static const float *table_row(const Heads<T> &a, const Tables &t, int64_t i, int s) {
    return s < a.high ? t.h + (i / a.wide - s + a.high - 1) * a.d
                      : t.w + (i % a.wide - (s - a.high) + a.wide - 1) * a.d;
}

/* Element x of the query in row r of (batch, heads, n). */
template <class T> __device__ static int64_t query_at(const Heads<T> &a, int64_t r, int64_t x) {
    int64_t b = r / (a.heads * a.n), h = r / a.n % a.heads;
    return (b * a.n + r % a.n) * a.q_row + h * a.d + x;
}

template <class T> __global__ static void make_products(Heads<T> a, Tables t, float *rel) {
    int64_t slots = a.high + a.wide;
    FOR_GRID(k, a.batch * a.heads * a.n * slots) {
        int64_t r = k / slots, at = query_at(a, r, 0);
        const float *row = table_row(a, t, r % a.n, (int)(k % slots));
        float sum = 0;
        for (int64_t x = 0; x < a.d; x++) sum += load(a.q + at + x) * row[x];
        rel[k] = sum;
    }
}

/* The tile's keys j .. j + count - 1 of one query, whose gradients are `ds`, added to its sums; a lane has
 * a column and then a row of the map to itself. */
template <class T>
__device__ static void tile_sums(const Heads<T> &a, const float *ds, int64_t j, int count, float *sum) {
    int lane = threadIdx.x % 32;
    float v = 0;
    if (lane < count && lane < a.wide) {
        for (int64_t k = lane; k < count; k += a.wide) v += ds[k];
        sum[a.high + (j + lane) % a.wide] += v;
    }
    int64_t r = j / a.wide + lane, from = r * a.wide - j,
            past = from + a.wide < count ? from + a.wide : count;
    v = 0;
    for (int64_t k = from < 0 ? 0 : from; k < past; k++) v += ds[k];
    if (from < count) sum[r] += v;
}

/* sums (batch, heads, n, high + wide): the gradient of the products. A block owns queries, as for dq. */
template <class T> __global__ static void make_sums(Heads<T> a, float *sums) {
    __shared__ float weight[OWN][OTHER];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int64_t slots = a.high + a.wide;
    Task t = task_of(a.heads, a.n);
    int64_t first = t.first + warp * EACH;
    float *own = sums + row_of(a, t.b, t.h, first) * slots;
    for (int e = 0; e < EACH && first + e < a.n; e++)
        for (int64_t k = lane; k < slots; k += 32) own[e * slots + k] = 0;
    for (int64_t j = 0; j < a.m; j += OTHER) {
        float s[EACH], dp[EACH];
        products(queries(a, t.b, t.h), t.first, keys(a, a.k, t.b, t.h), j, a.d, s); /* waits for the block */
        products(outputs(a, a.dy, t.b, t.h), t.first, keys(a, a.v, t.b, t.h), j, a.d, dp);
        for (int e = 0; e < EACH; e++)
            probability(a, t.b, t.h, first + e, j + lane, s[e], dp[e], &weight[warp * EACH + e][lane]);
        __syncwarp();
        int count = a.m - j < OTHER ? (int)(a.m - j) : OTHER;
        for (int e = 0; e < EACH && first + e < a.n; e++)
            tile_sums(a, weight[warp * EACH + e], j, count, own + e * slots);
    }
}

/* dq += sums times the tables. */
template <class T> __global__ static void add_queries(Heads<T> a, Tables t, const float *sums, T *dq) {
    int64_t slots = a.high + a.wide;
    FOR_GRID(k, a.batch * a.heads * a.n * a.d) {
        int64_t r = k / a.d, x = k % a.d, at = query_at(a, r, x);
        float sum = 0;
        for (int s = 0; s < slots; s++) sum += sums[r * slots + s] * table_row(a, t, r % a.n, s)[x];
        store(dq + at, load(dq + at) + sum);
    }
}

/* The summands of a table's gradient: of row o of rel_h, or with `columns` of rel_w, over all queries. */
template <class T> struct TableSummand {
    Heads<T> a;
    const float *sums;
    bool columns;
    template <int W> __device__ void operator()(int64_t o, int64_t m, int64_t x, float (&v)[W]) const {
        int64_t length = columns ? a.wide : a.high, i = m % a.n;
        int64_t s = (columns ? i % a.wide : i / a.wide) + length - 1 - o;
        bool meets = s >= 0 && s < length;
        float g = meets ? sums[m * (a.high + a.wide) + (columns ? a.high : 0) + s] : 0;
        for (int k = 0; k < W; k++) v[k] = meets ? g * load(a.q + query_at(a, m, x + k)) : 0;
    }
};

/* ---- launches ---- */

template <class T> static Heads<T> heads_of(const OpCall *c) {
    Heads<T> a = {};
    const Tensor *qkv = c->in[0];
    a.batch = qkv->dim[0], a.heads = c->i[0], a.n = a.m = qkv->dim[1], a.high = c->i[1], a.wide = c->i[2];
    a.q_row = a.k_row = tensor_last(qkv), a.d = a.q_row / 3 / a.heads;
    a.q = (const T *)qkv->data, a.k = a.q + a.heads * a.d, a.v = a.k + a.heads * a.d;
    a.logs = tensor_real(c->save[0]), a.scale = 1.0f / sqrtf((float)a.d);
    return a;
}

static int64_t slots_of(const OpCall *c) {
    return c->in[0]->dim[0] * c->i[0] * c->in[0]->dim[1] * (c->i[1] + c->i[2]);
}

/* The products, in scratch memory. */
template <class T> static float *products_open(OpCall *c, const Heads<T> &a, const Tables &t) {
    float *rel = (float *)op_scratch(c, (size_t)slots_of(c) * sizeof(float));
    LAUNCH(make_products, cuda_blocks(slots_of(c), 256), 256, a, t, rel);
    return rel;
}

static Tables tables_of(const OpCall *c) {
    return {tensor_real(c->in[1]), tensor_real(c->in[2])};
}

template <class T> static void forward_of(OpCall *c) {
    Heads<T> a = heads_of<T>(c);
    float *rel = products_open(c, a, tables_of(c));
    a.rel = rel;
    heads_forward(a, (T *)c->out[0]->data);
    op_scratch_free(c, rel);
}

template <class T> static void table_grad(OpCall *c, const Heads<T> &a, const float *sums, int k) {
    bool fresh;
    Tensor *to = op_grad(c, k, &fresh);
    if (!to) return;
    TableSummand<T> f = {a, sums, k == 2};
    fold(c, false, f, tensor_real(to), to->dim[0], a.batch * a.heads * a.n, a.d, 1, fresh);
}

template <class T> static void backward_of(OpCall *c) {
    Heads<T> a = heads_of<T>(c);
    Tables t = tables_of(c);
    Grads<T> to = {};
    Tensor *dq = op_grad(c, 0, &to.q_fresh);
    to.k_fresh = to.v_fresh = to.q_fresh;
    float *rel = products_open(c, a, t);
    float *sums = (float *)op_scratch(c, (size_t)slots_of(c) * sizeof(float));
    int64_t rows = a.batch * a.heads * a.n;
    a.dots = (float *)op_scratch(c, (size_t)rows * sizeof(float));
    a.rel = rel, a.o = (const T *)c->out[0]->data, a.dy = (const T *)c->out[0]->grad->data;
    heads_dots(a);
    LAUNCH(make_sums, tiles(a, a.n), THREADS, a, sums);
    if (dq) {
        to.q = (T *)dq->data, to.k = to.q + a.heads * a.d, to.v = to.k + a.heads * a.d;
        heads_backward(a, to);
        LAUNCH(add_queries, cuda_blocks(rows * a.d, 256), 256, a, t, (const float *)sums, to.q);
    }
    table_grad(c, a, sums, 1);
    table_grad(c, a, sums, 2);
    op_scratch_free(c, a.dots);
    op_scratch_free(c, sums);
    op_scratch_free(c, rel);
}

extern "C" void rel_attention_forward_cuda(OpCall *c) {
    if (!tensor_count(c->out[0])) return;
    c->in[0]->dtype == DT_BF16 ? forward_of<bf16>(c) : forward_of<float>(c);
}

extern "C" void rel_attention_backward_cuda(OpCall *c) {
    if (!tensor_count(c->out[0])) return;
    c->in[0]->dtype == DT_BF16 ? backward_of<bf16>(c) : backward_of<float>(c);
}
