/* attention: o = softmax(q k^T / sqrt(d) + bias) v, head by head.
 * q (B, N, H d)  k (B, M, H d)  v (B, M, H d)  bias (1 or B, 1 or H, N, M) or absent  ->  o (B, N, H d).
 * Packed: k and v absent, q (B, N, 3 H d) holds queries, keys, values in that order (timm's qkv).
 * i[0] = H, i[1] = causal: query n sees keys 0 .. n only.       Vaswani et al. 2017, 3.2; Dao et al. 2022.
 * The N x M matrix is never stored: forward works on BLOCK queries at a time and saves only the log of each
 * row's sum of exponents; backward computes a block's probabilities P again and, with g = dy,
 * D = rowsum(g o):  dv = P^T g,  dS = P (g v^T - D),  dq = dS k / sqrt(d),  dk = dS^T q / sqrt(d),  dbias =
 * dS. Backward reads q, k, v, bias, o and the saved logs. */
#include "core/op/simd.h"
#include "core/ops.h"

#include <math.h>
#include <string.h>
#ifndef LETHE_DOUBLE
#include <dnnl.h>
#include <omp.h>
#endif

enum { BLOCK = 64 }; /* queries at a time */

/* Where the heads lie: of one sample, element (token t, head h, channel j) at base + t * row + h * d + j. */
typedef struct Heads {
    int64_t batch, heads, d, n, m;
    int64_t q_row, k_row, k_at, v_at; /* k_at, v_at: offset of keys and values inside a packed row */
    Tensor *k, *v;
} Heads;

static Heads heads_of(const OpCall *c) {
    Heads a = {.batch = c->in[0]->dim[0], .heads = c->i[0], .n = c->in[0]->dim[1]};
    bool packed = !c->in[1];
    int64_t width = tensor_last(c->in[0]) / (packed ? 3 : 1);
    a.d = width / a.heads;
    a.q_row = tensor_last(c->in[0]);
    a.k = packed ? c->in[0] : c->in[1];
    a.v = packed ? c->in[0] : c->in[2];
    a.m = a.k->dim[1];
    a.k_row = tensor_last(a.k);
    a.k_at = packed ? width : 0;
    a.v_at = packed ? 2 * width : 0;
    return a;
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
    Heads a = heads_of(c);
    return (backward ? 2 : 1) * 4.0 * (double)a.batch * (double)a.heads * (double)a.n * (double)a.m *
           (double)a.d;
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
        s += tensor_at(c->in[0], (b * a->n + i) * a->q_row + h * a->d + x) *
             tensor_at(a->k, (b * a->m + j) * a->k_row + a->k_at + h * a->d + x);
    return s / (real)sqrt((double)a->d) + (bias ? bias[i * a->m + j] : 0);
}

static void forward_ref(OpCall *c) {
    Heads a = heads_of(c);
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
                             tensor_at(a.v, (b * a.m + j) * a.k_row + a.v_at + h * a.d + x);
                    tensor_put(c->out[0], (b * a.n + i) * a.heads * a.d + h * a.d + x, o);
                }
            }
}

static void backward_ref(OpCall *c) {
    Heads a = heads_of(c);
    const Tensor *o = c->out[0], *g = o->grad;
    Tensor *dq = op_grad(c, 0, NULL), *dk = c->in[1] ? op_grad(c, 1, NULL) : dq;
    Tensor *dv = c->in[2] ? op_grad(c, 2, NULL) : dq, *dbias = op_grad(c, 3, NULL);
    real scale = (real)1 / (real)sqrt((double)a.d);
    for (int64_t b = 0; b < a.batch; b++)
        for (int64_t h = 0; h < a.heads; h++)
            for (int64_t i = 0; i < a.n; i++) {
                const real *bias = bias_of(c, c->in[3], b, h);
                real *db = bias_of(c, dbias, b, h);
                int64_t at = (b * a.n + i) * a.heads * a.d + h * a.d,
                        q_at = (b * a.n + i) * a.q_row + h * a.d;
                real dot = 0, log_sum = tensor_real(c->save[0])[(b * a.heads + h) * a.n + i];
                for (int64_t x = 0; x < a.d; x++) dot += tensor_at(g, at + x) * tensor_at(o, at + x);
                for (int64_t j = 0; j < a.m; j++) {
                    real p = (real)exp((double)(score(c, &a, b, h, i, j, bias) - log_sum)), dp = 0;
                    int64_t k_at = (b * a.m + j) * a.k_row + a.k_at + h * a.d, v_at = k_at - a.k_at + a.v_at;
                    for (int64_t x = 0; x < a.d; x++) dp += tensor_at(g, at + x) * tensor_at(a.v, v_at + x);
                    real ds = p * (dp - dot);
                    if (db) db[i * a.m + j] += ds;
                    for (int64_t x = 0; x < a.d; x++) {
                        if (dv) tensor_add(dv, v_at + x, p * tensor_at(g, at + x));
                        if (dq) tensor_add(dq, q_at + x, ds * scale * tensor_at(a.k, k_at + x));
                        if (dk) tensor_add(dk, k_at + x, ds * scale * tensor_at(c->in[0], q_at + x));
                    }
                }
            }
}

