#include "unlearn/audit.h"

#include "core/comm.h"
#include "core/json.h"
#include "unlearn/kstest.h"
#include "unlearn/measures.h"
#include "unlearn/numbers.h"
#include "unlearn/probe.h"
#include "unlearn/quantise.h"
#include "unlearn/roc.h"
#include "unlearn/svc.h"
#include "unlearn/vector.h"

#include <math.h>
#include <string.h>

RECIPE_TABLE(audit_table, "Audit", AuditSettings, AUDIT_FIELDS);

#define ROW(key, name, unit, about) {#key, name, unit, about},
const FigureRow figure_row[FIGURES] = {AUDIT_FIGURES(ROW)};

const char *figure_unit(Figure f, bool share) {
    static const Figure score[] = {FIGURE_ua,      FIGURE_ra,      FIGURE_ta,      FIGURE_ka,
                                   FIGURE_ua_int8, FIGURE_ra_int8, FIGURE_ua_int4, FIGURE_ra_int4};
    for (int i = 0; i < COUNT(score) && !share; i++)
        if (f == score[i]) return "";
    return figure_row[f].unit;
}

static const double LEVEL = 0.95;

static void put(Audit *a, Figure f, double value) {
    a->figure[f] = (Interval){value, NAN, NAN};
}

Interval audit_beyond(double value) {
    return (Interval){value, NAN, INFINITY};
}

bool audit_is_beyond(const Interval *i) {
    return isinf(i->hi);
}

/* A share of n samples, in percent, with Wilson's interval. */
static void put_share(Audit *a, Figure f, double percent, int64_t n) {
    Error ignored;
    Interval i;
    put(a, f, percent);
    if (n < 1 || !interval_wilson(&i, llround(percent / 100 * (double)n), n, LEVEL, &ignored)) return;
    a->figure[f] = (Interval){percent, 100 * i.lo, 100 * i.hi};
}

/* ---- what the model says ---- */

static bool look(Audit *a, Unlearn *u, const AuditSettings *set, Error *e) {
    int64_t test = u->world->count[SET_TEST], most = test && test < set->most ? test : set->most;
    return observe(&a->forget, u, SET_FORGET, set->most, set->probe, e) &&
           observe(&a->test, u, SET_TEST, set->most, false, e) &&
           observe(&a->kin, u, SET_KIN, set->most, false, e) &&
           observe(&a->retain, u, SET_RETAIN, most, set->probe, e);
}

static bool score_put(Audit *a, Unlearn *u, Figure f, UnlearnSet set, bool wrong, Error *e) {
    UnlearnScore s;
    if (!u->world->count[set]) return true;
    if (!unlearn_score(u, set, &s, e)) return false;
    a->score = s.name;
    a->share = s.more_is_better;
    if (!a->share)
        put(a, f, s.value);
    else if (u->task->classes)
        put_share(a, f, wrong ? 100 - s.value : s.value, u->world->count[set]);
    else
        put(a, f, wrong ? 100 - s.value : s.value);
    return true;
}

static bool scores_put(Audit *a, Unlearn *u, Error *e) {
    return score_put(a, u, FIGURE_ua, SET_FORGET, true, e) &&
           score_put(a, u, FIGURE_ra, SET_RETAIN, false, e) &&
           score_put(a, u, FIGURE_ta, SET_TEST, false, e) && score_put(a, u, FIGURE_ka, SET_KIN, false, e);
}

/* ---- membership ---- */

static Predictions predictions_of(const Observed *o) {
    return (Predictions){.prob = o->prob, .label = o->label, .n = o->n, .classes = o->classes};
}

/* Without classes the loss is the feature, brought to mean 0 and deviation 1 over retained and unseen
 * samples. */
static bool losses_scaled(const Audit *a, const Observed *o, double *out, Error *e) {
    int64_t n = a->retain.n + a->test.n;
    double *all = mem_get((size_t)n * sizeof *all);
    if (!all) return error_memory(e, (size_t)n * sizeof *all);
    memcpy(all, a->retain.loss, (size_t)a->retain.n * sizeof *all);
    memcpy(all + a->retain.n, a->test.loss, (size_t)a->test.n * sizeof *all);
    double mean = numbers_mean(all, n), spread = numbers_spread(all, n);
    for (int64_t i = 0; i < o->n; i++) out[i] = (o->loss[i] - mean) / (spread > 0 ? spread : 1);
    mem_free(all);
    return true;
}

