/* heads: what the attention ops share on the CPU: where the heads lie in their tensors, and the loops over
 * blocks of queries that never hold all scores. An op says what it adds to the scores by a HeadScores. */
#ifndef LETHE_OP_HEADS_H
#define LETHE_OP_HEADS_H

#include "core/op.h"
#include "core/op/panel.h"

/* Of one sample, element (token t, head h, channel j) stands at base + t * row + h * d + j. */
typedef struct Heads {
    int64_t batch, heads, d, n, m;    /* n queries, m keys */
    int64_t q_row, k_row, k_at, v_at; /* k_at, v_at: offset of keys and values inside a packed row */
    Tensor *q, *k, *v;
} Heads;

/* k and v NULL: q holds queries, keys and values in that order. */
Heads heads_of(Tensor *q, Tensor *k, Tensor *v, int64_t heads);

/* FLOP of the products, forward or backward. */
double heads_flops(const Heads *a, bool backward);

static inline int64_t heads_query(const Heads *a, int64_t b, int64_t h, int64_t i) {
    return (b * a->n + i) * a->q_row + h * a->d;
}
static inline int64_t heads_key(const Heads *a, int64_t b, int64_t h, int64_t j) {
    return (b * a->m + j) * a->k_row + a->k_at + h * a->d;
}
static inline int64_t heads_value(const Heads *a, int64_t b, int64_t h, int64_t j) {
    return (b * a->m + j) * a->k_row + a->v_at + h * a->d;
}
static inline int64_t heads_output(const Heads *a, int64_t b, int64_t h, int64_t i) {
    return ((b * a->n + i) * a->heads + h) * a->d;
}

#ifndef LETHE_DOUBLE

/* Whether forward multiplies pairs of bf16, and the words of a head's row then. */
bool heads_half(const Heads *a);
int64_t heads_depth(const Heads *a);

/* Queries first .. first+rows-1 of one head. */
typedef struct HeadBlock {
    int64_t b, h, first, rows;
} HeadBlock;

/* What an op adds to the scores q k^T / sqrt(d). `room`: floats for each query of a block. NULL functions:
 * nothing. Called from many threads. */
typedef struct HeadScores {
    const void *self;
    int64_t room;
    /* Forward. The queries as panel_multiply takes them, `depth` words a row, rows rounded up to PANEL_ROWS.
     */
    void (*block)(const void *self, const HeadBlock *at, bool half, const Word *q, int64_t depth,
                  float *room);
    /* s[i * row + j] = sqrt(d) times what is added for query first + i and key `key` + j, j < keys. It may
     * write PANEL_LANES - 1 floats more after each row. */
    void (*start)(const void *self, const HeadBlock *at, const float *room, int64_t key, int64_t keys,
                  float *s, int64_t row);
    /* Backward. q: the block's queries / sqrt(d), packed. Adds to s [rows, m]. */
    void (*add)(const void *self, const HeadBlock *at, const float *q, float *room, float *s);
    /* ds [rows, m]: the gradient of the scores; dq: the queries' gradient times sqrt(d), to add to. */
    void (*grad)(const void *self, const HeadBlock *at, const float *q, const float *ds, float *room,
                 float *dq);
} HeadScores;

/* o and logs (batch, heads, n): the log of each row's sum of exponents. */
void heads_forward(OpCall *c, const Heads *a, const HeadScores *add, const Tensor *o, float *logs);

/* Gradients to write, NULL where nobody wants one, and whether their memory is still undefined. */
typedef struct HeadGrads {
    Tensor *q, *k, *v;
    bool q_fresh, k_fresh, v_fresh;
} HeadGrads;

/* Of one head; o->grad is read. room: heads_backward_room floats. */
void heads_backward(const Heads *a, const HeadScores *add, const HeadGrads *to, const Tensor *o,
                    const float *logs, int64_t b, int64_t h, float *room);
int64_t heads_backward_room(const Heads *a, const HeadScores *add);

/* z [m, n] = x y + beta z, in f32, by the calling thread. 'T': x, y stand transposed. */
void heads_multiply(char tx, char ty, int64_t m, int64_t n, int64_t k, const float *x, int64_t ldx,
                    const float *y, int64_t ldy, float beta, float *z, int64_t ldz);

#endif
#endif
