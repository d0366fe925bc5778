/* rel_attention: attention over a map of tokens, with positions relative to the query along either axis.
 * qkv (B, N = high wide, 3 H d): queries | keys | values, each head by head; rel_h f32 (2 high - 1, d), rel_w
 * f32 (2 wide - 1, d)  ->  o (B, N, H d) = softmax(score) v, head by head, where score(i, j) = q_i k_j /
 * sqrt(d) + q_i rel_h[row(i) - row(j) + high - 1] + q_i rel_w[col(i) - col(j) + wide - 1]. i[0] = H, i[1] =
 * high, i[2] = wide.       Li et al. 2022 (MViTv2), 4.1; Li et al. 2022 (ViTDet); Kirillov 2023. The N x N
 * matrix is never stored; the logs of the rows' sums of exponents are. Backward makes the probabilities P
 * again: dS as in attention; with G_h[i, r] = the sum of dS over the keys of map row r and G_w alike over
 * columns, dq = dS k / sqrt(d) + G_h rel_h + G_w rel_w, and the tables' gradients sum G q over queries, heads
 * and samples. Backward reads qkv, the tables, o and the logs. */
#include "core/op/heads.h"
#include "core/op/simd.h"
#include "core/ops.h"

#include <math.h>
#ifndef LETHE_DOUBLE
#include <omp.h>
#endif

static Heads heads_in(const OpCall *c) {
    return heads_of(c->in[0], NULL, NULL, c->i[0]);
}

static void shape(OpCall *c) {
    const Tensor *qkv = c->in[0], *rel_h = c->in[1], *rel_w = c->in[2];
    int64_t heads = c->i[0], high = c->i[1], wide = c->i[2];
    if (qkv->ndim != 3 || high < 1 || wide < 1 || qkv->dim[1] != high * wide)
        op_die(c, "qkv must be (batch, high * wide, 3 * width)");
    if (heads < 1 || tensor_last(qkv) % (3 * heads)) op_die(c, "width does not divide into heads");
    int64_t d = tensor_last(qkv) / (3 * heads);
    if (d > ATTENTION_WIDEST) op_die(c, "a head is too wide");
    if (rel_h->ndim != 2 || rel_h->dim[0] != 2 * high - 1 || rel_h->dim[1] != d || rel_h->dtype != DT_F32 ||
        rel_w->ndim != 2 || rel_w->dim[0] != 2 * wide - 1 || rel_w->dim[1] != d || rel_w->dtype != DT_F32)
        op_die(c, "rel_h and rel_w must be f32 (2 high - 1, d) and (2 wide - 1, d)");
    op_out(c, 0, qkv->dtype, 3, (int64_t[3]){qkv->dim[0], qkv->dim[1], heads * d});
    op_save(c, 0, DT_F32, 3, (int64_t[3]){qkv->dim[0], heads, qkv->dim[1]});
}

static double flops(const OpCall *c, bool backward) {
    Heads a = heads_in(c);
    return heads_flops(&a, backward);
}

/* Where the rows of the two tables stand that queries i and keys j meet at. */
static int64_t table_h(const OpCall *c, int64_t i, int64_t j) {
    return (i / c->i[2] - j / c->i[2] + c->i[1] - 1) * c->in[1]->dim[1];
}
static int64_t table_w(const OpCall *c, int64_t i, int64_t j) {
    return (i % c->i[2] - j % c->i[2] + c->i[2] - 1) * c->in[1]->dim[1];
}

static real score(const OpCall *c, const Heads *a, int64_t b, int64_t h, int64_t i, int64_t j) {
    real near = 0, far = 0;
    int64_t q_at = heads_query(a, b, h, i), k_at = heads_key(a, b, h, j);
    const real *rel_h = tensor_real(c->in[1]) + table_h(c, i, j),
               *rel_w = tensor_real(c->in[2]) + table_w(c, i, j);
    for (int64_t x = 0; x < a->d; x++) {
        real q = tensor_at(a->q, q_at + x);
        near += q * tensor_at(a->k, k_at + x);
        far += q * (rel_h[x] + rel_w[x]);
    }
    return near / (real)sqrt((double)a->d) + far;
}

