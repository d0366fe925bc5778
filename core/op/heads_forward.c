/* heads: the forward loop. A thread packs a head's keys and values once, then takes BLOCK queries at a time
 * through TILE keys at a time, which stay in its cache, keeping each row's maximum and sum so far (Milakov
 * and Gimelshein 2018; Dao et al. 2022). Products in bf16 where tensors are and the processor can. */
#include "core/op/heads.h"

#ifndef LETHE_DOUBLE

#include "core/op/simd.h"

#include <math.h>
#include <omp.h>

enum { BLOCK = 96, TILE = 256, SCORE_ROW = TILE + PANEL_LANES };

typedef struct Forward {
    const Heads *a;
    const HeadScores *add;
    const Tensor *o;
    float *logs;
    bool half;
    int64_t depth;       /* words of a head's row */
    int64_t vecs, width; /* of the keys; floats of a value's row, rounded up */
} Forward;

typedef struct Room {
    Word *k, *v;        /* of the head */
    Word *q, *p;        /* of the block; p: the tile's probabilities in bf16 */
    float *s, *o, *own; /* o: BLOCK x width; own: HeadScores.room */
    float *top, *sum;   /* of each row so far; top times sqrt(d) */
} Room;

static int64_t key_words(const Forward *f) {
    return f->vecs * PANEL_LANES * f->depth;
}
static int64_t value_words(const Forward *f) {
    return f->vecs * PANEL_LANES * f->width / (f->half ? 2 : 1);
}

static int64_t room_words(const Forward *f) {
    int64_t n = key_words(f) + value_words(f) +
                BLOCK * (f->depth + TILE / 2 + SCORE_ROW + f->width + f->add->room + 2);
    return panel_up(n, 16);
}

static Room room_cut(const Forward *f, Word *at) {
    Room r = {.k = at};
    r.v = r.k + key_words(f);
    r.p = r.v + value_words(f);
    r.s = (float *)(r.p + (int64_t)BLOCK * (TILE / 2));
    r.o = r.s + (int64_t)BLOCK * SCORE_ROW;
    r.q = (Word *)(r.o + BLOCK * f->width);
    r.own = (float *)(r.q + BLOCK * f->depth);
    r.top = r.own + BLOCK * f->add->room;
    r.sum = r.top + BLOCK;
    return r;
}

/* Words of t from element `at` on, where a word is what the products take. */
static const Word *words_at(const Tensor *t, int64_t at) {
    return (const Word *)((const char *)t->data + (size_t)at * dtype_size(t->dtype));
}
static bool are_words(const Forward *f, const Tensor *t) {
    return f->half || t->dtype == DT_F32;
}

/* Elements at .. at + d - 1 of t as floats in `to`. */
static void strip_copy(const Tensor *t, int64_t at, int64_t d, float *to) {
    const float *from = tensor_strip(t, at, d, to);
    if (from != to) memcpy(to, from, (size_t)d * sizeof *to);
}

/* Rows of d elements, `stride` apart, as words. */
static void rows_copy(const Forward *f, const Tensor *t, int64_t at, int64_t stride, int64_t n, Word *to) {
    for (int64_t i = 0; i < n; i++, at += stride, to += f->depth) {
        if (are_words(f, t))
            memcpy(to, words_at(t, at), (size_t)f->depth * sizeof *to);
        else
            strip_copy(t, at, f->a->d, (float *)to);
    }
}

/* Through a copy, where the values will come: reading far rows word by word would wait for each. */
static void keys_load(const Forward *f, const Room *r, int64_t b, int64_t h) {
    rows_copy(f, f->a->k, heads_key(f->a, b, h, 0), f->a->k_row, f->a->m, r->v);
    panel_pack(r->k, f->vecs, r->v, f->depth, f->a->m, f->depth);
}

