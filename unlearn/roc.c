#include "unlearn/roc.h"

#include "unlearn/numbers.h"

#include <math.h>
#include <stdlib.h>

const double roc_rate[ROC_RATES] = {0.001, 0.01, 0.1};

typedef struct Scored {
    double score;
    uint8_t positive;
} Scored;

static int falling(const void *a, const void *b) {
    double x = ((const Scored *)a)->score, y = ((const Scored *)b)->score;
    return (x < y) - (x > y);
}

static bool scores_check(const double *score, const uint8_t *positive, int64_t n, int64_t *positives,
                         Error *e) {
    if (!numbers_check("scores", score, n, 2, e)) return false;
    *positives = 0;
    for (int64_t i = 0; i < n; i++) *positives += positive[i] != 0;
    if (*positives > 0 && *positives < n) return true;
    return error_set(e, ERROR_VALUE, "scores: %lld of %lld are of members; both kinds are needed",
                     (long long)*positives, (long long)n);
}

/* One more point of the curve: `yes` positives and `no` negatives lie at or above the threshold. */
static void point_add(Roc *r, int64_t yes, int64_t no) {
    double tpr = (double)yes / (double)r->positives, fpr = (double)no / (double)r->negatives;
    for (int i = 0; i < ROC_RATES; i++)
        if ((double)no <= roc_rate[i] * (double)r->negatives) r->tpr[i] = tpr;
    r->best = fmax(r->best, 0.5 * (tpr + 1 - fpr));
}

static void curve_walk(Roc *r, const Scored *s, int64_t n) {
    int64_t yes = 0, no = 0;
    double pairs = 0; /* in which the positive is above, ties half */
    for (int64_t i = 0; i < n;) {
        int64_t yes_now = 0, no_now = 0;
        for (double x = s[i].score; i < n && s[i].score == x; i++) {
            yes_now += s[i].positive;
            no_now += !s[i].positive;
        }
        pairs += (double)no_now * ((double)yes + 0.5 * (double)yes_now);
        yes += yes_now;
        no += no_now;
        point_add(r, yes, no);
    }
    r->auc = pairs / ((double)r->positives * (double)r->negatives);
}

bool roc_measure(Roc *out, const double *score, const uint8_t *positive, int64_t n, Error *e) {
    int64_t positives;
    if (!scores_check(score, positive, n, &positives, e)) return false;
    Scored *s = mem_zero((size_t)n, sizeof *s);
    if (!s) return error_memory(e, (size_t)n * sizeof *s);
    for (int64_t i = 0; i < n; i++) s[i] = (Scored){score[i], positive[i] != 0};
    qsort(s, (size_t)n, sizeof *s, falling);
    *out = (Roc){.best = 0.5, .positives = positives, .negatives = n - positives};
    curve_walk(out, s, n);
    mem_free(s);
    return true;
}

bool roc_balanced_accuracy(double *out, const double *score, const uint8_t *positive, int64_t n,
                           double threshold, Error *e) {
    int64_t positives, yes = 0, no = 0;
    if (!scores_check(score, positive, n, &positives, e)) return false;
    for (int64_t i = 0; i < n; i++) {
        bool above = score[i] > threshold;
        yes += positive[i] && above;
        no += !positive[i] && !above;
    }
    *out = 0.5 * ((double)yes / (double)positives + (double)no / (double)(n - positives));
    return true;
}
