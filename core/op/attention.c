/* attention: o = softmax(q k^T / sqrt(d) + bias) v, head by head.
 * q (B, N, H d)  k (B, M, H d)  v (B, M, H d)  bias (1 or B, 1 or H, N, M) or absent  ->  o (B, N, H d).
 * Packed: k and v absent, q (B, N, 3 H d) holds queries, keys, values in that order (timm's qkv).
 * i[0] = H, i[1] = causal: query n sees keys 0 .. n only.       Vaswani et al. 2017, 3.2; Dao et al. 2022.
 * The N x M matrix is never stored: forward (core/op/heads.h) works on blocks of queries and saves only the
 * log of each row's sum of exponents; backward computes a block's probabilities P again and, with g = dy, D =
 * rowsum(g o):  dv = P^T g,  dS = P (g v^T - D),  dq = dS k / sqrt(d),  dk = dS^T q / sqrt(d),  dbias = dS.
 * Backward reads q, k, v, bias, o and the saved logs. */
#include "core/op/heads.h"
#include "core/ops.h"

#include <math.h>
#ifndef LETHE_DOUBLE
#include <omp.h>
#endif

static Heads heads_in(const OpCall *c) {
    return heads_of(c->in[0], c->in[1], c->in[2], c->i[0]);
}

static void shape(OpCall *c) {
    const Tensor *q = c->in[0], *k = c->in[1], *v = c->in[2], *bias = c->in[3];
    if (q->ndim != 3 || !k != !v) op_die(c, "q must be (batch, tokens, width); k and v come together");
    int64_t width = tensor_last(q) / (k ? 1 : 3), heads = c->i[0];
    if (heads < 1 || width % heads || (!k && tensor_last(q) % 3))
        op_die(c, "width does not divide into heads");
    if (width / heads > ATTENTION_WIDEST) op_die(c, "a head is too wide");
    if (k && (k->ndim != 3 || !tensor_same_shape(k, v) || k->dim[0] != q->dim[0] || tensor_last(k) != width))
        op_die(c, "k and v must have q's batch and width");
    if (k && (k->dtype != q->dtype || v->dtype != q->dtype)) op_die(c, "q, k and v must have one dtype");
    int64_t m = k ? k->dim[1] : q->dim[1], out[3] = {q->dim[0], q->dim[1], width};
    if (bias && (bias->ndim != 4 || (bias->dim[0] != 1 && bias->dim[0] != q->dim[0]) ||
                 (bias->dim[1] != 1 && bias->dim[1] != heads) || bias->dim[2] != q->dim[1] ||
                 bias->dim[3] != m || bias->dtype != DT_F32))
        op_die(c, "bias must be f32 (1 or batch, 1 or heads, queries, keys)");
    op_out(c, 0, q->dtype, 3, out);
    int64_t logs[3] = {q->dim[0], heads, q->dim[1]};
    op_save(c, 0, DT_F32, 3, logs);
}

static double flops(const OpCall *c, bool backward) {
    Heads a = heads_in(c);
    return heads_flops(&a, backward);
}

/* The N x M bias of one sample and head, or NULL; also finds its gradient's place in g. */
static real *bias_of(const OpCall *c, const Tensor *t, int64_t b, int64_t h) {
    if (!t) return NULL;
    const Tensor *bias = c->in[3];
    int64_t at = (bias->dim[0] == 1 ? 0 : b) * bias->dim[1] + (bias->dim[1] == 1 ? 0 : h);
    return tensor_real(t) + at * bias->dim[2] * bias->dim[3];
}

static real score(const OpCall *c, const Heads *a, int64_t b, int64_t h, int64_t i, int64_t j,
                  const real *bias) {
    if (c->i[1] && j > i) return -(real)INFINITY;
    real s = 0;
    for (int64_t x = 0; x < a->d; x++)
        s += tensor_at(a->q, heads_query(a, b, h, i) + x) * tensor_at(a->k, heads_key(a, b, h, j) + x);
    return s / (real)sqrt((double)a->d) + (bias ? bias[i * a->m + j] : 0);
}

