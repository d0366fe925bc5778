#include "core/rng.h"
#include "unlearn/codec_inside.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { STREAM = 0xC0DEC }; /* keeps these draws apart from others made for unlearning */

static int pair_order(const void *a, const void *b) {
    const CodecPair *p = a, *q = b;
    if (p->key != q->key) return p->key < q->key ? -1 : 1;
    return (p->at > q->at) - (p->at < q->at);
}

/* Which of `ties` equally near observations is the neighbour of i. One draw an observation, whatever the
 * columns: a column that only repeats X then has the neighbours of X, and T = 0 exactly. */
static int draw(const Codec *c, int i, int ties) {
    if (ties == 1) return 0;
    Rng r = rng_sub(rng_open(c->seed, RNG_UNLEARN, 0, (uint64_t)i), STREAM);
    return (int)rng_below(&r, (uint64_t)ties);
}

static int64_t lesser_rank(const Codec *c, int i, int j) {
    return c->rank[i] < c->rank[j] ? c->rank[i] : c->rank[j];
}

/* Runs of equal values share their ranks: R is the place of the last of the run, n - L that before the first.
 */
static void rank_all(Codec *c, const double *y) {
    const int n = c->n;
    for (int i = 0; i < n; i++) c->pair[i] = (CodecPair){y[i], i};
    qsort(c->pair, (size_t)n, sizeof *c->pair, pair_order);
    for (int from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && c->pair[to].key == c->pair[from].key; to++) {}
        int64_t upper = n - from, run = to - from;
        for (int k = from; k < to; k++) c->rank[c->pair[k].at] = to;
        c->square += run * upper * upper;
        c->spread += run * upper * (n - upper);
    }
}

bool codec_open(Codec *c, const double *y, int n, uint64_t seed, Error *e) {
    if (n < CODEC_LEAST || n > CODEC_MOST)
        return error_set(e, ERROR_VALUE, "codec: %d observations; possible are %d to %d", n, CODEC_LEAST,
                         CODEC_MOST);
    for (int i = 0; i < n; i++)
        if (!isfinite(y[i]))
            return error_set(e, ERROR_NUMERIC, "codec: y of observation %d is not finite", i);
    size_t scratch = (size_t)omp_get_max_threads() * (size_t)n;
    *c = (Codec){.n = n, .seed = seed};
    c->rank = mem_get((size_t)n * sizeof *c->rank);
    c->pair = mem_get(scratch * sizeof *c->pair);
    c->tie = mem_get(scratch * sizeof *c->tie);
    if (!c->rank || !c->pair || !c->tie) {
        codec_close(c);
        return error_memory(e, scratch * sizeof *c->pair);
    }
    rank_all(c, y);
    return true;
}

void codec_close(Codec *c) {
    mem_free(c->rank);
    mem_free(c->pair);
    mem_free(c->tie);
    mem_free(c->distance);
    mem_free(c->order);
    *c = (Codec){0};
}

void codec_forget(Codec *c) {
    c->given = 0;
}

bool codec_give(Codec *c, const double *z, Error *e) {
    const int n = c->n;
    const size_t cells = (size_t)n * (size_t)n;
    if (!c->distance) c->distance = mem_get(cells * sizeof *c->distance);
    if (!c->order) c->order = mem_get((size_t)n * CODEC_NEAR * sizeof *c->order);
    if (!c->distance || !c->order) return error_memory(e, cells * sizeof *c->distance);
    if (c->given++ == 0) memset(c->distance, 0, cells * sizeof *c->distance);
#pragma omp parallel for schedule(static)
    for (int i = 0; i < n; i++) {
        double *d = c->distance + (int64_t)i * n;
        for (int j = 0; j < n; j++) d[j] += (z[i] - z[j]) * (z[i] - z[j]);
    }
    return true;
}

/* The nearest to i in X, nearest first, the lower number first of two as near. */
static void order_row(Codec *c, int i) {
    const double *d = c->distance + (int64_t)i * c->n;
    int32_t *order = c->order + (int64_t)i * CODEC_NEAR;
    int count = 0;
    for (int j = 0; j < c->n; j++) {
        if (j == i || (count == CODEC_NEAR && d[j] >= d[order[count - 1]])) continue;
        int at = count < CODEC_NEAR ? count++ : count - 1;
        for (; at > 0 && d[order[at - 1]] > d[j]; at--) order[at] = order[at - 1];
        order[at] = j;
    }
}

/* The nearest found so far, and all that are as near. */
typedef struct Nearest {
    double best;
    int32_t *tie;
    int ties;
} Nearest;

static void meet(Nearest *f, int j, double distance) {
    if (distance > f->best) return;
    if (distance < f->best) f->ties = 0;
    f->best = distance;
    f->tie[f->ties++] = j;
}

/* N(i), or with z M(i), by looking at all. */
static int nearest_of_all(const Codec *c, const double *z, int i, int32_t *tie) {
    const double *d = c->distance + (int64_t)i * c->n;
    Nearest f = {.best = INFINITY, .tie = tie};
    for (int j = 0; j < c->n; j++)
        if (j != i) meet(&f, j, z ? d[j] + (z[i] - z[j]) * (z[i] - z[j]) : d[j]);
    return tie[draw(c, i, f.ties)];
}