static bool membership_by_loss(Audit *a, SvcResult *r, Error *e) {
    const Observed *o[3] = {&a->retain, &a->test, &a->forget};
    double *x[3] = {0};
    bool fine = true;
    for (int k = 0; k < 3 && fine; k++) {
        x[k] = mem_get((size_t)o[k]->n * sizeof *x[k]);
        fine = x[k] ? losses_scaled(a, o[k], x[k], e) : error_memory(e, (size_t)o[k]->n * sizeof *x[k]);
    }
    fine = fine && svc_attack(r, (SvcPoints){x[0], o[0]->n}, (SvcPoints){x[1], o[1]->n},
                              (SvcPoints){x[2], o[2]->n}, 1, e);
    for (int k = 0; k < 3; k++) mem_free(x[k]);
    return fine;
}

static bool membership(Audit *a, Figure first, int features, Error *e) {
    SvcResult r;
    if (!a->test.n || !a->forget.n) return true;
    const Predictions retain = predictions_of(&a->retain), test = predictions_of(&a->test),
                      forget = predictions_of(&a->forget);
    for (int f = 0; f < features; f++) {
        bool fine = a->forget.classes ? svc_membership(&r, (SvcFeature)f, &retain, &test, &forget, e)
                                      : membership_by_loss(a, &r, e);
        if (!fine) return false;
        put_share(a, (Figure)(first + f), r.efficacy, a->forget.n);
        if (!a->forget.classes) break; /* the loss is the one feature there is */
    }
    return true;
}

/* Forgotten against unseen, by loss: the less, the likelier it was seen. */
static bool losses_attack(Audit *a, uint64_t seed, Error *e) {
    int64_t n = a->forget.n + a->test.n;
    ProbeLosses probe;
    Roc roc;
    if (!a->test.n || !a->forget.n) return true;
    double *score = mem_get((size_t)n * sizeof *score);
    uint8_t *positive = mem_zero((size_t)n, 1);
    bool fine = (score && positive) || error_memory(e, (size_t)n * sizeof *score);
    for (int64_t i = 0; i < n && fine; i++) {
        bool mine = i < a->forget.n;
        score[i] = -(mine ? a->forget.loss[i] : a->test.loss[i - a->forget.n]);
        positive[i] = mine;
    }
    fine = fine && roc_measure(&roc, score, positive, n, e);
    mem_free(score);
    mem_free(positive);
    if (!fine) return false;
    put(a, FIGURE_auc, roc.auc);
    put_share(a, FIGURE_tpr, 100 * roc.tpr[1], a->forget.n);
    if (a->forget.n < PROBE_LEAST || a->test.n < PROBE_LEAST) return true;
    if (!probe_losses(&probe, a->forget.loss, a->forget.n, a->test.loss, a->test.n, seed, e)) return false;
    double half = 100 * 1.96 * probe.spread / sqrt(PROBE_SPLITS), value = 100 * probe.accuracy;
    a->figure[FIGURE_loss_attack] = (Interval){value, value - half, value + half};
    return true;
}

/* ---- features ---- */

/* How many people are among the forgotten, of each at least two pictures. */
static int people(const Observed *o) {
    int count = 0;
    for (int64_t i = 0; i < o->n; i++) {
        int same = 0;
        bool first = true;
        for (int64_t k = 0; k < o->n; k++) {
            if (o->identity[k] != o->identity[i]) continue;
            same++;
            first &= k >= i;
        }
        if (o->identity[i] < 0 || same < 2) return 0;
        count += first;
    }
    return count;
}

