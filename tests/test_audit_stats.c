/* The statistics of the audit against scikit-learn, scipy and numpy (tests/golden/README.md). Their laws and
 * what they refuse: test_audit_laws.c. */
#include "core/clock.h"
#include "core/rng.h"
#include "core/safetensors.h"
#include "unlearn/interval.h"
#include "unlearn/kstest.h"
#include "unlearn/lira.h"
#include "unlearn/logistic.h"
#include "unlearn/roc.h"
#include "unlearn/svc.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static SafeFile *file;
static void *kept[400]; /* what `doubles` and `integers` gave, freed at the end of a test */
static int kept_count;

static const SafeEntry *entry(const char *group, const char *key, SafeType type) {
    char name[128];
    snprintf(name, sizeof name, "%s.%s", group, key);
    const SafeEntry *x = safe_find(file, name);
    if (!x || x->type != type) fail_msg("the fixture has no %s of this type", name);
    return x;
}

static void *read_raw(const SafeEntry *x) {
    Error e;
    void *p = mem_get(x->size);
    if (!p || !safe_read_raw(file, x, p, x->size, &e)) fail_msg("%s: cannot be read", x->name);
    assert_true(kept_count < COUNT(kept));
    return kept[kept_count++] = p;
}

static double *doubles(const char *group, const char *key, int64_t *n) {
    const SafeEntry *x = entry(group, key, SAFE_F64);
    if (n) *n = safe_entry_count(x);
    return read_raw(x);
}

static int32_t *integers(const char *group, const char *key) {
    return read_raw(entry(group, key, SAFE_I32));
}

static uint8_t *flags(const char *group, const char *key, int64_t *n) {
    const SafeEntry *x = entry(group, key, SAFE_I32);
    const int32_t *from = read_raw(x);
    uint8_t *p = mem_get((size_t)safe_entry_count(x));
    for (int64_t i = 0; i < safe_entry_count(x); i++) p[i] = from[i] != 0;
    if (n) *n = safe_entry_count(x);
    return kept[kept_count++] = p;
}

static int forget(void **state) {
    (void)state;
    while (kept_count > 0) mem_free(kept[--kept_count]);
    return 0;
}

static void near(const char *what, double got, double want, double limit) {
    if (!(fabs(got - want) <= limit * fmax(fabs(want), 1e-6)))
        fail_msg("%s: %.15g, the reference has %.15g", what, got, want);
}

static void all_near(const char *group, const char *key, const double *got, double limit) {
    int64_t n;
    const double *want = doubles(group, key, &n);
    for (int64_t i = 0; i < n; i++) near(key, got[i], want[i], limit);
}

static double number(const char *group, const char *key) {
    return doubles(group, key, NULL)[0];
}

/* ---------------------------------------------------------------------------------------- membership --- */

static Predictions predictions(const char *group) {
    int64_t n;
    double *p = doubles(group, "logit", &n);
    Predictions r = {.prob = p, .label = integers(group, "label"), .n = n / 5, .classes = 5};
    for (int64_t i = 0; i < r.n; i++) measure_softmax(p + i * 5, 5, p + i * 5);
    return r;
}

static void membership(void **state) {
    (void)state;
    Predictions retained = predictions("svc.retained"), test = predictions("svc.test"),
                forgotten = predictions("svc.forgotten");
    const double *efficacy = doubles("svc", "efficacy", NULL), *shadow = doubles("svc", "shadow", NULL);
    retained.n = test.n; /* the first of them, as in the papers' code */
    for (int f = 0; f < SVC_FEATURES; f++) {
        SvcResult r;
        Error e;
        if (!svc_membership(&r, (SvcFeature)f, &retained, &test, &forgotten, &e)) fail_msg("%s", e.text);
        near(svc_feature_name((SvcFeature)f), r.efficacy, efficacy[f], 1e-9);
        near(svc_feature_name((SvcFeature)f), r.shadow, shadow[f], 1e-9);
        assert_int_equal(r.each, 400);
    }
}

static void features(void **state) {
    (void)state;
    static const char *const group[] = {"svc.retained", "svc.test", "svc.forgotten"};
    for (int g = 0; g < COUNT(group); g++) {
        Predictions p = predictions(group[g]);
        double *x = mem_get((size_t)p.n * sizeof *x);
        Error e;
        kept[kept_count++] = x;
        for (int64_t i = 0; i < p.n; i++) x[i] = measure_entropy(p.prob + i * 5, 5);
        all_near(group[g], "entropy", x, 1e-8);
        for (int64_t i = 0; i < p.n; i++) x[i] = measure_modified_entropy(p.prob + i * 5, 5, p.label[i]);
        all_near(group[g], "modified entropy", x, 1e-9);
        assert_true(measure_logit_confidences(x, doubles(group[g], "logit", NULL), p.label, p.n, 5, &e));
        all_near(group[g], "phi", x, 1e-9);
    }
}