/* Pairs of rows: word x of pair j holds element x of rows 2 j and 2 j + 1. */
static void values_pair(const Forward *f, const Room *r, const bf16 *v) {
    const Heads *a = f->a;
    for (int64_t j = 0; j + 1 < a->m; j += 2) {
        const bf16 *even = v + j * a->k_row, *odd = even + a->k_row;
        Word *to = r->v + j / 2 * f->width;
#pragma omp simd
        for (int64_t x = 0; x < a->d; x++) to[x] = (Word)even[x] | (Word)odd[x] << 16;
    }
    for (int64_t x = 0; x < a->d && a->m % 2; x++)
        r->v[a->m / 2 * f->width + x] = v[(a->m - 1) * a->k_row + x];
}

static void values_load(const Forward *f, const Room *r, int64_t b, int64_t h) {
    const Heads *a = f->a;
    int64_t at = heads_value(a, b, h, 0);
    if (f->width > a->d)
        memset(r->v, 0, (size_t)value_words(f) * sizeof *r->v);
    else
        memset(r->v + a->m / (f->half ? 2 : 1) * f->width, 0,
               (size_t)(value_words(f) - a->m / (f->half ? 2 : 1) * f->width) * sizeof *r->v);
    if (f->half) {
        values_pair(f, r, tensor_bf16(a->v) + at);
        return;
    }
    for (int64_t j = 0; j < a->m; j++)
        strip_copy(a->v, at + j * a->k_row, a->d, (float *)(r->v + j * f->width));
}

/* One row of a tile: its maximum and sum so far grow, o shrinks to the new maximum, s becomes e^(s - top). */
static void row_softmax(const Forward *f, float *s, int64_t n, float factor, float *top, float *sum,
                        float *o) {
    float most = *top, part = 0;
#pragma omp simd reduction(max : most)
    for (int64_t j = 0; j < n; j++) most = s[j] > most ? s[j] : most;
    float base = most == -INFINITY ? 0 : most; /* so far this row has seen no key */
    float keep = fast_exp2((*top - base) * factor), shift = base * factor;
#pragma omp simd reduction(+ : part)
    for (int64_t j = 0; j < n; j++) {
        s[j] = fast_exp2(s[j] * factor - shift);
        part += s[j];
    }
    *sum = *sum * keep + part;
    *top = most;
#pragma omp simd
    for (int64_t x = 0; x < f->width; x++) o[x] *= keep;
}

/* Keys of panels p .. past - 1, of which `keys` exist. */
static void tile_forward(const Forward *f, const Room *r, const HeadBlock *at, int64_t p, int64_t past) {
    int64_t up = panel_up(at->rows, PANEL_ROWS), key = panel_first(f->vecs, p) * PANEL_LANES;
    int64_t cols = panel_first(f->vecs, past) * PANEL_LANES - key;
    int64_t keys = f->a->m - key < cols ? f->a->m - key : cols;
    if (f->add->start) f->add->start(f->add->self, at, r->own, key, keys, r->s, SCORE_ROW);
    int64_t begun = f->add->start ? at->rows : 0;
    memset(r->s + begun * SCORE_ROW, 0, (size_t)((up - begun) * SCORE_ROW) * sizeof *r->s);
    for (int64_t i = 0; i < up; i++)
        for (int64_t j = keys; j < cols; j++) r->s[i * SCORE_ROW + j] = -INFINITY;
    for (; p < past; p++) {
        int64_t from = panel_first(f->vecs, p), w = panel_first(f->vecs, p + 1) - from;
        panel_multiply(f->half, up, w, f->depth, r->q, f->depth, r->k + from * PANEL_LANES * f->depth,
                       w * PANEL_LANES, r->s + from * PANEL_LANES - key, SCORE_ROW);
    }
    float factor = 1.44269504f / sqrtf((float)f->a->d);
    for (int64_t i = 0; i < up; i++) {
        float *s = r->s + i * SCORE_ROW;
        row_softmax(f, s, cols, factor, &r->top[i], &r->sum[i], r->o + i * f->width);
        if (f->half) panel_round(r->p + i * (TILE / 2), s, cols);
    }
    const Word *weight = f->half ? r->p : (const Word *)r->s;
    int64_t pair = f->half ? 2 : 1, vecs = f->width / PANEL_LANES;
    for (int64_t x = 0; x < panel_count(vecs); x++) {
        int64_t from = panel_first(vecs, x) * PANEL_LANES,
                w = panel_first(vecs, x + 1) - panel_first(vecs, x);
        panel_multiply(f->half, up, w, cols / pair, weight, f->half ? TILE / 2 : SCORE_ROW,
                       r->v + key / pair * f->width + from, f->width, r->o + from, f->width);
    }
}