static void forward_ref(OpCall *c) {
    Heads a = heads_in(c);
    for (int64_t b = 0; b < a.batch; b++)
        for (int64_t h = 0; h < a.heads; h++)
            for (int64_t i = 0; i < a.n; i++) {
                real top = -(real)INFINITY, sum = 0;
                for (int64_t j = 0; j < a.m; j++) {
                    real s = score(c, &a, b, h, i, j);
                    if (s > top) top = s;
                }
                for (int64_t j = 0; j < a.m; j++) sum += (real)exp((double)(score(c, &a, b, h, i, j) - top));
                real log_sum = top + (real)log((double)sum);
                tensor_real(c->save[0])[(b * a.heads + h) * a.n + i] = log_sum;
                for (int64_t x = 0; x < a.d; x++) {
                    real o = 0;
                    for (int64_t j = 0; j < a.m; j++)
                        o += (real)exp((double)(score(c, &a, b, h, i, j) - log_sum)) *
                             tensor_at(a.v, heads_value(&a, b, h, j) + x);
                    tensor_put(c->out[0], heads_output(&a, b, h, i) + x, o);
                }
            }
}

/* One pair of query and key: p its probability, ds the gradient of its score. */
static void pair_backward(const OpCall *c, const Heads *a, Tensor *const to[3], int64_t b, int64_t h,
                          int64_t i, int64_t j, real p, real ds) {
    int64_t q_at = heads_query(a, b, h, i), k_at = heads_key(a, b, h, j), v_at = heads_value(a, b, h, j),
            at = heads_output(a, b, h, i), at_h = table_h(c, i, j), at_w = table_w(c, i, j);
    real scale = (real)1 / (real)sqrt((double)a->d);
    for (int64_t x = 0; x < a->d; x++) {
        real q = tensor_at(a->q, q_at + x),
             rel = tensor_real(c->in[1])[at_h + x] + tensor_real(c->in[2])[at_w + x];
        if (to[0]) {
            tensor_add(to[0], q_at + x, ds * (scale * tensor_at(a->k, k_at + x) + rel));
            tensor_add(to[0], k_at + x, ds * scale * q);
            tensor_add(to[0], v_at + x, p * tensor_at(c->out[0]->grad, at + x));
        }
        if (to[1]) tensor_real(to[1])[at_h + x] += ds * q;
        if (to[2]) tensor_real(to[2])[at_w + x] += ds * q;
    }
}

static void backward_ref(OpCall *c) {
    Heads a = heads_in(c);
    const Tensor *o = c->out[0], *g = o->grad;
    Tensor *const to[3] = {op_grad(c, 0, NULL), op_grad(c, 1, NULL), op_grad(c, 2, NULL)};
    for (int64_t b = 0; b < a.batch; b++)
        for (int64_t h = 0; h < a.heads; h++)
            for (int64_t i = 0; i < a.n; i++) {
                int64_t at = heads_output(&a, b, h, i);
                real dot = 0, log_sum = tensor_real(c->save[0])[(b * a.heads + h) * a.n + i];
                for (int64_t x = 0; x < a.d; x++) dot += tensor_at(g, at + x) * tensor_at(o, at + x);
                for (int64_t j = 0; j < a.m; j++) {
                    real p = (real)exp((double)(score(c, &a, b, h, i, j) - log_sum)), dp = 0;
                    for (int64_t x = 0; x < a.d; x++)
                        dp += tensor_at(g, at + x) * tensor_at(a.v, heads_value(&a, b, h, j) + x);
                    pair_backward(c, &a, to, b, h, i, j, p, p * (dp - dot));
                }
            }
}

#ifndef LETHE_DOUBLE
/* Both tables, one behind the other, each turned around: what query (y, x) adds for the keys of map row r
 * stands r rows behind row high - 1 - y, and for those of map column k, k rows behind row of_w + wide - 1 -
 * x. Times sqrt(d), as the scores are until they are scaled. */
typedef struct Tables {
    int64_t high, wide, d, of_w, rows;
    int64_t vecs, row; /* forward: the packed table's, and floats of a query's products with it */
    const Word *packed;
    const float *table; /* backward: rows x d */
    float *grad;        /* its gradient, of the caller's own, or NULL */
} Tables;

static Tables tables_of(const OpCall *c) {
    Tables t = {.high = c->i[1], .wide = c->i[2], .d = c->in[1]->dim[1]};
    t.of_w = 2 * t.high - 1;
    t.rows = t.of_w + 2 * t.wide - 1;
    t.vecs = panel_up(t.rows, PANEL_LANES) / PANEL_LANES;
    t.row = (t.vecs + 1) * PANEL_LANES;
    return t;
}

/* Row r of the joined tables. */
static float *table_row(const Tables *t, const Tensor *h, const Tensor *w, int64_t r) {
    return r < t->of_w ? tensor_real(h) + (t->of_w - 1 - r) * t->d
                       : tensor_real(w) + (t->rows - 1 - r) * t->d;
}