/* Several people: told apart among themselves. Else: forgotten samples from as many retained ones. */
static bool probe(Audit *a, const AuditSettings *set, uint64_t seed, Error *e) {
    const Observed *f = &a->forget, *r = &a->retain;
    bool among = people(f) > 1;
    int64_t other = among ? 0 : r->n < f->n ? r->n : f->n, n = f->n + other;
    ProbeResult result;
    Error why;
    if (!f->columns || n < 2 * set->probe_folds) return true;
    size_t wide = (size_t)f->columns;
    double *x = mem_get((size_t)n * wide * sizeof *x);
    int32_t *label = mem_get((size_t)n * sizeof *label);
    bool fine = (x && label) || error_memory(e, (size_t)n * wide * sizeof *x);
    if (fine) {
        memcpy(x, f->feature, (size_t)f->n * wide * sizeof *x);
        for (int64_t i = 0; i < n; i++) label[i] = i < f->n ? (among ? f->identity[i] : 1) : 0;
        for (int64_t i = 0; i < other; i++) /* spread over the retained */
            memcpy(x + (size_t)(f->n + i) * wide, r->feature + (size_t)(i * r->n / other) * wide,
                   wide * sizeof *x);
        /* too few of somebody to cross-validate: then there is no figure */
        if (probe_features(&result, x, label, n, f->columns, (int)set->probe_folds, &logistic_standard, seed,
                           &why)) {
            Interval v = result.accuracy;
            a->figure[FIGURE_probe] = (Interval){100 * v.value, 100 * v.lo, 100 * v.hi};
            put(a, FIGURE_chance, 100 * result.chance);
        }
    }
    mem_free(x);
    mem_free(label);
    return fine;
}

/* Against a model of random weights. */
static bool zrf(Audit *a, Unlearn *u, Error *e) {
    Task random, *own = u->task;
    Observed o = {0};
    double value;
    if (!a->forget.classes || !a->forget.n) return true;
    if (!comm_agree(u->world->model(u->world->self, 0, u->seed + 1, &random, e), e)) return false;
    u->task = &random;
    bool fine = observe(&o, u, SET_FORGET, a->forget.n, false, e);
    u->task = own;
    task_close(&random);
    const Predictions mine = predictions_of(&a->forget), other = predictions_of(&o);
    fine = fine && measure_zrf(&value, &mine, &other, e);
    if (fine) put(a, FIGURE_zrf, value);
    observed_close(&o);
    return fine;
}

/* ---- with fewer bits ---- */

static bool quantise(const Params *p, int bits, Error *e) {
    for (int i = 0; i < p->count; i++) {
        Tensor *t = &p->list[i]->tensor;
        if (!p->list[i]->decay || t->ndim < 2)
            continue; /* formats of few bits keep norms and tables as they are */
        if (!quantise_rows(tensor_real(t), t->dim[0], tensor_count(t) / t->dim[0], bits, NULL, e))
            return false;
    }
    return true;
}

static bool quantised(Audit *a, Unlearn *u, const AuditSettings *set, int bits, Figure ua, Figure ra,
                      Figure mia, Error *e) {
    AuditSettings few = *set;
    Audit with = {0};
    for (int i = 0; i < FIGURES; i++) put(&with, (Figure)i, NAN);
    few.probe = false;
    bool fine = comm_agree(quantise(&u->task->params, bits, e), e) && look(&with, u, &few, e) &&
                score_put(&with, u, FIGURE_ua, SET_FORGET, true, e) &&
                score_put(&with, u, FIGURE_ra, SET_RETAIN, false, e) && membership(&with, FIGURE_mia, 1, e);
    a->figure[ua] = with.figure[FIGURE_ua];
    a->figure[ra] = with.figure[FIGURE_ra];
    a->figure[mia] = with.figure[FIGURE_mia];
    audit_close(&with);
    return fine;
}

/* ---- all of it ---- */

static bool measure(Audit *a, Unlearn *u, const AuditSettings *set, const Audit *before, real *kept,
                    Error *e) {
    Params *p = &u->task->params;
    size_t bytes = (size_t)p->values * sizeof *kept;
    double length = vector_norm(u->origin, p->values), far = 0;
    for (int64_t i = 0; i < p->values; i++) far += pow((double)p->value[i] - (double)u->origin[i], 2);
    put(a, FIGURE_moved, length > 0 ? 100 * sqrt(far) / length : 0);
    if (!look(a, u, set, e) || !scores_put(a, u, e) ||
        !comm_agree(membership(a, FIGURE_mia, SVC_FEATURES, e) && losses_attack(a, u->seed, e) &&
                        (!set->probe || probe(a, set, u->seed, e)),
                    e) ||
        !zrf(a, u, e))
        return false;
    bool fine = true;
    if (set->quantise) {
        fine = quantised(a, u, set, 8, FIGURE_ua_int8, FIGURE_ra_int8, FIGURE_mia_int8, e);
        memcpy(p->value, kept, bytes);
        fine = fine && quantised(a, u, set, 4, FIGURE_ua_int4, FIGURE_ra_int4, FIGURE_mia_int4, e);
        memcpy(p->value, kept, bytes);
    }
    if (fine && set->relearn_steps && before) fine = audit_relearn(a, u, set, before, e);
    memcpy(p->value, kept, bytes);
    return fine;
}