static void block_forward(const Forward *f, const Room *r, const HeadBlock *at) {
    const Heads *a = f->a;
    int64_t up = panel_up(at->rows, PANEL_ROWS), panels = panel_count(f->vecs);
    rows_copy(f, a->q, heads_query(a, at->b, at->h, at->first), a->q_row, at->rows, r->q);
    memset(r->q + at->rows * f->depth, 0, (size_t)((up - at->rows) * f->depth) * sizeof *r->q);
    memset(r->o, 0, (size_t)(up * f->width) * sizeof *r->o);
    for (int64_t i = 0; i < up; i++) {
        r->top[i] = -INFINITY;
        r->sum[i] = 0;
    }
    if (f->add->block) f->add->block(f->add->self, at, f->half, r->q, f->depth, r->own);
    for (int64_t p = 0, past; p < panels; p = past) {
        past = p + TILE / PANEL_COLS < panels ? p + TILE / PANEL_COLS : panels;
        tile_forward(f, r, at, p, past);
    }
    float scale = 1.0f / sqrtf((float)a->d);
    for (int64_t i = 0; i < at->rows; i++) {
        float *o = r->o + i * f->width, inverse = 1.0f / r->sum[i];
        f->logs[(at->b * a->heads + at->h) * a->n + at->first + i] = r->top[i] * scale + logf(r->sum[i]);
#pragma omp simd
        for (int64_t x = 0; x < a->d; x++) o[x] *= inverse;
        tensor_strip_put(f->o, heads_output(a, at->b, at->h, at->first + i), a->d, o);
    }
}

bool heads_half(const Heads *a) {
    return a->q->dtype == DT_BF16 && a->d % 2 == 0 && panel_has_half();
}

int64_t heads_depth(const Heads *a) {
    return heads_half(a) ? a->d / 2 : a->d;
}

void heads_forward(OpCall *c, const Heads *a, const HeadScores *add, const Tensor *o, float *logs) {
    Forward f = {.a = a, .add = add, .o = o, .logs = logs, .half = heads_half(a), .depth = heads_depth(a)};
    f.vecs = panel_up(a->m, PANEL_LANES) / PANEL_LANES;
    f.width = panel_up(a->d, PANEL_LANES);
    if (a->n == 0) return;
    int64_t least = (a->n + BLOCK - 1) / BLOCK, each = panel_up((a->n + least - 1) / least, PANEL_ROWS);
    int64_t blocks = (a->n + each - 1) / each, words = room_words(&f);
    Word *room = op_scratch(c, (size_t)omp_get_max_threads() * (size_t)words * sizeof *room);
#pragma omp parallel
    {
        Room r = room_cut(&f, room + omp_get_thread_num() * words);
        int64_t loaded = -1;
#pragma omp for schedule(static)
        for (int64_t i = 0; i < a->batch * a->heads * blocks; i++) {
            int64_t head = i / blocks, first = i % blocks * each;
            HeadBlock at = {head / a->heads, head % a->heads, first,
                            a->n - first < each ? a->n - first : each};
            if (head != loaded) {
                keys_load(&f, &r, at.b, at.h);
                values_load(&f, &r, at.b, at.h);
                loaded = head;
            }
            block_forward(&f, &r, &at);
        }
    }
    op_scratch_free(c, room);
}
#endif