#ifndef LETHE_DOUBLE
/* n rows of one head, `stride` apart from `at` on, as packed floats n x d; and the way back. */
static void head_load(const Tensor *t, int64_t at, int64_t stride, int64_t n, int64_t d, float *to) {
    for (int64_t i = 0; i < n; i++) {
        const float *row = tensor_strip(t, at + i * stride, d, to + i * d);
        if (row != to + i * d) memcpy(to + i * d, row, (size_t)d * sizeof *to);
    }
}

static void head_store(const Tensor *t, int64_t at, int64_t stride, int64_t n, int64_t d, float *from,
                       bool add) {
    float room[ATTENTION_WIDEST];
    for (int64_t i = 0; i < n; i++) {
        float *row = from + i * d;
        if (add) {
            const float *old = tensor_strip(t, at + i * stride, d, room);
#pragma omp simd
            for (int64_t x = 0; x < d; x++) row[x] += old[x];
        }
        tensor_strip_put(t, at + i * stride, d, row);
    }
}

static void multiply(char ta, char tb, int64_t m, int64_t n, int64_t k, const float *x, int64_t ldx,
                     const float *y, int64_t ldy, float beta, float *z, int64_t ldz) {
    if (dnnl_sgemm(ta, tb, m, n, k, 1.0f, x, ldx, y, ldy, beta, z, ldz) != dnnl_success)
        die("attention: dnnl_sgemm");
}

/* Adds bias and the causal mask to rows first .. first+rows-1 of the scores. */
static void scores_mask(const OpCall *c, float *s, int64_t first, int64_t rows, int64_t m,
                        const float *bias) {
    for (int64_t i = 0; i < rows; i++) {
        float *row = s + i * m;
        if (bias) {
            const float *b = bias + (first + i) * m;
#pragma omp simd
            for (int64_t j = 0; j < m; j++) row[j] += b[j];
        }
        for (int64_t j = first + i + 1; c->i[1] && j < m; j++) row[j] = -INFINITY;
    }
}

static void forward_head(const OpCall *c, const Heads *a, int64_t b, int64_t h, float *room) {
    float *q = room, *k = q + a->n * a->d, *v = k + a->m * a->d, *o = v + a->m * a->d, *s = o + BLOCK * a->d;
    float scale = 1.0f / sqrtf((float)a->d), *logs = tensor_real(c->save[0]) + (b * a->heads + h) * a->n;
    head_load(c->in[0], b * a->n * a->q_row + h * a->d, a->q_row, a->n, a->d, q);
    head_load(a->k, b * a->m * a->k_row + a->k_at + h * a->d, a->k_row, a->m, a->d, k);
    head_load(a->v, b * a->m * a->k_row + a->v_at + h * a->d, a->k_row, a->m, a->d, v);
    for (int64_t i = 0; i < a->n * a->d; i++) q[i] *= scale;
    for (int64_t first = 0; first < a->n; first += BLOCK) {
        int64_t rows = a->n - first < BLOCK ? a->n - first : BLOCK;
        multiply('N', 'T', rows, a->m, a->d, q + first * a->d, a->d, k, a->d, 0, s, a->m);
        scores_mask(c, s, first, rows, a->m, bias_of(c, c->in[3], b, h));
        for (int64_t i = 0; i < rows; i++) {
            float *row = s + i * a->m, top = row[0], sum = 0;
#pragma omp simd reduction(max : top)
            for (int64_t j = 0; j < a->m; j++) top = row[j] > top ? row[j] : top;
#pragma omp simd reduction(+ : sum)
            for (int64_t j = 0; j < a->m; j++) {
                row[j] = fast_exp(row[j] - top);
                sum += row[j];
            }
            logs[first + i] = top + logf(sum);
            float inverse = 1.0f / sum;
#pragma omp simd
            for (int64_t j = 0; j < a->m; j++) row[j] *= inverse;
        }
        multiply('N', 'N', rows, a->d, a->m, s, a->m, v, a->d, 0, o, a->d);
        int64_t width = a->heads * a->d;
        head_store(c->out[0], (b * a->n + first) * width + h * a->d, width, rows, a->d, o, false);
    }
}

static void forward_cpu(OpCall *c) {
    Heads a = heads_of(c);
    int64_t each = (a.n + 2 * a.m + BLOCK) * a.d + BLOCK * a.m, heads = a.batch * a.heads;
    float *room = op_scratch(c, (size_t)omp_get_max_threads() * (size_t)each * sizeof(float));
#pragma omp parallel for schedule(static)
    for (int64_t bh = 0; bh < heads; bh++)
        forward_head(c, &a, bh / a.heads, bh % a.heads, room + omp_get_thread_num() * each);
    op_scratch_free(c, room);
}

/* Gradients to write, and whether their memory is still undefined. */
typedef struct HeadGrads {
    Tensor *q, *k, *v, *bias;
    bool q_fresh, k_fresh, v_fresh;
} HeadGrads;