/* The size of CIFAR's test set; how long it takes is printed. */
static void membership_time(void **state) {
    (void)state;
    int64_t n = getenv("LETHE_QUICK") ? 1000 : 10000;
    double *x = mem_zero(3 * (size_t)n, sizeof *x);
    Rng r = rng_open(1, RNG_TEST, 0, 0);
    for (int64_t i = 0; i < 3 * n; i++) {
        double gain = i < n ? 4 : i < 2 * n ? 3 : 3.5;
        x[i] = 1 / (1 + exp(-gain - 3 * rng_normal(&r)));
    }
    SvcPoints retained = {x, n}, test = {x + n, n}, forgotten = {x + 2 * n, n / 2};
    SvcResult result;
    Error e;
    double start = clock_seconds();
    assert_true(svc_attack(&result, retained, test, forgotten, 1, &e));
    print_message("%lld + %lld samples, %lld forgotten: %.1f s\n", (long long)n, (long long)n,
                  (long long)(n / 2), clock_seconds() - start);
    assert_true(result.efficacy > 5 && result.efficacy < 60 && result.shadow > 50 && result.shadow < 70);
    mem_free(x);
}

static void pairs(void **state) {
    (void)state;
    int64_t n;
    const double *p = doubles("pair", "p", &n), *q = doubles("pair", "q", NULL);
    Predictions a = {.prob = p, .n = n / 6, .classes = 6}, b = {.prob = q, .n = n / 6, .classes = 6};
    double js[40], zrf, distance;
    Error e;
    for (int i = 0; i < 40; i++) js[i] = measure_js(p + i * 6, q + i * 6, 6);
    all_near("pair", "js", js, 1e-10);
    assert_true(measure_zrf(&zrf, &a, &b, &e));
    assert_true(measure_activation_distance(&distance, &a, &b, &e));
    near("zrf", zrf, number("pair", "zrf"), 1e-12);
    near("activation distance", distance, number("pair", "activation_distance"), 1e-12);
}

/* --------------------------------------------------------------------------------------- two samples --- */

static void two_samples(void **state) {
    (void)state;
    double tail[11];
    for (int i = 0; i < 5; i++) {
        char group[32];
        int64_t n, m;
        KsTest r;
        double distance;
        Error e;
        snprintf(group, sizeof group, "ks.%d", i);
        const double *a = doubles(group, "a", &n), *b = doubles(group, "b", &m);
        assert_true(ks_test(&r, a, n, b, m, &e));
        near("d", r.d, number(group, "d"), 1e-12);
        near("p", r.p, number(group, "p"), 1e-9);
        near("exact", r.exact, number(group, "exact"), 1e-9);
        assert_true(ks_histogram_distance(&distance, a, n, b, m, 20, &e));
        near("histograms", distance, number(group, "js20"), 1e-9);
    }
    for (int i = 0; i < 11; i++) tail[i] = ks_tail(doubles("kolmogorov", "x", NULL)[i]);
    all_near("kolmogorov", "tail", tail, 1e-12);
}

/* ----------------------------------------------------------------------------------------- intervals --- */

static void quantiles(void **state) {
    (void)state;
    int64_t ps, freedoms;
    const double *p = doubles("t", "p", &ps), *freedom = doubles("t", "freedom", &freedoms);
    double got[100], cdf[20], normal[20];
    for (int64_t i = 0; i < freedoms; i++) {
        for (int64_t j = 0; j < ps; j++) got[i * ps + j] = student_quantile(p[j], freedom[i]);
        cdf[i] = student_cdf(1.3, freedom[i]);
    }
    for (int64_t j = 0; j < ps; j++) normal[j] = normal_quantile(p[j]);
    all_near("t", "quantile", got, 1e-9);
    all_near("t", "cdf_at_1.3", cdf, 1e-10);
    all_near("normal", "quantile", normal, 1e-11);
}

static void intervals(void **state) {
    (void)state;
    int64_t n;
    const double *x = doubles("seeds", "x", &n);
    const int32_t *of = integers("wilson", "of");
    double ends95[12], ends99[12];
    Interval r;
    Error e;
    assert_true(interval_t(&r, x, n, 0.95, &e));
    all_near("seeds", "0.95", (double[]){r.lo, r.hi}, 1e-12);
    assert_true(interval_t(&r, x, n, 0.9, &e));
    all_near("seeds", "0.9", (double[]){r.lo, r.hi}, 1e-12);
    for (int i = 0; i < 6; i++) {
        assert_true(interval_wilson(&r, of[2 * i], of[2 * i + 1], 0.95, &e));
        ends95[2 * i] = r.lo, ends95[2 * i + 1] = r.hi;
        assert_true(interval_wilson(&r, of[2 * i], of[2 * i + 1], 0.99, &e));
        ends99[2 * i] = r.lo, ends99[2 * i + 1] = r.hi;
    }
    all_near("wilson", "95", ends95, 1e-10);
    all_near("wilson", "99", ends99, 1e-10);
}