static void forward_ref(OpCall *c) {
    Heads a = heads_in(c);
    for (int64_t b = 0; b < a.batch; b++)
        for (int64_t h = 0; h < a.heads; h++)
            for (int64_t i = 0; i < a.n; i++) {
                const real *bias = bias_of(c, c->in[3], b, h);
                real top = -(real)INFINITY, sum = 0;
                for (int64_t j = 0; j < a.m; j++) {
                    real s = score(c, &a, b, h, i, j, bias);
                    if (s > top) top = s;
                }
                for (int64_t j = 0; j < a.m; j++)
                    sum += (real)exp((double)(score(c, &a, b, h, i, j, bias) - top));
                real log_sum = top + (real)log((double)sum);
                tensor_real(c->save[0])[(b * a.heads + h) * a.n + i] = log_sum;
                for (int64_t x = 0; x < a.d; x++) {
                    real o = 0;
                    for (int64_t j = 0; j < a.m; j++)
                        o += (real)exp((double)(score(c, &a, b, h, i, j, bias) - log_sum)) *
                             tensor_at(a.v, heads_value(&a, b, h, j) + x);
                    tensor_put(c->out[0], heads_output(&a, b, h, i) + x, o);
                }
            }
}

static void backward_ref(OpCall *c) {
    Heads a = heads_in(c);
    const Tensor *o = c->out[0], *g = o->grad;
    Tensor *dq = op_grad(c, 0, NULL), *dk = c->in[1] ? op_grad(c, 1, NULL) : dq;
    Tensor *dv = c->in[2] ? op_grad(c, 2, NULL) : dq, *dbias = op_grad(c, 3, NULL);
    real scale = (real)1 / (real)sqrt((double)a.d);
    for (int64_t b = 0; b < a.batch; b++)
        for (int64_t h = 0; h < a.heads; h++)
            for (int64_t i = 0; i < a.n; i++) {
                const real *bias = bias_of(c, c->in[3], b, h);
                real *db = bias_of(c, dbias, b, h);
                int64_t at = heads_output(&a, b, h, i), q_at = heads_query(&a, b, h, i);
                real dot = 0, log_sum = tensor_real(c->save[0])[(b * a.heads + h) * a.n + i];
                for (int64_t x = 0; x < a.d; x++) dot += tensor_at(g, at + x) * tensor_at(o, at + x);
                for (int64_t j = 0; j < a.m; j++) {
                    real p = (real)exp((double)(score(c, &a, b, h, i, j, bias) - log_sum)), dp = 0;
                    int64_t k_at = heads_key(&a, b, h, j), v_at = heads_value(&a, b, h, j);
                    for (int64_t x = 0; x < a.d; x++) dp += tensor_at(g, at + x) * tensor_at(a.v, v_at + x);
                    real ds = p * (dp - dot);
                    if (db) db[i * a.m + j] += ds;
                    for (int64_t x = 0; x < a.d; x++) {
                        if (dv) tensor_add(dv, v_at + x, p * tensor_at(g, at + x));
                        if (dq) tensor_add(dq, q_at + x, ds * scale * tensor_at(a.k, k_at + x));
                        if (dk) tensor_add(dk, k_at + x, ds * scale * tensor_at(a.q, q_at + x));
                    }
                }
            }
}

#ifndef LETHE_DOUBLE
/* Forward: sqrt(d) times the bias, or what a key that is not seen gets. */
static void tile_start(const void *self, const HeadBlock *at, const float *room, int64_t key, int64_t keys,
                       float *s, int64_t row) {
    (void)room;
    const OpCall *c = self;
    Heads a = heads_in(c);
    const float *bias = bias_of(c, c->in[3], at->b, at->h);
    float root = sqrtf((float)a.d);
    for (int64_t i = 0; i < at->rows; i++) {
        float *to = s + i * row;
        const float *from = bias ? bias + (at->first + i) * a.m + key : NULL;
        int64_t seen = c->i[1] ? at->first + i + 1 - key : keys;
        for (int64_t j = 0; j < keys; j++) to[j] = j >= seen ? -INFINITY : from ? from[j] * root : 0;
    }
}

static void forward_cpu(OpCall *c) {
    Heads a = heads_in(c);
    HeadScores add = {.self = c, .start = c->in[3] || c->i[1] ? tile_start : NULL};
    heads_forward(c, &a, &add, c->out[0], tensor_real(c->save[0]));
}

/* Backward: bias and causal mask. */
static void scores_add(const void *self, const HeadBlock *at, const float *q, float *room, float *s) {
    (void)q, (void)room;
    const OpCall *c = self;
    int64_t m = heads_in(c).m;
    const float *bias = bias_of(c, c->in[3], at->b, at->h);
    for (int64_t i = 0; i < at->rows; i++) {
        float *row = s + i * m;
        if (bias) {
            const float *b = bias + (at->first + i) * m;
#pragma omp simd
            for (int64_t j = 0; j < m; j++) row[j] += b[j];
        }
        for (int64_t j = at->first + i + 1; c->i[1] && j < m; j++) row[j] = -INFINITY;
    }
}

