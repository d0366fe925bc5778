#include "unlearn/lira.h"

#include "unlearn/numbers.h"

#include <math.h>

/* The values of one kind ("out" 0, "in" 1) of one example. */
typedef struct Normal {
    double mean, squares; /* squares: sum of squared distances from the mean */
    double spread;
    int64_t n;
} Normal;

static Normal normal_of(const LiraShadows *s, int64_t example, bool in) {
    Normal r = {0};
    for (int64_t m = 0; m < s->models; m++) {
        int64_t at = m * s->examples + example;
        if ((s->in[at] != 0) != in) continue;
        r.n++;
        double off = s->phi[at] - r.mean; /* Welford 1962 */
        r.mean += off / (double)r.n;
        r.squares += off * (s->phi[at] - r.mean);
    }
    return r;
}

/* normal [examples] of one kind: each gets its own spread, or all the pooled one. */
static void spreads_set(Normal *normal, int64_t examples, bool pooled) {
    double squares = 0, freedom = 0;
    for (int64_t i = 0; i < examples; i++) {
        squares += normal[i].squares;
        freedom += (double)(normal[i].n - 1);
    }
    for (int64_t i = 0; i < examples; i++) {
        double own = normal[i].squares / (double)(normal[i].n - 1);
        normal[i].spread = fmax(sqrt(pooled ? squares / freedom : own), LIRA_LEAST_SPREAD);
    }
}

/* Fits all examples; *least gets the smallest count. */
static bool kind_fit(Normal *normal, const LiraShadows *s, bool in, bool needed, int64_t *least, Error *e) {
    *least = s->models;
    for (int64_t i = 0; i < s->examples; i++) {
        normal[i] = normal_of(s, i, in);
        if (needed && normal[i].n < LIRA_LEAST)
            return error_set(e, ERROR_VALUE, "LiRA: %lld shadow models %s example %lld, at least %d must",
                             (long long)normal[i].n, in ? "had" : "never had", (long long)i, LIRA_LEAST);
        if (normal[i].n < *least) *least = normal[i].n;
    }
    return true;
}

/* log N(x), without the constant. */
static double log_density(const Normal *r, double x) {
    double z = (x - r->mean) / r->spread;
    return -0.5 * z * z - log(r->spread);
}

static double score_of(LiraKind kind, const Normal *out, const Normal *in, double x) {
    if (kind == LIRA_OFFLINE) return (x - out->mean) / out->spread;
    return log_density(in, x) - log_density(out, x);
}

/* out, in [examples]: room. */
static bool fit(Normal *out, Normal *in, const LiraShadows *s, LiraKind kind, LiraNote *note, Error *e) {
    bool online = kind == LIRA_ONLINE;
    if (!kind_fit(out, s, false, true, &note->least_out, e)) return false;
    if (!kind_fit(in, s, true, online, &note->least_in, e)) return false;
    note->pooled = note->least_out < LIRA_OWN || (online && note->least_in < LIRA_OWN);
    spreads_set(out, s->examples, note->pooled);
    if (online) spreads_set(in, s->examples, note->pooled);
    return true;
}

bool lira_score(double *score, const LiraShadows *s, const double *target, int64_t targets, LiraKind kind,
                LiraNote *note, Error *e) {
    LiraNote own;
    if (s->examples < 1 || s->models < 1 || targets < 1)
        return error_set(e, ERROR_VALUE,
                         "LiRA: %lld examples, %lld shadow models, %lld targets: none may be 0",
                         (long long)s->examples, (long long)s->models, (long long)targets);
    if (!numbers_check("LiRA's shadow values", s->phi, s->models * s->examples, 1, e)) return false;
    if (!numbers_check("LiRA's target values", target, targets * s->examples, 1, e)) return false;
    Normal *normal = mem_zero(2 * (size_t)s->examples, sizeof *normal), *in = normal + s->examples;
    if (!normal) return error_memory(e, 2 * (size_t)s->examples * sizeof *normal);
    bool ok = fit(normal, in, s, kind, note ? note : &own, e);
    for (int64_t i = 0; ok && i < targets * s->examples; i++)
        score[i] = score_of(kind, &normal[i % s->examples], &in[i % s->examples], target[i]);
    mem_free(normal);
    return ok;
}

double lira_probability(double score) {
    return 1 / (1 + exp(-score));
}