AuditDraws audit_draws_fix(Unlearn *u) {
    const AuditDraws own = {u->seed, u->step->seed};
    u->seed = u->step->seed = (uint64_t)u->world->run->seed * 1000003;
    return own;
}

void audit_draws_back(Unlearn *u, AuditDraws own) {
    u->seed = own.seed;
    u->step->seed = own.step;
}

bool audit_measure(Audit *a, Unlearn *u, const AuditSettings *set, const Audit *before, Error *e) {
    *a = (Audit){0};
    for (int i = 0; i < FIGURES; i++) put(a, (Figure)i, NAN);
    const Params *p = &u->task->params;
    real *kept = mem_get((size_t)p->values * sizeof *kept);
    if (!comm_agree(kept ? true : error_memory(e, (size_t)p->values * sizeof *kept), e)) {
        mem_free(kept);
        return false;
    }
    memcpy(kept, p->value, (size_t)p->values * sizeof *kept);
    /* who learns the forgotten again is bound to no zeros, and a reference never had them */
    real *zeros = u->keep;
    u->keep = NULL;
    const AuditDraws own = audit_draws_fix(u);
    bool fine = measure(a, u, set, before, kept, e);
    audit_draws_back(u, own);
    u->keep = zeros;
    mem_free(kept);
    if (!fine) audit_close(a);
    return fine;
}

void audit_close(Audit *a) {
    observed_close(&a->forget);
    observed_close(&a->retain);
    observed_close(&a->test);
    observed_close(&a->kin);
}

/* ---- beside others ---- */

static double value_of(const Audit *a, Figure f) {
    return a->figure[f].value;
}

/* What is compared on the forgotten: the logit of the confidence, or the loss. mem_free. */
static double *confidences(const Observed *o, Error *e) {
    double *out = mem_get((size_t)o->n * sizeof *out);
    if (!out) {
        error_memory(e, (size_t)o->n * sizeof *out);
        return NULL;
    }
    for (int64_t i = 0; i < o->n; i++)
        out[i] = o->classes ? measure_logit_confidence(o->logit + i * o->classes, o->classes, o->label[i])
                            : o->loss[i];
    return out;
}

static bool forget_quality(Audit *a, const Audit *reference, Error *e) {
    enum { BINS = 20 };
    double *mine = confidences(&a->forget, e), *other = mine ? confidences(&reference->forget, e) : NULL;
    int64_t n = a->forget.n, m = reference->forget.n;
    KsTest ks;
    double js, distance;
    bool fine = mine && other && ks_test(&ks, mine, n, other, m, e) &&
                ks_histogram_distance(&js, mine, n, other, m, BINS, e);
    if (fine) {
        put(a, FIGURE_ks, ks.p);
        put(a, FIGURE_js, js);
    }
    if (fine && a->forget.classes) {
        const Predictions x = predictions_of(&a->forget), y = predictions_of(&reference->forget);
        fine = measure_activation_distance(&distance, &x, &y, e);
        if (fine) put(a, FIGURE_activation, distance);
    }
    mem_free(mine);
    mem_free(other);
    return fine;
}

bool audit_gap(double *out, const Interval *mine, const Interval *other, bool share, Error *e) {
    static const Figure of[] = {FIGURE_ua, FIGURE_ra, FIGURE_ta, FIGURE_mia};
    double a[COUNT(of)], b[COUNT(of)];
    int n = 0;
    for (int i = 0; i < COUNT(of); i++) {
        double x = mine[of[i]].value, y = other[of[i]].value;
        if (isnan(x) || isnan(y)) continue;
        double scale = share || of[i] == FIGURE_mia || y == 0 ? 1 : 100 / fabs(y);
        a[n] = x * scale;
        b[n++] = y * scale;
    }
    *out = NAN;
    return n == 0 || measure_average_gap(out, a, b, n, e);
}

