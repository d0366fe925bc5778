#include "core/op/heads.h"

#include "core/op/simd.h"
#include "core/ops.h"

#include <math.h>

Heads heads_of(Tensor *q, Tensor *k, Tensor *v, int64_t heads) {
    Heads a = {.batch = q->dim[0], .heads = heads, .n = q->dim[1]};
    int64_t width = tensor_last(q) / (k ? 1 : 3);
    a.d = width / heads;
    a.q_row = tensor_last(q);
    a.q = q;
    a.k = k ? k : q;
    a.v = k ? v : q;
    a.m = a.k->dim[1];
    a.k_row = tensor_last(a.k);
    a.k_at = k ? 0 : width;
    a.v_at = k ? 0 : 2 * width;
    return a;
}

double heads_flops(const Heads *a, bool backward) {
    return (backward ? 2 : 1) * 4.0 * (double)a->batch * (double)a->heads * (double)a->n * (double)a->m *
           (double)a->d;
}

#ifndef LETHE_DOUBLE
#include <dnnl.h>

enum { BLOCK = 64 }; /* queries at a time */

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

void heads_multiply(char tx, char ty, int64_t m, int64_t n, int64_t k, const float *x, int64_t ldx,
                    const float *y, int64_t ldy, float beta, float *z, int64_t ldz) {
    if (dnnl_sgemm(tx, ty, m, n, k, 1.0f, x, ldx, y, ldy, beta, z, ldz) != dnnl_success)
        die("attention: dnnl_sgemm");
}

/* A thread's memory for one head's backward. */
typedef struct Room {
    float *q, *k, *v, *dq, *dk, *dv;  /* whole */
    float *g, *o, *scores, *ds, *own; /* of a block; own: HeadScores.room */
} Room;

int64_t heads_backward_room(const Heads *a, const HeadScores *add) {
    return (2 * a->n + 4 * a->m + 2 * BLOCK) * a->d + 2 * BLOCK * a->m + BLOCK * add->room;
}

static Room room_cut(const Heads *a, float *p) {
    int64_t n = a->n * a->d, m = a->m * a->d, block = BLOCK * a->d, scores = BLOCK * a->m;
    Room r = {.q = p};
    r.k = r.q + n;
    r.v = r.k + m;
    r.dq = r.v + m;
    r.dk = r.dq + n;
    r.dv = r.dk + m;
    r.g = r.dv + m;
    r.o = r.g + block;
    r.scores = r.o + block;
    r.ds = r.scores + scores;
    r.own = r.ds + scores;
    return r;
}

/* The block's probabilities and the gradients of its scores, from the scores and, in ds, g v^T. */
static void block_softmax(const Heads *a, const Room *r, int64_t rows, const float *logs) {
    for (int64_t i = 0; i < rows; i++) {
        float *p = r->scores + i * a->m, *t = r->ds + i * a->m, dot = 0, log_sum = logs[i];
        const float *g = r->g + i * a->d, *o = r->o + i * a->d;
#pragma omp simd reduction(+ : dot)
        for (int64_t x = 0; x < a->d; x++) dot += g[x] * o[x];
#pragma omp simd
        for (int64_t j = 0; j < a->m; j++) {
            p[j] = fast_exp(p[j] - log_sum);
            t[j] = p[j] * (t[j] - dot);
        }
    }
}

static void block_backward(const Heads *a, const HeadScores *add, const Tensor *o, const float *logs,
                           const HeadBlock *at, const Room *r) {
    int64_t d = a->d, m = a->m, rows = at->rows, width = a->heads * d;
    const float *q = r->q + at->first * d;
    float *dq = r->dq + at->first * d;
    head_load(o->grad, heads_output(a, at->b, at->h, at->first), width, rows, d, r->g);
    head_load(o, heads_output(a, at->b, at->h, at->first), width, rows, d, r->o);
    heads_multiply('N', 'T', rows, m, d, q, d, r->k, d, 0, r->scores, m);
    if (add->add) add->add(add->self, at, q, r->own, r->scores);
    heads_multiply('N', 'T', rows, m, d, r->g, d, r->v, d, 0, r->ds, m);
    block_softmax(a, r, rows, logs + at->first);
    heads_multiply('T', 'N', m, d, rows, r->scores, m, r->g, d, 1, r->dv, d);
    heads_multiply('T', 'N', m, d, rows, r->ds, m, q, d, 1, r->dk, d);
    heads_multiply('N', 'N', rows, d, m, r->ds, m, r->k, d, 0, dq, d);
    if (add->grad) add->grad(add->self, at, q, r->ds, r->own, dq);
}

void heads_backward(const Heads *a, const HeadScores *add, const HeadGrads *to, const Tensor *o,
                    const float *logs, int64_t b, int64_t h, float *room) {
    Room r = room_cut(a, room);
    float scale = 1.0f / sqrtf((float)a->d);
    int64_t d = a->d, n = a->n, m = a->m;
    head_load(a->q, heads_query(a, b, h, 0), a->q_row, n, d, r.q);
    head_load(a->k, heads_key(a, b, h, 0), a->k_row, m, d, r.k);
    head_load(a->v, heads_value(a, b, h, 0), a->k_row, m, d, r.v);
    for (int64_t i = 0; i < n * d; i++) r.q[i] *= scale; /* so that dk needs no scale of its own */
    memset(r.dk, 0, (size_t)(2 * m * d) * sizeof *r.dk);
    for (int64_t first = 0; first < n; first += BLOCK) {
        HeadBlock at = {b, h, first, n - first < BLOCK ? n - first : BLOCK};
        block_backward(a, add, o, logs + (b * a->heads + h) * n, &at, &r);
    }
    for (int64_t i = 0; i < n * d; i++) r.dq[i] *= scale;
    if (to->q) head_store(to->q, heads_query(a, b, h, 0), a->q_row, n, d, r.dq, !to->q_fresh);
    if (to->k) head_store(to->k, heads_key(a, b, h, 0), a->k_row, m, d, r.dk, !to->k_fresh);
    if (to->v) head_store(to->v, heads_value(a, b, h, 0), a->k_row, m, d, r.dv, !to->v_fresh);
}
#endif