void codec_settle(Codec *c) {
    int64_t known = 0, unknown = 0;
    if (c->given == 0) return;
#pragma omp parallel for schedule(static) reduction(+ : known, unknown)
    for (int i = 0; i < c->n; i++) {
        order_row(c, i);
        int64_t least = lesser_rank(c, i, nearest_of_all(c, NULL, i, c->tie + omp_get_thread_num() * c->n));
        known += least;
        unknown += c->rank[i] - least;
    }
    c->known = known;
    c->unknown = unknown;
}

/* The quotient of T(Y, Z), from sum_i min(R_i, R_M(i)). */
static double share(const Codec *c, int64_t sum) {
    return c->spread == 0 ? 0 : (double)(c->n * sum - c->square) / (double)c->spread;
}

double codec_worth(const Codec *c) {
    return share(c, c->known);
}

/* ---- T(Y, Z): neighbours on a line lie beside each other once it is sorted ---- */

/* Observations first .. last - 1 of the sorted line have one value. Their neighbours are each other or, for
 * one alone, the run before, the run after, or both. A run begins at `before` and one ends at `after`. */
static int line_neighbour(const Codec *c, const CodecPair *line, int k, int first, int last) {
    const int n = c->n;
    if (last - first > 1) {
        int at = first + draw(c, line[k].at, last - first - 1);
        return line[at + (at >= k)].at;
    }
    double below = k > 0 ? line[k].key - line[k - 1].key : INFINITY;
    double above = k < n - 1 ? line[k + 1].key - line[k].key : INFINITY;
    int from = k, to = k + 1;
    if (below <= above)
        while (from > 0 && line[from - 1].key == line[k - 1].key) from--;
    if (above <= below)
        while (to < n && line[to].key == line[k + 1].key) to++;
    int at = from + draw(c, line[k].at, to - from - 1);
    return line[at + (at >= k)].at;
}

static double alone(const Codec *c, const double *z, CodecPair *line) {
    const int n = c->n;
    int64_t sum = 0;
    for (int i = 0; i < n; i++) line[i] = (CodecPair){z[i], i};
    qsort(line, (size_t)n, sizeof *line, pair_order);
    for (int first = 0, last; first < n; first = last) {
        for (last = first + 1; last < n && line[last].key == line[first].key; last++) {}
        for (int k = first; k < last; k++)
            sum += lesser_rank(c, line[k].at, line_neighbour(c, line, k, first, last));
    }
    return share(c, sum);
}

/* ---- T(Y, Z | X): from the nearest in X on, until X alone is farther than the nearest in (X, Z) ---- */

static int joint_neighbour(const Codec *c, const double *z, int i, int32_t *tie) {
    const int32_t *order = c->order + (int64_t)i * CODEC_NEAR;
    const double *d = c->distance + (int64_t)i * c->n;
    Nearest f = {.best = INFINITY, .tie = tie};
    for (int k = 0; k < CODEC_NEAR && k < c->n - 1; k++) {
        const int j = order[k];
        if (d[j] > f.best) return tie[draw(c, i, f.ties)];
        meet(&f, j, d[j] + (z[i] - z[j]) * (z[i] - z[j]));
    }
    return nearest_of_all(c, z, i, tie);
}

double codec_t(const Codec *c, const double *z, int thread) {
    int64_t sum = 0;
    if (c->given == 0) return alone(c, z, c->pair + thread * c->n);
    if (c->unknown == 0) return 0;
    for (int i = 0; i < c->n; i++) sum += lesser_rank(c, i, joint_neighbour(c, z, i, c->tie + thread * c->n));
    return (double)(sum - c->known) / (double)c->unknown;
}

bool codec_standard(const float *x, int n, int number, double *z, Error *e) {
    double mean = 0, square = 0;
    bool same = true;
    e->code = ERROR_NONE;
    for (int i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            return error_set(e, ERROR_NUMERIC, "codec: column %d is not finite at observation %d", number, i);
        same = same && x[i] == x[0];
        mean += (double)x[i] / n;
    }
    if (same) return false;
    for (int i = 0; i < n; i++) square += ((double)x[i] - mean) * ((double)x[i] - mean) / n;
    for (int i = 0; i < n; i++) z[i] = ((double)x[i] - mean) / sqrt(square);
    return true;
}

bool codec_measure(const double *y, const float *x, int given, const float *z, int n, uint64_t seed,
                   double *t, Error *e) {
    Codec c;
    bool ok = false;
    if (!codec_open(&c, y, n, seed, e)) return false;
    double *column = mem_get((size_t)n * sizeof *column);
    if (!column) {
        error_memory(e, (size_t)n * sizeof *column);
        goto out;
    }
    for (int k = 0; k < given; k++) {
        if (codec_standard(x + (int64_t)k * n, n, k, column, e)) {
            if (!codec_give(&c, column, e)) goto out;
        } else if (e->code != ERROR_NONE) {
            goto out;
        }
    }
    codec_settle(&c);
    bool moves = codec_standard(z, n, given, column, e);
    if (!moves && e->code != ERROR_NONE) goto out;
    *t = moves ? codec_t(&c, column, 0) : 0;
    ok = true;
out:
    mem_free(column);
    codec_close(&c);
    return ok;
}