/* Of classes that are gone whole, their unseen samples count, where there are any. */
static bool aus(Audit *a, const Unlearn *u, const Audit *before, Error *e) {
    bool whole = u->world->whole, kin = whole && !isnan(value_of(a, FIGURE_ka));
    double value, ta = value_of(a, FIGURE_ta),
                  forgotten = kin ? value_of(a, FIGURE_ka) : 100 - value_of(a, FIGURE_ua);
    if (!a->share || !u->task->classes || isnan(ta) || isnan(forgotten)) return true;
    if (!measure_aus(&value, whole ? AUS_CLASS : AUS_SAMPLES, value_of(before, FIGURE_ta) / 100, ta / 100,
                     forgotten / 100, e))
        return false;
    put(a, FIGURE_aus, value);
    return true;
}

bool audit_compare(Audit *a, const Unlearn *u, const Audit *before, const Audit *reference, Error *e) {
    double value;
    double ua = value_of(a, FIGURE_ua) / 100, ra = value_of(a, FIGURE_ra) / 100,
           ta = value_of(a, FIGURE_ta) / 100;
    bool known = !isnan(ua) && !isnan(ta); /* the forgotten may be deleted, and there may be no data.test */
    if (!aus(a, u, before, e)) return false;
    if (!reference) return true;
    if (!audit_gap(&value, a->figure, reference->figure, a->share, e)) return false;
    put(a, FIGURE_gap, value);
    if (a->forget.n && !forget_quality(a, reference, e)) return false;
    if (a->share && known) {
        const double mine[3] = {1 - ua, ra, ta},
                     other[3] = {1 - value_of(reference, FIGURE_ua) / 100,
                                 value_of(reference, FIGURE_ra) / 100, value_of(reference, FIGURE_ta) / 100};
        if (!measure_tow(&value, mine, other, e)) return false;
        put(a, FIGURE_tow, value);
    }
    double took = value_of(a, FIGURE_seconds), whole = value_of(reference, FIGURE_seconds);
    if (took > 0 && whole > 0) put(a, FIGURE_rte, 100 * took / whole);
    return true;
}

bool audit_average(Interval out[FIGURES], const Audit *const *list, int n, Error *e) {
    double *x = mem_get((size_t)n * sizeof *x);
    if (!x) return error_memory(e, (size_t)n * sizeof *x);
    bool fine = true;
    for (int f = 0; f < FIGURES && fine; f++) {
        int some = 0;
        bool beyond = false;
        for (int i = 0; i < n; i++) {
            if (!isnan(list[i]->figure[f].value)) x[some++] = list[i]->figure[f].value;
            beyond |= audit_is_beyond(&list[i]->figure[f]);
        }
        out[f] = n == 1 ? list[0]->figure[f] : (Interval){some ? numbers_mean(x, some) : NAN, NAN, NAN};
        if (n > 1 && beyond)
            out[f] = audit_beyond(out[f].value);
        else if (n > 1 && some > 1)
            fine = interval_t(&out[f], x, some, LEVEL, e);
    }
    mem_free(x);
    return fine;
}

bool audit_json(const Interval figure[FIGURES], char *out, size_t size) {
    JsonWriter w = json_writer(out, size, 0);
    json_put_open(&w, NULL, '{');
    for (int i = 0; i < FIGURES; i++) {
        if (isnan(figure[i].value)) continue;
        json_put_open(&w, figure_row[i].key, '{');
        json_put_real(&w, "value", figure[i].value);
        if (!isnan(figure[i].lo)) {
            json_put_real(&w, "lo", figure[i].lo);
            json_put_real(&w, "hi", figure[i].hi);
        }
        if (audit_is_beyond(&figure[i])) json_put_bool(&w, "at_least", true);
        json_put_close(&w, '}');
    }
    json_put_close(&w, '}');
    return !w.full;
}
