#include "unlearn/probe.h"

#include "unlearn/folds.h"
#include "unlearn/numbers.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------- a probe on features --- */

static int compare(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* label [n] -> class [n] 0 .. k-1 in the order of the labels; sorted [n]: room. Returns k and the count of
 * the commonest. */
static int classes_number(int32_t *class, int32_t *sorted, const int32_t *label, int64_t n, int64_t *most) {
    int k = 0;
    int64_t run = 0;
    memcpy(sorted, label, (size_t)n * sizeof *label);
    qsort(sorted, (size_t)n, sizeof *sorted, compare);
    *most = 0;
    for (int64_t i = 0; i < n; i++) {
        bool fresh = k == 0 || sorted[i] != sorted[k - 1];
        run = fresh ? 1 : run + 1;
        if (run > *most) *most = run;
        if (fresh) sorted[k++] = sorted[i];
    }
    for (int64_t i = 0; i < n; i++) {
        const int32_t *at = bsearch(&label[i], sorted, (size_t)k, sizeof *sorted, compare);
        class[i] = (int32_t)(at - sorted);
    }
    return k;
}

/* pick [n]: first the samples outside the fold, then those inside; returns how many are outside. */
static int64_t fold_pick(uint32_t *pick, const int32_t *fold, int64_t n, int which) {
    int64_t outside = 0, inside = n;
    for (int64_t i = 0; i < n; i++)
        if (fold[i] == which)
            pick[--inside] = (uint32_t)i;
        else
            pick[outside++] = (uint32_t)i;
    return outside;
}

/* Learns from `learn` and judges by `judge`, both of `all`. */
static bool judge(double *accuracy, bool *converged, const LogisticData *learn, const LogisticData *judged,
                  const LogisticSettings *settings, Error *e) {
    Logistic m;
    if (!logistic_fit(&m, learn, settings, e)) return false;
    *accuracy = logistic_accuracy(&m, judged);
    *converged = m.converged;
    logistic_free(&m);
    return true;
}

static bool cross_validate(ProbeResult *out, const LogisticData *all, uint32_t *pick, const int32_t *fold,
                           int folds, const LogisticSettings *settings, Error *e) {
    double right = 0;
    out->converged = true;
    for (int k = 0; k < folds; k++) {
        LogisticData learn = *all, rest = *all;
        double accuracy;
        bool converged;
        learn.n = fold_pick(pick, fold, all->n, k);
        rest.n = all->n - learn.n;
        learn.pick = pick;
        rest.pick = pick + learn.n;
        if (!judge(&accuracy, &converged, &learn, &rest, settings, e)) return false;
        right += accuracy * (double)rest.n;
        out->converged &= converged;
    }
    return interval_wilson(&out->accuracy, (int64_t)(right + 0.5), all->n, 0.95, e);
}

bool probe_features(ProbeResult *out, const double *x, const int32_t *label, int64_t n, int columns,
                    int folds, const LogisticSettings *settings, uint64_t seed, Error *e) {
    if (n < 2 || n > INT32_MAX) return error_set(e, ERROR_VALUE, "linear probe: %lld samples", (long long)n);
    int32_t *room = mem_zero(4 * (size_t)n, sizeof *room), *class = room, *fold = room + n;
    uint32_t *pick = (uint32_t *)room + 2 * n;
    int64_t most;
    if (!room) return error_memory(e, 4 * (size_t)n * sizeof *room);
    out->classes = classes_number(class, room + 3 * n, label, n, &most);
    out->chance = (double)most / (double)n;
    LogisticData all = {.x = x, .label = class, .n = n, .columns = columns, .classes = out->classes};
    bool ok = out->classes > 1 ? folds_deal(fold, class, n, out->classes, folds, seed, e)
                               : error_set(e, ERROR_VALUE, "linear probe: all samples are of one class");
    ok = ok && cross_validate(out, &all, pick, fold, folds, settings, e);
    mem_free(room);
    return ok;
}

/* ------------------------------------------------------------------------------- an attack on losses --- */

/* Losses [2 each], forgotten ones first, from a random part of both sides. order: room for the larger. */
static void losses_draw(double *x, int32_t *label, uint32_t *order, int64_t each, const double *side[2],
                        const int64_t *count, uint64_t seed) {
    for (int k = 0; k < 2; k++) {
        folds_shuffle(order, count[k], seed, (uint64_t)k);
        for (int64_t i = 0; i < each; i++) {
            x[k * each + i] = side[k][order[i]];
            label[k * each + i] = k == 0;
        }
    }
}

/* pick [2 each]: nine tenths of both kinds, then the rest; returns how many are to be learnt from. */
static int64_t split_pick(uint32_t *pick, uint32_t *order, int64_t each, uint64_t seed, int split) {
    int64_t judged = (each + 5) / 10, learnt = 2 * (each - judged), head = 0, tail = learnt;
    for (int k = 0; k < 2; k++) {
        folds_shuffle(order, each, seed, (uint64_t)(2 + 2 * split + k));
        for (int64_t i = 0; i < each; i++) {
            uint32_t at = (uint32_t)(k * each) + order[i];
            if (i < judged)
                pick[tail++] = at;
            else
                pick[head++] = at;
        }
    }
    return learnt;
}

static bool splits_run(ProbeLosses *out, const LogisticData *all, uint32_t *pick, uint32_t *order,
                       uint64_t seed, Error *e) {
    double accuracy[PROBE_SPLITS];
    LogisticSettings settings = logistic_standard;
    settings.standardise = false;
    for (int i = 0; i < PROBE_SPLITS; i++) {
        LogisticData learn = *all, rest = *all;
        bool converged;
        learn.n = split_pick(pick, order, all->n / 2, seed, i);
        rest.n = all->n - learn.n;
        learn.pick = pick;
        rest.pick = pick + learn.n;
        if (!judge(&accuracy[i], &converged, &learn, &rest, &settings, e)) return false;
    }
    out->accuracy = numbers_mean(accuracy, PROBE_SPLITS);
    out->spread = numbers_spread(accuracy, PROBE_SPLITS);
    return true;
}

bool probe_losses(ProbeLosses *out, const double *forgotten, int64_t n, const double *unseen, int64_t m,
                  uint64_t seed, Error *e) {
    if (!numbers_check("losses of forgotten samples", forgotten, n, PROBE_LEAST, e)) return false;
    if (!numbers_check("losses of unseen samples", unseen, m, PROBE_LEAST, e)) return false;
    if (n > INT32_MAX / 2 || m > INT32_MAX / 2)
        return error_set(e, ERROR_LIMIT, "loss attack: too many samples");
    const double *side[2] = {forgotten, unseen};
    const int64_t count[2] = {n, m}, each = n < m ? n : m, most = n < m ? m : n;
    double *x = mem_zero(2 * (size_t)each, sizeof *x);
    int32_t *label = mem_zero(2 * (size_t)each, sizeof *label);
    uint32_t *pick = mem_zero(2 * (size_t)each, sizeof *pick), *order = mem_zero((size_t)most, sizeof *order);
    bool ok = x && label && pick && order;
    if (ok) {
        losses_draw(x, label, order, each, side, count, seed);
        LogisticData all = {.x = x, .label = label, .n = 2 * each, .columns = 1, .classes = 2};
        out->each = each;
        ok = splits_run(out, &all, pick, order, seed, e);
    } else {
        error_memory(e, (size_t)most * sizeof *x);
    }
    mem_free(x);
    mem_free(label);
    mem_free(pick);
    mem_free(order);
    return ok;
}