static void tables_join(const Tables *t, const OpCall *c, float *to) {
    float root = sqrtf((float)t->d);
    for (int64_t r = 0; r < t->rows; r++) {
        const float *from = table_row(t, c->in[1], c->in[2], r);
        for (int64_t x = 0; x < t->d; x++) to[r * t->d + x] = from[x] * root;
    }
}

static void block_products(const void *self, const HeadBlock *at, bool half, const Word *q, int64_t depth,
                           float *room) {
    const Tables *t = self;
    int64_t rows = panel_up(at->rows, PANEL_ROWS);
    memset(room, 0, (size_t)(rows * t->row) * sizeof *room);
    for (int64_t p = 0; p < panel_count(t->vecs); p++) {
        int64_t first = panel_first(t->vecs, p) * PANEL_LANES,
                w = panel_first(t->vecs, p + 1) - first / PANEL_LANES;
        panel_multiply(half, rows, w, depth, q, depth, t->packed + first * depth, w * PANEL_LANES,
                       room + first, t->row);
    }
}

/* to[0 .. n-1] = by_row + by_column[..], and some more behind. */
static void strip_add(float *restrict to, const float *restrict by_column, float by_row, int64_t n) {
    for (int64_t x = 0; x < n; x += PANEL_LANES)
#pragma omp simd
        for (int64_t l = 0; l < PANEL_LANES; l++) to[x + l] = by_row + by_column[x + l];
}

static void tile_start(const void *self, const HeadBlock *at, const float *room, int64_t key, int64_t keys,
                       float *s, int64_t row) {
    const Tables *t = self;
    for (int64_t i = 0; i < at->rows; i++) {
        int64_t query = at->first + i, r = key / t->wide, from = key % t->wide;
        const float *by_row = room + i * t->row + t->high - 1 - query / t->wide,
                    *by_column = room + i * t->row + t->of_w + t->wide - 1 - query % t->wide;
        for (int64_t j = 0, n; j < keys; j += n, r++, from = 0) {
            n = t->wide - from < keys - j ? t->wide - from : keys - j;
            strip_add(s + i * row + j, by_column + from, by_row[r], n);
        }
    }
}

static void forward_cpu(OpCall *c) {
    Heads a = heads_in(c);
    Tables t = tables_of(c);
    bool half = heads_half(&a);
    int64_t depth = heads_depth(&a);
    float *table = op_scratch(c, (size_t)(t.rows * t.d) * sizeof *table);
    Word *packed = op_scratch(c, (size_t)(t.vecs * PANEL_LANES * depth) * sizeof *packed);
    tables_join(&t, c, table);
    if (half) panel_round((Word *)table, table, t.rows * t.d);
    panel_pack(packed, t.vecs, (Word *)table, depth, t.rows, depth);
    t.packed = packed;
    HeadScores add = {.self = &t, .room = t.row, .block = block_products, .start = tile_start};
    heads_forward(c, &a, &add, c->out[0], tensor_real(c->save[0]));
    op_scratch_free(c, packed);
    op_scratch_free(c, table);
}

static void scores_add(const void *self, const HeadBlock *at, const float *q, float *room, float *s) {
    const Tables *t = self;
    heads_multiply('N', 'T', at->rows, t->rows, t->d, q, t->d, t->table, t->d, 0, room, t->rows);
    for (int64_t i = 0; i < at->rows; i++) {
        int64_t query = at->first + i;
        const float *by_row = room + i * t->rows + t->high - 1 - query / t->wide,
                    *by_column = room + i * t->rows + t->of_w + t->wide - 1 - query % t->wide;
        for (int64_t r = 0; r < t->high; r++) {
            float *to = s + (i * t->high + r) * t->wide;
#pragma omp simd
            for (int64_t x = 0; x < t->wide; x++) to[x] += by_row[r] + by_column[x];
        }
    }
}

static void scores_grad(const void *self, const HeadBlock *at, const float *q, const float *ds, float *room,
                        float *dq) {
    const Tables *t = self;
    memset(room, 0, (size_t)(at->rows * t->rows) * sizeof *room);
    for (int64_t i = 0; i < at->rows; i++) {
        int64_t query = at->first + i;
        float *by_row = room + i * t->rows + t->high - 1 - query / t->wide,
              *by_column = room + i * t->rows + t->of_w + t->wide - 1 - query % t->wide;
        for (int64_t r = 0; r < t->high; r++) {
            const float *from = ds + (i * t->high + r) * t->wide;
            float sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t x = 0; x < t->wide; x++) {
                by_column[x] += from[x];
                sum += from[x];
            }
            by_row[r] = sum;
        }
    }
    heads_multiply('N', 'N', at->rows, t->d, t->rows, room, t->rows, t->table, t->d, 1, dq, t->d);
    if (t->grad) heads_multiply('T', 'N', t->rows, t->d, at->rows, room, t->rows, q, t->d, 1, t->grad, t->d);
}

