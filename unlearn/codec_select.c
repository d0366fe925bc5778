#include "core/rng.h"
#include "unlearn/codec_inside.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { STREAM = 0xF0C1 };

typedef struct Select {
    Codec codec;
    const CodecSettings *set;
    int n, most;      /* observations; columns to choose at the most */
    int usable, left; /* candidates that are not constant; of these, not chosen yet: the first of the list */
    double *column;   /* [count][n] of mean 0 and variance 1 */
    uint32_t *candidate; /* [usable] */
    double *t;           /* [left], of this round */
    CodecPair *start;    /* [usable] first columns, the best first */
    CodecChoice *choice; /* [most] of this start */
    int chosen;
} Select;

static const double *column_of(const Select *s, int column) {
    return s->column + (int64_t)column * s->n;
}

static void select_close(Select *s) {
    codec_close(&s->codec);
    mem_free(s->column);
    mem_free(s->candidate);
    mem_free(s->t);
    mem_free(s->start);
    mem_free(s->choice);
}

/* A column that never moves tells nothing, and has no scale: it is no candidate. */
static bool take_columns(Select *s, const float *columns, int count, Error *e) {
    for (int k = 0; k < count; k++) {
        if (codec_standard(columns + (int64_t)k * s->n, s->n, k, s->column + (int64_t)k * s->n, e))
            s->candidate[s->usable++] = (uint32_t)k;
        else if (e->code != ERROR_NONE)
            return false;
    }
    return true;
}

static bool select_open(Select *s, const double *y, const float *columns, int count, Error *e) {
    const size_t cells = (size_t)count * (size_t)s->n;
    s->most = s->set->most > 0 && s->set->most < count ? s->set->most : count;
    if (!codec_open(&s->codec, y, s->n, s->set->seed, e)) return false;
    s->column = mem_get(cells * sizeof *s->column);
    s->candidate = mem_get((size_t)count * sizeof *s->candidate);
    s->t = mem_get((size_t)count * sizeof *s->t);
    s->start = mem_get((size_t)count * sizeof *s->start);
    s->choice = mem_get((size_t)count * sizeof *s->choice);
    if (!s->column || !s->candidate || !s->t || !s->start || !s->choice)
        return error_memory(e, cells * sizeof *s->column);
    return take_columns(s, columns, count, e);
}

/* How many candidates this round looks at; they come to stand first. */
static int draw_subset(Select *s) {
    if (s->set->subset <= 0 || s->set->subset >= s->left) return s->left;
    Rng r = rng_sub(rng_open(s->set->seed, RNG_UNLEARN, 0, (uint64_t)s->chosen), STREAM);
    rng_shuffle(&r, s->candidate, (size_t)s->left);
    return s->set->subset;
}

static void measure_all(Select *s, int count) {
#pragma omp parallel for schedule(dynamic)
    for (int k = 0; k < count; k++)
        s->t[k] = codec_t(&s->codec, column_of(s, (int)s->candidate[k]), omp_get_thread_num());
}

/* The place of the candidate that is worth most, the lowest column of several. */
static int best_candidate(Select *s) {
    const int count = draw_subset(s);
    int best = 0;
    measure_all(s, count);
    for (int k = 1; k < count; k++)
        if (s->t[k] > s->t[best] || (s->t[k] == s->t[best] && s->candidate[k] < s->candidate[best])) best = k;
    return best;
}

static int place_of(const Select *s, int column) {
    int k = 0;
    while (s->candidate[k] != (uint32_t)column) k++;
    return k;
}

static bool choose(Select *s, int place, double t, Error *e) {
    const uint32_t column = s->candidate[place];
    s->choice[s->chosen++] = (CodecChoice){(int)column, t};
    s->candidate[place] = s->candidate[--s->left];
    s->candidate[s->left] = column;
    if (!codec_give(&s->codec, column_of(s, (int)column), e)) return false;
    codec_settle(&s->codec);
    return true;
}

static bool grow(Select *s, Error *e) {
    while (s->left > 0 && s->chosen < s->most) {
        const int best = best_candidate(s);
        if (s->t[best] <= s->set->least) return true;
        if (!choose(s, best, s->t[best], e)) return false;
    }
    return true;
}

/* X becomes the chosen columns but the k-th. */
static bool give_but(Select *s, int k, Error *e) {
    codec_forget(&s->codec);
    for (int j = 0; j < s->chosen; j++)
        if (j != k && !codec_give(&s->codec, column_of(s, s->choice[j].column), e)) return false;
    codec_settle(&s->codec);
    return true;
}

/* Each chosen column is weighed given all others; the one that is worth least goes, until all are worth
 * something.
 */
static bool shrink(Select *s, Error *e) {
    while (s->chosen > 0) {
        int worst = 0;
        for (int k = 0; k < s->chosen; k++) {
            if (!give_but(s, k, e)) return false;
            s->choice[k].t = codec_t(&s->codec, column_of(s, s->choice[k].column), 0);
            if (s->choice[k].t < s->choice[worst].t) worst = k;
        }
        if (s->choice[worst].t > s->set->least) return give_but(s, -1, e);
        s->chosen--;
        memmove(s->choice + worst, s->choice + worst + 1, (size_t)(s->chosen - worst) * sizeof *s->choice);
    }
    return true;
}

static int start_order(const void *a, const void *b) {
    const CodecPair *p = a, *q = b;
    if (p->key != q->key) return p->key > q->key ? -1 : 1;
    return (p->at > q->at) - (p->at < q->at);
}

/* How many first columns to try. One that is worth nothing alone is tried only where others are, too. */
static int list_starts(Select *s) {
    s->left = s->usable;
    s->chosen = 0;
    const int count = draw_subset(s), starts = s->set->starts > 1 ? s->set->starts : 1;
    measure_all(s, count);
    for (int k = 0; k < count; k++) s->start[k] = (CodecPair){s->t[k], (int32_t)s->candidate[k]};
    qsort(s->start, (size_t)count, sizeof *s->start, start_order);
    if (starts == 1 && count > 0 && s->start[0].key <= s->set->least) return 0;
    return starts < count ? starts : count;
}

static bool select_from(Select *s, const CodecPair *first, Error *e) {
    s->left = s->usable;
    s->chosen = 0;
    codec_forget(&s->codec);
    if (!choose(s, place_of(s, first->at), first->key, e) || !grow(s, e)) return false;
    return !s->set->prune || shrink(s, e);
}

bool codec_select(const double *y, const float *columns, int count, int n, const CodecSettings *set,
                  CodecChoice *choice, int *chosen, Error *e) {
    Select s = {.set = set, .n = n};
    double best = -INFINITY;
    bool ok = select_open(&s, y, columns, count, e);
    const int starts = ok ? list_starts(&s) : 0;
    *chosen = 0;
    for (int k = 0; ok && k < starts; k++) {
        if (!(ok = select_from(&s, s.start + k, e))) break;
        if (s.chosen == 0 || (s.chosen == 1 && s.choice[0].t <= set->least)) continue;
        if (codec_worth(&s.codec) <= best) continue;
        best = codec_worth(&s.codec);
        *chosen = s.chosen;
        memcpy(choice, s.choice, (size_t)s.chosen * sizeof *choice);
    }
    select_close(&s);
    return ok;
}