/* Into the bias's gradient, which backward_cpu has made. */
static void scores_grad(const void *self, const HeadBlock *at, const float *q, const float *ds, float *room,
                        float *dq) {
    (void)q, (void)room, (void)dq;
    const OpCall *c = self;
    int64_t m = heads_in(c).m;
    float *to = bias_of(c, c->in[3]->grad, at->b, at->h) + at->first * m;
#pragma omp simd
    for (int64_t j = 0; j < at->rows * m; j++) to[j] += ds[j];
}

static void backward_cpu(OpCall *c) {
    Heads a = heads_in(c);
    HeadGrads to = {0};
    to.q = op_grad(c, 0, &to.q_fresh);
    to.k = c->in[1] ? op_grad(c, 1, &to.k_fresh) : to.q;
    to.v = c->in[2] ? op_grad(c, 2, &to.v_fresh) : to.q;
    if (!c->in[1]) to.k_fresh = to.v_fresh = to.q_fresh; /* three parts of one tensor */
    const Tensor *bias = op_grad(c, 3, NULL);
    HeadScores add = {.self = c, .add = scores_add, .grad = bias ? scores_grad : NULL};
    /* A bias shared by several heads is summed by one thread in a fixed order: those heads are one task. */
    bool by_head = bias && c->in[3]->dim[1] > 1 && c->in[3]->dim[0] == 1;
    bool by_batch = bias && c->in[3]->dim[1] == 1 && c->in[3]->dim[0] > 1;
    bool alone = bias && tensor_count(c->in[3]) == a.n * a.m;
    int64_t tasks = alone ? 1 : by_head ? a.heads : by_batch ? a.batch : a.batch * a.heads;
    int64_t each = heads_backward_room(&a, &add);
    float *room = op_scratch(c, (size_t)omp_get_max_threads() * (size_t)each * sizeof(float));
#pragma omp parallel for schedule(static)
    for (int64_t task = 0; task < tasks; task++) {
        float *mine = room + omp_get_thread_num() * each;
        for (int64_t bh = 0; bh < a.batch * a.heads; bh++) {
            int64_t b = bh / a.heads, h = bh % a.heads;
            int64_t belongs = alone ? 0 : by_head ? h : by_batch ? b : bh;
            if (belongs == task)
                heads_backward(&a, &add, &to, c->out[0], tensor_real(c->save[0]), b, h, mine);
        }
    }
    op_scratch_free(c, room);
}
#endif

static const Probe probes[] = {
    {.about = "packed", .in = {{3, {2, 5, 24}}}, .i = {2, 0}},
    {.about = "packed, causal", .in = {{3, {1, 6, 12}}}, .i = {1, 1}},
    {.about = "cross", .in = {{3, {2, 3, 8}}, {3, {2, 5, 8}}, {3, {2, 5, 8}}}, .i = {2, 0}},
    {.about = "bias a head", .in = {{3, {2, 4, 24}}, {0}, {0}, {4, {1, 2, 4, 4}}}, .i = {2, 0}},
    {.about = "bias a sample",
     .in = {{3, {2, 4, 8}}, {3, {2, 3, 8}}, {3, {2, 3, 8}}, {4, {2, 1, 4, 3}}},
     .i = {2, 0}},
    {.about = "one bias", .in = {{3, {2, 3, 24}}, {0}, {0}, {4, {1, 1, 3, 3}}}, .i = {2, 0}},
    {.about = "many blocks", .in = {{3, {1, 130, 24}}}, .i = {1, 0}},
};

const Op attention_row = {
    .name = "attention",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_cpu), ON_CUDA(attention_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_cpu), ON_CUDA(attention_backward_cuda)},
    .needs = NEED_IN(0) | NEED_IN(1) | NEED_IN(2) | NEED_IN(3) | NEED_OUT(0),
    .flops = flops,
    .bf16 = true,
    .bf16_with = NEED_IN(1) | NEED_IN(2),
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_attention(Step *s, Tensor *q, Tensor *k, Tensor *v, Tensor *bias, int heads, bool causal) {
    return op_run(s, &attention_row, &(OpCall){.in = {q, k, v, bias}, .i = {heads, causal}});
}