static void backward_head(const OpCall *c, const Heads *a, const HeadGrads *to, int64_t b, int64_t h,
                          float *room) {
    int64_t d = a->d, n = a->n, m = a->m, width = a->heads * d;
    float *q = room, *k = q + n * d, *v = k + m * d, *dq = v + m * d, *dk = dq + n * d, *dv = dk + m * d;
    float *g = dv + m * d, *o = g + BLOCK * d, *s = o + BLOCK * d, *ds = s + BLOCK * m;
    float scale = 1.0f / sqrtf((float)d), *bias = bias_of(c, c->in[3], b, h),
          *db = bias_of(c, to->bias, b, h);
    const float *logs = tensor_real(c->save[0]) + (b * a->heads + h) * n;
    int64_t q_at = b * n * a->q_row + h * d, k_at = b * m * a->k_row + a->k_at + h * d,
            v_at = b * m * a->k_row + a->v_at + h * d;
    head_load(c->in[0], q_at, a->q_row, n, d, q);
    head_load(a->k, k_at, a->k_row, m, d, k);
    head_load(a->v, v_at, a->k_row, m, d, v);
    for (int64_t i = 0; i < n * d; i++) q[i] *= scale; /* so that dk needs no scale of its own */
    memset(dk, 0, (size_t)(2 * m * d) * sizeof *dk);
    for (int64_t first = 0; first < n; first += BLOCK) {
        int64_t rows = n - first < BLOCK ? n - first : BLOCK, at = (b * n + first) * width + h * d;
        head_load(c->out[0]->grad, at, width, rows, d, g);
        head_load(c->out[0], at, width, rows, d, o);
        multiply('N', 'T', rows, m, d, q + first * d, d, k, d, 0, s, m);
        scores_mask(c, s, first, rows, m, bias);
        multiply('N', 'T', rows, m, d, g, d, v, d, 0, ds, m);
        for (int64_t i = 0; i < rows; i++) {
            float *p = s + i * m, *t = ds + i * m, dot = 0, log_sum = logs[first + i];
#pragma omp simd reduction(+ : dot)
            for (int64_t x = 0; x < d; x++) dot += g[i * d + x] * o[i * d + x];
#pragma omp simd
            for (int64_t j = 0; j < m; j++) {
                p[j] = fast_exp(p[j] - log_sum);
                t[j] = p[j] * (t[j] - dot);
            }
            if (db) {
                float *row = db + (first + i) * m;
#pragma omp simd
                for (int64_t j = 0; j < m; j++) row[j] += t[j];
            }
        }
        multiply('T', 'N', m, d, rows, s, m, g, d, 1, dv, d);
        multiply('T', 'N', m, d, rows, ds, m, q + first * d, d, 1, dk, d);
        multiply('N', 'N', rows, d, m, ds, m, k, d, 0, dq + first * d, d);
    }
    for (int64_t i = 0; i < n * d; i++) dq[i] *= scale;
    if (to->q) head_store(to->q, q_at, a->q_row, n, d, dq, !to->q_fresh);
    if (to->k) head_store(to->k, k_at, a->k_row, m, d, dk, !to->k_fresh);
    if (to->v) head_store(to->v, v_at, a->k_row, m, d, dv, !to->v_fresh);
}

static void backward_cpu(OpCall *c) {
    Heads a = heads_of(c);
    HeadGrads to = {.bias = op_grad(c, 3, NULL)};
    to.q = op_grad(c, 0, &to.q_fresh);
    to.k = c->in[1] ? op_grad(c, 1, &to.k_fresh) : to.q;
    to.v = c->in[2] ? op_grad(c, 2, &to.v_fresh) : to.q;
    if (!c->in[1]) to.k_fresh = to.v_fresh = to.q_fresh; /* three parts of one tensor */
    /* A bias shared by several heads is summed by one thread in a fixed order: those heads are one task. */
    bool by_head = to.bias && c->in[3]->dim[1] > 1 && c->in[3]->dim[0] == 1;
    bool by_batch = to.bias && c->in[3]->dim[1] == 1 && c->in[3]->dim[0] > 1;
    bool alone = to.bias && tensor_count(c->in[3]) == a.n * a.m;
    int64_t tasks = alone ? 1 : by_head ? a.heads : by_batch ? a.batch : a.batch * a.heads;
    int64_t each = (2 * a.n + 4 * a.m + 2 * BLOCK) * a.d + 2 * BLOCK * a.m;
    float *room = op_scratch(c, (size_t)omp_get_max_threads() * (size_t)each * sizeof(float));
#pragma omp parallel for schedule(static)
    for (int64_t task = 0; task < tasks; task++) {
        float *mine = room + omp_get_thread_num() * each;
        for (int64_t bh = 0; bh < a.batch * a.heads; bh++) {
            int64_t b = bh / a.heads, h = bh % a.heads;
            int64_t belongs = alone ? 0 : by_head ? h : by_batch ? b : bh;
            if (belongs == task) backward_head(c, &a, &to, b, h, mine);
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