/* ----------------------------------------------------------------------------------- curves and LiRA --- */

static void curves(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        char group[32];
        int64_t n;
        Roc r;
        double balanced;
        Error e;
        snprintf(group, sizeof group, "roc.%d", i);
        const double *score = doubles(group, "score", &n);
        const uint8_t *member = flags(group, "member", NULL);
        assert_true(roc_measure(&r, score, member, n, &e));
        near("auc", r.auc, number(group, "auc"), 1e-12);
        near("best", r.best, number(group, "best"), 1e-12);
        all_near(group, "tpr", r.tpr, 1e-12);
        assert_true(roc_balanced_accuracy(&balanced, score, member, n, 0.25, &e));
        near("balanced", balanced, number(group, "balanced"), 1e-12);
    }
}

static void attack(const char *group, int64_t examples, bool pooled) {
    int64_t numbers, targets;
    const double *phi = doubles(group, "phi", &numbers), *target = doubles(group, "target", &targets);
    LiraShadows s = {
        .phi = phi, .in = flags(group, "in", NULL), .models = numbers / examples, .examples = examples};
    double *score = mem_get((size_t)targets * sizeof *score);
    LiraNote note;
    Roc r;
    Error e;
    kept[kept_count++] = score;
    if (!lira_score(score, &s, target, targets / examples, LIRA_ONLINE, &note, &e)) fail_msg("%s", e.text);
    assert_int_equal(note.pooled, pooled);
    assert_int_equal(note.least_in, integers(group, "least_in")[0]);
    assert_int_equal(note.least_out, integers(group, "least_out")[0]);
    all_near(group, "online", score, 1e-8);
    assert_true(roc_measure(&r, score, flags(group, "member", NULL), targets, &e));
    near("auc", r.auc, number(group, "auc"), 1e-12);
    for (int64_t i = 0; i < targets; i++) score[i] = lira_probability(score[i]);
    all_near(group, "probability", score, 1e-8);
    assert_true(lira_score(score, &s, target, targets / examples, LIRA_OFFLINE, &note, &e));
    for (int64_t i = 0; i < targets; i++) score[i] = 0.5 * erfc(-score[i] / sqrt(2.0));
    all_near(group, "offline_tail", score, 1e-8);
}

static void lira(void **state) {
    (void)state;
    attack("lira.few", 30, true);
    attack("lira.many", 12, false);
}

/* ---------------------------------------------------------------------------------------- regression --- */

static void regression(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        static const int columns[] = {6, 3, 8, 1}, classes[] = {4, 2, 3, 2};
        char group[32];
        int64_t numbers;
        Logistic m;
        Error e;
        snprintf(group, sizeof group, "logistic.%d", i);
        LogisticData d = {.x = doubles(group, "x", &numbers),
                          .label = integers(group, "label"),
                          .columns = columns[i],
                          .classes = classes[i]};
        d.n = numbers / columns[i];
        LogisticSettings s = {.l2 = number(group, "l2"),
                              .tolerance = 1e-11,
                              .steps = 10000,
                              .standardise = integers(group, "standardise")[0] != 0};
        if (!logistic_fit(&m, &d, &s, &e)) fail_msg("%s", e.text);
        assert_true(m.converged);
        all_near(group, "weight", m.weight, 1e-6);
        if (classes[i] == 2) all_near(group, "bias", m.weight + columns[i], 1e-6);
        near("accuracy", logistic_accuracy(&m, &d), number(group, "accuracy"), 1e-12);
        double *prob = mem_get((size_t)d.n * (size_t)d.classes * sizeof *prob);
        for (int64_t k = 0; k < d.n; k++)
            logistic_probabilities(&m, d.x + k * d.columns, prob + k * d.classes);
        all_near(group, "prob", prob, 1e-6);
        mem_free(prob);
        logistic_free(&m);
    }
}

static int open_fixture(void **state) {
    (void)state;
    Error e;
    if (safe_open(&file, "tests/golden/audit_reference.safetensors", &e)) return 0;
    print_error("%s\n", e.text);
    return 1;
}

static int close_fixture(void **state) {
    (void)state;
    safe_close(file);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(membership, forget),
        cmocka_unit_test_teardown(features, forget),
        cmocka_unit_test_teardown(membership_time, forget),
        cmocka_unit_test_teardown(pairs, forget),
        cmocka_unit_test_teardown(two_samples, forget),
        cmocka_unit_test_teardown(quantiles, forget),
        cmocka_unit_test_teardown(intervals, forget),
        cmocka_unit_test_teardown(curves, forget),
        cmocka_unit_test_teardown(lira, forget),
        cmocka_unit_test_teardown(regression, forget),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