/* Heads are shared out among tasks by the shape alone, and a task sums the tables' gradients over its heads
 * in their order. */
enum { TASKS = 64 };

static void tables_grad(OpCall *c, const Tables *t, const float *parts, int64_t tasks) {
    bool fresh[3] = {false};
    Tensor *to[3] = {NULL, op_grad(c, 1, &fresh[1]), op_grad(c, 2, &fresh[2])};
    float root = sqrtf((float)t->d);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < t->rows; r++) {
        int k = r < t->of_w ? 1 : 2;
        if (!to[k]) continue;
        float *row = table_row(t, to[1], to[2], r);
        for (int64_t x = 0; x < t->d; x++) {
            float sum = 0;
            for (int64_t p = 0; p < tasks; p++) sum += parts[(p * t->rows + r) * t->d + x];
            row[x] = (fresh[k] ? 0 : row[x]) + sum * root;
        }
    }
}

static void backward_cpu(OpCall *c) {
    Heads a = heads_in(c);
    Tables t = tables_of(c);
    HeadGrads to = {0};
    to.q = op_grad(c, 0, &to.q_fresh);
    to.k = to.v = to.q;
    to.k_fresh = to.v_fresh = to.q_fresh;
    HeadScores add = {.room = t.rows, .add = scores_add, .grad = scores_grad};
    int64_t heads = a.batch * a.heads, tasks = heads < TASKS ? heads : TASKS,
            each = heads_backward_room(&a, &add), size = t.rows * t.d;
    bool wanted = c->in[1]->needs_grad || c->in[2]->needs_grad;
    float *room = op_scratch(c, (size_t)omp_get_max_threads() * (size_t)each * sizeof *room);
    float *table = op_scratch(c, (size_t)size * sizeof *table);
    float *parts = op_scratch(c, (size_t)(tasks * size) * sizeof *parts);
    memset(parts, 0, (size_t)(tasks * size) * sizeof *parts);
    tables_join(&t, c, table);
    t.table = table;
#pragma omp parallel for schedule(static)
    for (int64_t task = 0; task < tasks; task++) {
        Tables own = t;
        HeadScores own_add = add;
        own.grad = wanted ? parts + task * size : NULL;
        own_add.self = &own;
        for (int64_t i = heads * task / tasks; i < heads * (task + 1) / tasks; i++)
            heads_backward(&a, &own_add, &to, c->out[0], tensor_real(c->save[0]), i / a.heads, i % a.heads,
                           room + omp_get_thread_num() * each);
    }
    if (wanted) tables_grad(c, &t, parts, tasks);
    op_scratch_free(c, parts);
    op_scratch_free(c, table);
    op_scratch_free(c, room);
}
#endif

static const Probe probes[] = {
    {.about = "wide", .in = {{3, {2, 6, 24}}, {2, {3, 4}}, {2, {5, 4}}}, .i = {2, 2, 3}},
    {.about = "one row, odd heads",
     .in = {{3, {1, 5, 18}}, {2, {1, 3}, .constant = true}, {2, {9, 3}}},
     .i = {2, 1, 5}},
    {.about = "one column",
     .in = {{3, {3, 4, 12}}, {2, {7, 2}}, {2, {1, 2}, .constant = true}},
     .i = {2, 4, 1}},
    {.about = "many blocks", .in = {{3, {1, 130, 24}}, {2, {25, 8}}, {2, {19, 8}}}, .i = {1, 13, 10}},
    {.about = "tiles cut map rows", .in = {{3, {1, 300, 6}}, {2, {29, 2}}, {2, {39, 2}}}, .i = {1, 15, 20}},
};

const Op rel_attention_row = {
    .name = "rel_attention",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_cpu), ON_CUDA(rel_attention_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_cpu), ON_CUDA(rel_attention_backward_cuda)},
    .needs = NEED_IN(0) | NEED_IN(1) | NEED_IN(2) | NEED_OUT(0),
    .flops = flops,
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_rel_attention(Step *s, Tensor *qkv, Tensor *rel_h, Tensor *rel_w, int heads, int64_t high,
                         int64_t wide) {
    return op_run(s, &rel_attention_row, &(OpCall){.in = {qkv, rel_h, rel_w}, .i = {heads, high, wide}});
}
