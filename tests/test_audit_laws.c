/* The statistics of the audit: closed forms, laws that hold for any numbers, what happens at the edges
 * (empty, constant, one class, not finite), and when memory is out. Figures of public libraries:
 * test_audit_stats.c. */
#include "core/rng.h"
#include "unlearn/folds.h"
#include "unlearn/interval.h"
#include "unlearn/kstest.h"
#include "unlearn/lbfgs.h"
#include "unlearn/lira.h"
#include "unlearn/numbers.h"
#include "unlearn/probe.h"
#include "unlearn/quantise.h"
#include "unlearn/roc.h"
#include "unlearn/svc.h"

#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void near(double got, double want, double limit) {
    if (!(fabs(got - want) <= limit)) fail_msg("%.15g, should be %.15g", got, want);
}

static void says(const Error *e, const char *text) {
    if (!strstr(e->text, text)) fail_msg("the error is \"%s\", it should hold \"%s\"", e->text, text);
}

static void draw(double *x, int n, uint64_t stream, double mean) {
    Rng r = rng_open(7, RNG_TEST, 1, stream);
    for (int i = 0; i < n; i++) x[i] = mean + rng_normal(&r);
}

/* ------------------------------------------------------------------------------------------ measures --- */

static void measures(void **state) {
    (void)state;
    double logit[] = {1, 2, 3, 4}, prob[4], sure[] = {0, 1, 0, 0}, even[] = {0.25, 0.25, 0.25, 0.25};
    measure_softmax(logit, 4, prob);
    near(measure_entropy(even, 4), log(4), 1e-15);
    near(measure_entropy(sure, 4), 0, 0);
    near(measure_modified_entropy(sure, 4, 1), 0, 0);
    near(measure_modified_entropy(sure, 4, 0), 2 * 30 * log(10),
         1e-9); /* surely wrong: finite all the same */
    near(measure_js(sure, sure, 4), 0, 0);
    near(measure_js(sure, (double[]){1, 0, 0, 0}, 4), log(2), 1e-15);
    near(measure_js(prob, even, 4), measure_js(even, prob, 4), 1e-15);
    for (int k = 0; k < 4; k++)
        near(measure_logit_confidence(logit, 4, k), log(prob[k] / (1 - prob[k])), 1e-12);
    /* A common shift changes nothing, and logits far apart stay exact. */
    near(measure_logit_confidence((double[]){1000, 0}, 2, 0), 1000, 0);
    near(measure_logit_confidence((double[]){-5000, -6000}, 2, 1), -1000, 0);
}

static void scores(void **state) {
    (void)state;
    double x, same[] = {0.9, 0.99, 0.8}, other[] = {0.4, 0.99, 0.8};
    Error e;
    assert_true(measure_aus(&x, AUS_CLASS, 0.7755, 0.7293, 0.02, &e));
    near(x, 0.935, 5e-4); /* SCAR's published CIFAR-100 value */
    assert_true(measure_aus(&x, AUS_SAMPLES, 0.8, 0.8, 0.8, &e));
    near(x, 1, 0);
    assert_true(measure_tow(&x, same, same, &e));
    near(x, 1, 0);
    assert_true(measure_tow(&x, same, other, &e));
    near(x, 0.5, 1e-15);
    assert_true(measure_average_gap(&x, (double[]){10, 90, 80, 20}, (double[]){12, 91, 80, 15}, 4, &e));
    near(x, 2, 1e-15);
    assert_false(measure_aus(&x, AUS_CLASS, 77, 0.7, 0.1, &e));
    says(&e, "share from 0 to 1");
    assert_false(measure_tow(&x, same, (double[]){0, NAN, 0}, &e));
    says(&e, "the retained samples'");
    assert_false(measure_average_gap(&x, same, same, 0, &e));
    assert_false(measure_average_gap(&x, same, (double[]){INFINITY}, 1, &e));
}

static void predictions_refused(void **state) {
    (void)state;
    double good[] = {0.5, 0.5, 0.1, 0.9}, nan[] = {0.5, 0.5, NAN, 0.9}, sum[] = {0.5, 0.5, 0.5, 0.9}, x;
    int32_t label[] = {0, 2};
    Predictions p = {good, label, 2, 2}, q = {good, NULL, 2, 2};
    Error e;
    assert_true(measure_zrf(&x, &q, &q, &e));
    near(x, 1, 0);
    assert_true(measure_activation_distance(&x, &q, &q, &e));
    near(x, 0, 0);
    assert_false(predictions_check("these", &p, true, &e));
    says(&e, "these: sample 1 has label 2");
    assert_false(predictions_check("these", &q, true, &e));
    says(&e, "no labels");
    assert_false(measure_zrf(&x, &q, &(Predictions){nan, NULL, 2, 2}, &e));
    says(&e, "the untrained model: sample 1 gives class 0 probability");
    assert_false(measure_zrf(&x, &(Predictions){sum, NULL, 2, 2}, &q, &e));
    says(&e, "sum to 1.4");
    assert_false(measure_zrf(&x, &q, &(Predictions){good, NULL, 1, 2}, &e));
    says(&e, "not the same");
    assert_false(measure_zrf(&x, &(Predictions){good, NULL, 0, 2}, &q, &e));
    says(&e, "no samples");
    assert_false(measure_logit_confidences(&x, good, label + 1, 1, 2, &e));
    assert_false(measure_logit_confidences(&x, nan + 2, label, 1, 2, &e));
    says(&e, "logits: number 0");
}

/* ---------------------------------------------------------------------------------------- membership --- */

static void svc_laws(void **state) {
    (void)state;
    double low[60], high[60], flat[60], steps[60], tens[30], bad[] = {NAN};
    SvcPoints below = {low, 60}, above = {high, 60}, same = {flat, 60};
    SvcResult r;
    Error e;
    draw(low, 60, 1, 0);
    draw(high, 60, 2, 8);
    for (int i = 0; i < 60; i++) flat[i] = 0.5;
    /* Far apart, all is told right: forgotten ones as the retained are members, as the test's are not. */
    assert_true(svc_attack(&r, above, below, above, 1, &e));
    near(r.shadow, 100, 0);
    near(r.efficacy, 0, 0);
    assert_true(svc_attack(&r, above, below, below, 1, &e));
    near(r.efficacy, 100, 0);
    /* The larger side is thinned evenly: where it goes class by class, all of them are learnt. */
    for (int i = 0; i < 60; i++) steps[i] = 20 * (i / 20);
    above.n = below.n = 30;
    for (int i = 0; i < 30; i++) tens[i] = 10 + 20 * (i / 10);
    assert_true(svc_attack(&r, (SvcPoints){tens, 30}, (SvcPoints){steps, 60}, (SvcPoints){steps, 60}, 1, &e));
    assert_int_equal(r.each, 30);
    near(r.shadow, 100, 0);
    near(r.efficacy, 100, 0);
    assert_true(svc_attack(&r, (SvcPoints){steps, 60}, (SvcPoints){tens, 30}, (SvcPoints){steps, 60}, 1, &e));
    assert_int_equal(r.each, 30);
    near(r.shadow, 100, 0);
    near(r.efficacy, 0, 0);
    /* Nothing to tell apart by. */
    assert_true(svc_attack(&r, same, same, same, 1, &e));
    near(r.shadow, 50, 0);
    assert_true(r.efficacy == 0 || r.efficacy == 100);

    assert_false(svc_attack(&r, (SvcPoints){low, 0}, below, above, 1, &e));
    says(&e, "retained samples: there are none");
    assert_false(svc_attack(&r, above, (SvcPoints){bad, 1}, above, 1, &e));
    says(&e, "test samples: number 0 is");
    assert_false(svc_attack(&r, above, below, (SvcPoints){low, SVC_MOST + 1}, 1, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_false(svc_attack(&r, above, below, above, 0, &e));
}

/* --------------------------------------------------------------------------------------- two samples --- */

static void ks_laws(void **state) {
    (void)state;
    double a[50], b[70], c[70], flat[9] = {0}, distance;
    KsTest r, again;
    Error e;
    draw(a, 50, 1, 0);
    draw(b, 70, 2, 0.5);
    assert_true(ks_test(&r, a, 50, a, 50, &e));
    near(r.d, 0, 0);
    near(r.p, 1, 0);
    near(r.exact, 1, 0);
    assert_true(ks_test(&r, (double[]){1, 2, 3}, 3, (double[]){4, 5, 6, 7}, 4, &e));
    near(r.exact, 2.0 / 35, 1e-15); /* two orders of 7 choose 3 are as extreme */
    assert_true(ks_test(&r, a, 50, b, 70, &e));
    assert_true(ks_test(&again, b, 70, a, 50, &e));
    near(r.d, again.d, 0);
    near(r.p, again.p, 0);
    for (int i = 0; i < 70; i++) c[i] = exp(b[i]);
    for (int i = 0; i < 50; i++) a[i] = exp(a[i]); /* a rising map changes no order */
    assert_true(ks_test(&again, a, 50, c, 70, &e));
    near(again.d, r.d, 0);
    assert_true(ks_test(&r, a, 50, flat, 9, &e)); /* all of one side below the other */
    near(r.d, 1, 0);
    assert_true(r.p < 1e-5);
    assert_true(ks_test(&r, flat, 9, flat, 1, &e));
    near(r.p, 1, 0);
    for (int i = 1; i < 200; i++) assert_true(ks_tail(0.02 * i) <= ks_tail(0.02 * (i - 1)));
    near(ks_tail(-1), 1, 0);
    near(ks_tail(0), 1, 0);

    assert_true(ks_histogram_distance(&distance, a, 50, a, 50, 10, &e));
    near(distance, 0, 0);
    assert_true(ks_histogram_distance(&distance, flat, 9, flat, 3, 10, &e));
    near(distance, 0, 0);
    assert_true(ks_histogram_distance(&distance, (double[]){0}, 1, (double[]){1}, 1, 10, &e));
    near(distance, sqrt(log(2)), 1e-15);
    assert_false(ks_histogram_distance(&distance, a, 50, a, 50, 0, &e));
    assert_false(ks_test(&r, a, 50, b, 0, &e));
    says(&e, "the second sample: 0 given");
    b[3] = NAN;
    assert_false(ks_test(&r, a, 50, b, 70, &e));
    says(&e, "number 3 is");
}

/* ----------------------------------------------------------------------------------------- intervals --- */

static void quantiles(void **state) {
    (void)state;
    static const double p[] = {0.01, 0.3, 0.5, 0.8, 0.975, 0.9999};
    for (int i = 0; i < COUNT(p); i++) {
        double a = 2 * p[i] - 1, turn = 3.14159265358979323846;
        near(student_quantile(p[i], 1), tan(turn * (p[i] - 0.5)),
             1e-9 * (1 + fabs(tan(turn * (p[i] - 0.5)))));
        near(student_quantile(p[i], 2), a * sqrt(2 / (1 - a * a)), 1e-9 * 100);
        near(student_cdf(student_quantile(p[i], 5), 5), p[i], 1e-13);
        near(student_quantile(p[i], 1e7), normal_quantile(p[i]), 1e-5);
        near(student_quantile(1 - p[i], 5), -student_quantile(p[i], 5), 1e-8);
    }
    near(normal_quantile(0.975), 1.959963984540054, 1e-13);
    near(student_cdf(INFINITY, 3), 1, 0);
    near(student_cdf(0, 3), 0.5, 1e-15);
    assert_true(isnan(normal_quantile(0)) && isnan(normal_quantile(1)) && isnan(normal_quantile(NAN)));
    assert_true(isnan(student_quantile(0.5, 0)) && isnan(student_cdf(NAN, 3)));
}

static void intervals(void **state) {
    (void)state;
    double x[400], flat[5] = {3, 3, 3, 3, 3};
    Interval r, wide, again;
    Error e;
    draw(x, 400, 3, 10);
    for (int n = 1; n < 60; n += 7)
        for (int hits = 0; hits <= n; hits++) {
            assert_true(interval_wilson(&r, hits, n, 0.95, &e));
            assert_true(interval_wilson(&wide, hits, n, 0.99, &e));
            assert_true(0 <= r.lo && r.lo <= r.value && r.value <= r.hi && r.hi <= 1);
            assert_true(wide.lo <= r.lo && r.hi <= wide.hi);
            assert_true(interval_wilson(&again, n - hits, n, 0.95, &e));
            near(again.lo, 1 - r.hi, 1e-15);
        }
    assert_true(interval_t(&r, flat, 5, 0.95, &e));
    near(r.hi - r.lo, 0, 0);
    /* With many numbers the bootstrap and Student agree. */
    assert_true(interval_t(&r, x, 400, 0.95, &e));
    assert_true(interval_bootstrap(&wide, x, 400, 4000, 0.95, 1, &e));
    near(wide.lo, r.lo, 0.01);
    near(wide.hi, r.hi, 0.01);
    assert_true(interval_bootstrap(&again, x, 400, 4000, 0.95, 1, &e));
    assert_memory_equal(&again, &wide, sizeof wide);
    assert_true(interval_bootstrap(&again, x, 400, 4000, 0.95, 2, &e));
    assert_true(again.lo != wide.lo);
    assert_true(interval_bootstrap(&r, flat, 5, 100, 0.95, 1, &e));
    near(r.hi - r.lo, 0, 0);

    assert_false(interval_t(&r, x, 1, 0.95, &e));
    says(&e, "at least 2");
    assert_false(interval_t(&r, x, 4, 1, &e));
    says(&e, "level");
    assert_false(interval_t(&r, x, 4, NAN, &e));
    assert_false(interval_wilson(&r, 1, 0, 0.95, &e));
    assert_false(interval_wilson(&r, 4, 3, 0.95, &e));
    assert_false(interval_wilson(&r, -1, 3, 0.95, &e));
    assert_false(interval_bootstrap(&r, x, 400, 10, 0.95, 1, &e));
    x[2] = INFINITY;
    assert_false(interval_bootstrap(&r, x, 400, 100, 0.95, 1, &e));
}

/* -------------------------------------------------------------------------------------- ROC and LiRA --- */

static void roc_laws(void **state) {
    (void)state;
    double x[600], y[600], tied[] = {1, 1, 1, 1}, accuracy;
    uint8_t member[600], other[600], half[] = {0, 1, 0, 1};
    Roc r, again;
    Error e;
    draw(x, 600, 4, 0);
    for (int i = 0; i < 600; i++) {
        member[i] = i % 3 == 0;
        other[i] = !member[i];
        x[i] += member[i];
        y[i] = exp(3 * x[i]) - 7;
    }
    assert_true(roc_measure(&r, x, member, 600, &e));
    assert_true(roc_measure(&again, y, member, 600, &e));
    assert_memory_equal(&r, &again, sizeof r);
    assert_true(roc_measure(&again, x, other, 600, &e));
    near(again.auc, 1 - r.auc, 1e-14);
    assert_true(r.tpr[0] <= r.tpr[1] && r.tpr[1] <= r.tpr[2] && r.best >= 0.5 && r.auc > 0.6);
    assert_true(roc_measure(&r, tied, half, 4, &e)); /* whatever their order */
    near(r.auc, 0.5, 0);
    near(r.tpr[2], 0, 0);
    assert_true(roc_balanced_accuracy(&accuracy, tied, half, 4, 1, &e));
    near(accuracy, 0.5, 0);
    assert_true(roc_measure(&r, (double[]){1, 2, 3, 4}, (uint8_t[]){0, 0, 1, 1}, 4, &e));
    near(r.auc + r.best + r.tpr[0], 3, 0);
    /* A rate of 1 % of 2900 negatives allows 29 of them, of 2899 only 28. */
    for (int negatives = 2899; negatives <= 2900; negatives++) {
        double *score = calloc((size_t)negatives + 2, sizeof *score);
        uint8_t *is = calloc((size_t)negatives + 2, 1);
        for (int i = 0; i < negatives; i++) score[i] = i;
        score[negatives] = negatives - 29.5, is[negatives] = 1; /* below 29 negatives */
        score[negatives + 1] = -1, is[negatives + 1] = 1;
        assert_true(roc_measure(&r, score, is, negatives + 2, &e));
        near(r.tpr[1], negatives == 2900 ? 0.5 : 0, 0);
        free(score);
        free(is);
    }
    assert_false(roc_measure(&r, x, (uint8_t[]){1, 1, 1}, 3, &e));
    says(&e, "3 of 3");
    assert_false(roc_measure(&r, x, member, 0, &e));
    x[1] = NAN;
    assert_false(roc_measure(&r, x, member, 600, &e));
    assert_false(roc_balanced_accuracy(&accuracy, x, member, 600, 0, &e));
}

static void lira_laws(void **state) {
    (void)state;
    double phi[12 * 3], target[3] = {1, 2, 3}, score[3], moved[3];
    uint8_t in[12 * 3];
    LiraShadows s = {phi, in, 12, 3};
    LiraNote note;
    Error e;
    draw(phi, 36, 5, 0);
    for (int i = 0; i < 36; i++) in[i] = i / 3 % 2 == 0;
    assert_true(lira_score(score, &s, target, 1, LIRA_ONLINE, &note, &e));
    assert_true(note.pooled && note.least_in == 6 && note.least_out == 6);
    /* Swapping the sides turns the sign, moving and stretching all values changes nothing. */
    for (int i = 0; i < 36; i++) in[i] = !in[i];
    assert_true(lira_score(moved, &s, target, 1, LIRA_ONLINE, NULL, &e));
    for (int i = 0; i < 3; i++) near(moved[i], -score[i], 1e-12);
    for (int i = 0; i < 36; i++) phi[i] = 5 + 3 * phi[i];
    for (int i = 0; i < 3; i++) target[i] = 5 + 3 * target[i];
    assert_true(lira_score(moved, &s, target, 1, LIRA_ONLINE, NULL, &e));
    for (int i = 0; i < 3; i++) near(moved[i], -score[i], 1e-12);
    near(lira_probability(0), 0.5, 0);
    near(lira_probability(-1e6), 0, 0);
    /* Values that are all equal have a spread all the same. */
    for (int i = 0; i < 36; i++) phi[i] = 4;
    target[0] = target[1] = target[2] = 4;
    assert_true(lira_score(score, &s, target, 1, LIRA_ONLINE, NULL, &e));
    near(score[0], 0, 0);
    assert_true(lira_score(score, &s, target, 1, LIRA_OFFLINE, NULL, &e));
    near(score[2], 0, 0);

    memset(in, 0, sizeof in);
    assert_true(lira_score(score, &s, target, 1, LIRA_OFFLINE, NULL, &e));
    in[1] = 1;
    assert_false(lira_score(score, &s, target, 1, LIRA_ONLINE, NULL, &e));
    says(&e, "0 shadow models had example 0");
    memset(in, 1, sizeof in);
    assert_false(lira_score(score, &s, target, 1, LIRA_OFFLINE, NULL, &e));
    says(&e, "never had example 0");
    s.models = 0;
    assert_false(lira_score(score, &s, target, 1, LIRA_OFFLINE, NULL, &e));
    s.models = 12;
    phi[5] = INFINITY;
    assert_false(lira_score(score, &s, target, 1, LIRA_OFFLINE, NULL, &e));
}

/* ---------------------------------------------------------------------------------------- regression --- */

/* A narrow curved valley (Rosenbrock 1960) whose least is 0 at (1, 1). */
static double valley(void *self, const double *x, double *g) {
    double a = 1 - x[0], b = x[1] - x[0] * x[0];
    (*(int *)self)++;
    g[0] = -2 * a - 400 * x[0] * b;
    g[1] = 200 * b;
    return a * a + 100 * b * b;
}

static double never(void *self, const double *x, double *g) {
    (void)self;
    g[0] = x[0];
    return NAN;
}

static void minimum(void **state) {
    (void)state;
    double x[] = {-1.2, 1};
    int calls = 0;
    LbfgsNote note;
    Error e;
    assert_true(lbfgs_minimise(&note, x, 2, valley, &calls, 1e-10, 200, &e));
    assert_true(note.converged && calls < 120);
    near(x[0], 1, 1e-9);
    near(x[1], 1, 1e-9);
    x[0] = -1.2, x[1] = 1;
    assert_true(lbfgs_minimise(&note, x, 2, valley, &calls, 1e-10, 3, &e));
    assert_true(!note.converged && note.steps == 3 && note.value < 24.2);
    assert_true(lbfgs_minimise(&note, x, 2, valley, &calls, 0, 1000, &e)); /* as far as rounding allows */
    near(x[0], 1, 1e-7);
    assert_false(lbfgs_minimise(&note, x, 1, never, NULL, 0, 10, &e));
    assert_int_equal(e.code, ERROR_NUMERIC);
    assert_false(lbfgs_minimise(&note, x, 0, valley, &calls, 0, 10, &e));
}

/* n samples of `classes` Gaussian clouds `apart` from each other along as many axes; label i % classes. */
static void clouds(double *x, int32_t *label, int n, int columns, int classes, double apart) {
    draw(x, n * columns, 6, 0);
    for (int i = 0; i < n; i++) {
        label[i] = i % classes;
        x[i * columns + label[i] % columns] += apart;
    }
}

static void logistic_laws(void **state) {
    (void)state;
    double x[200 * 4], prob[3], before[3];
    int32_t label[200];
    LogisticData d = {.x = x, .label = label, .n = 200, .columns = 4, .classes = 3};
    LogisticSettings s = logistic_standard;
    Logistic m, again;
    Error e;
    clouds(x, label, 200, 4, 3, 3);
    for (int i = 0; i < 200; i++) x[i * 4 + 3] = 0.1; /* a constant column */
    assert_true(logistic_fit(&m, &d, &s, &e));
    assert_true(m.converged && logistic_accuracy(&m, &d) > 0.85);
    for (int k = 0; k < 3; k++) near(m.weight[k * 4 + 3], 0, 0);
    logistic_probabilities(&m, x, before);
    near(before[0] + before[1] + before[2], 1, 1e-12);
    /* The same numbers give the same bits; other units of the features change nothing. */
    assert_true(logistic_fit(&again, &d, &s, &e));
    assert_memory_equal(again.weight, m.weight, 15 * sizeof *m.weight);
    logistic_free(&again);
    for (int i = 0; i < 800; i++) x[i] = 1000 * x[i] - 77;
    assert_true(logistic_fit(&again, &d, &s, &e));
    logistic_probabilities(&again, x, prob);
    for (int k = 0; k < 3; k++) near(prob[k], before[k], 1e-6);
    logistic_free(&again);
    logistic_free(&m);

    label[5] = 3;
    assert_false(logistic_fit(&m, &d, &s, &e));
    says(&e, "sample 5 has label 3");
    assert_null(m.weight);
    d.classes = 5;
    assert_false(logistic_fit(&m, &d, &s, &e));
    says(&e, "no sample is of class 4");
    d.classes = 4;
    x[7 * 4] = NAN;
    assert_false(logistic_fit(&m, &d, &s, &e));
    says(&e, "sample 7");
    s.l2 = 0;
    assert_false(logistic_fit(&m, &d, &s, &e));
    d.n = 0;
    assert_false(logistic_fit(&m, &d, &logistic_standard, &e));
}

/* Large enough for threads to share the work: the same bits whatever their number. */
static void logistic_threads(void **state) {
    (void)state;
    enum { N = 300, COLUMNS = 150, CLASSES = 4, WEIGHTS = CLASSES * (COLUMNS + 1) };
    double *x = mem_zero(N * COLUMNS, sizeof *x);
    int32_t label[N];
    LogisticData d = {.x = x, .label = label, .n = N, .columns = COLUMNS, .classes = CLASSES};
    Logistic one, three;
    int threads = omp_get_max_threads();
    Error e;
    clouds(x, label, N, COLUMNS, CLASSES, 2);
    omp_set_num_threads(1);
    assert_true(logistic_fit(&one, &d, &logistic_standard, &e));
    omp_set_num_threads(3);
    assert_true(logistic_fit(&three, &d, &logistic_standard, &e));
    omp_set_num_threads(threads);
    assert_memory_equal(one.weight, three.weight, WEIGHTS * sizeof(double));
    logistic_free(&one);
    logistic_free(&three);
    mem_free(x);
}

static void folds(void **state) {
    (void)state;
    int32_t label[103], fold[103], again[103];
    Error e;
    for (int i = 0; i < 103; i++) label[i] = i < 50 ? 0 : i < 101 ? 1 : 2;
    assert_true(folds_deal(fold, label, 103, 3, 5, 1, &e));
    for (int k = 0; k < 3; k++) {
        int count[5] = {0}, total = 0;
        for (int i = 0; i < 103; i++) count[fold[i]] += label[i] == k;
        for (int f = 0; f < 5; f++) total += count[f];
        for (int f = 0; f < 5; f++) assert_true(count[f] == total / 5 || count[f] == total / 5 + 1);
    }
    int size[5] = {0};
    for (int i = 0; i < 103; i++) size[fold[i]]++;
    for (int f = 0; f < 5; f++) assert_true(size[f] == 20 || size[f] == 21);
    assert_true(folds_deal(again, label, 103, 3, 5, 1, &e));
    assert_memory_equal(again, fold, sizeof fold);
    assert_true(folds_deal(again, label, 103, 3, 5, 2, &e));
    assert_memory_not_equal(again, fold, sizeof fold);
    assert_false(folds_deal(fold, label, 102, 3, 5, 1, &e));
    says(&e, "class 2 has one sample");
    assert_false(folds_deal(fold, label, 103, 2, 5, 1, &e));
    assert_false(folds_deal(fold, label, 103, 3, 1, 1, &e));
    assert_false(folds_deal(fold, label, 3, 3, 4, 1, &e));
}

static void probes(void **state) {
    (void)state;
    double x[240 * 5], forgotten[120], unseen[300];
    int32_t label[240];
    ProbeResult r;
    ProbeLosses l, again;
    Error e;
    clouds(x, label, 240, 5, 4, 5);
    for (int i = 0; i < 240; i++) label[i] = 1000 - 7 * label[i]; /* any numbers */
    assert_true(probe_features(&r, x, label, 240, 5, 5, &logistic_standard, 1, &e));
    assert_true(r.classes == 4 && r.chance == 0.25 && r.converged && r.accuracy.value > 0.95);
    clouds(x, label, 240, 5, 4, 0); /* features that know nothing */
    assert_true(probe_features(&r, x, label, 240, 5, 5, &logistic_standard, 1, &e));
    assert_true(r.accuracy.lo < 0.25 && r.accuracy.hi > 0.25);
    memset(label, 0, sizeof label);
    assert_false(probe_features(&r, x, label, 240, 5, 5, &logistic_standard, 1, &e));
    says(&e, "one class");
    assert_false(probe_features(&r, x, label, 0, 5, 5, &logistic_standard, 1, &e));

    draw(forgotten, 120, 8, 1);
    draw(unseen, 300, 9, 1);
    assert_true(probe_losses(&l, forgotten, 120, unseen, 300, 1, &e));
    assert_int_equal(l.each, 120);
    near(l.accuracy, 0.5, 0.12);
    assert_true(probe_losses(&again, forgotten, 120, unseen, 300, 1, &e));
    assert_memory_equal(&again, &l, sizeof l);
    for (int i = 0; i < 120; i++) forgotten[i] -= 6; /* remembered well */
    assert_true(probe_losses(&l, forgotten, 120, unseen, 300, 1, &e));
    assert_true(l.accuracy > 0.98 && l.spread < 0.03);
    for (int i = 0; i < 120; i++) forgotten[i] = unseen[i] = 2;
    assert_true(probe_losses(&l, forgotten, 120, unseen, 120, 1, &e)); /* nothing to go by */
    near(l.accuracy, 0.5, 0);
    assert_false(probe_losses(&l, forgotten, 9, unseen, 300, 1, &e));
    says(&e, "at least 10");
    unseen[0] = NAN;
    assert_false(probe_losses(&l, forgotten, 120, unseen, 300, 1, &e));
}

/* ------------------------------------------------------------------------------------------ quantise --- */

static void quantise(void **state) {
    (void)state;
    float w[] = {7, -3.4f, 0.5f, 1.5f, 0, 0, 0, 0, -0.7f, 0.07f, 0.14f, 0.26f};
    static const float four[] = {7, -3, 0, 2, 0, 0, 0, 0, -0.7f, 0.1f, 0.1f, 0.3f};
    float eight[] = {127, -126.6f, 0.4f, 64.5f}, same[12], tiny[] = {1e-44f, 3e-45f}, bad[] = {1, INFINITY};
    double error;
    Error e;
    assert_true(quantise_rows(w, 3, 4, 4, &error, &e));
    for (int i = 0; i < 12; i++) near((double)w[i], (double)four[i], 1e-7);
    near(error, sqrt((0.16 + 0.25 + 0.25 + 0.0009 + 0.0016 + 0.0016) / 12), 1e-6);
    memcpy(same, w, sizeof w);
    assert_true(quantise_rows(w, 3, 4, 4, &error, &e));
    for (int i = 0; i < 12; i++) near((double)w[i], (double)same[i], 1e-7);
    assert_true(quantise_rows(eight, 1, 4, 8, NULL, &e));
    near((double)eight[0] + (double)eight[1], 0, 0);
    near((double)eight[2], 0, 0);
    near((double)eight[3], 64, 0);
    assert_true(quantise_rows(tiny, 1, 2, 8, &error, &e));
    assert_true(tiny[0] > 0 && isfinite(tiny[1]) && isfinite(error));
    assert_false(quantise_rows(bad, 1, 2, 8, NULL, &e));
    says(&e, "weight [0, 1]");
    near((double)bad[0], 1, 0);
    assert_false(quantise_rows(w, 3, 4, 1, NULL, &e));
    assert_false(quantise_rows(w, 3, 4, 9, NULL, &e));
    assert_false(quantise_rows(w, 0, 4, 8, NULL, &e));
}

/* -------------------------------------------------------------------------------- when memory is out --- */

static double some[80];
static int32_t kinds[80];

static bool run_svc(Error *e) {
    double p[160];
    SvcResult r;
    Predictions all = {p, kinds, 80, 2};
    for (int i = 0; i < 80; i++) p[2 * i + 1] = 1 - (p[2 * i] = 0.5 + 0.1 * some[i]);
    return svc_membership(&r, SVC_CONFIDENCE, &all, &all, &all, e);
}

static bool run_ks(Error *e) {
    KsTest r;
    double d;
    return ks_test(&r, some, 40, some + 40, 40, e) &&
           ks_histogram_distance(&d, some, 40, some + 40, 40, 5, e);
}

static bool run_bootstrap(Error *e) {
    Interval r;
    return interval_bootstrap(&r, some, 80, 100, 0.9, 1, e);
}

static bool run_lira(Error *e) {
    uint8_t in[40], member[10] = {1};
    double score[10];
    Roc r;
    for (int i = 0; i < 40; i++) in[i] = i / 10 % 2;
    return lira_score(score, &(LiraShadows){some, in, 4, 10}, some + 40, 1, LIRA_ONLINE, NULL, e) &&
           roc_measure(&r, score, member, 10, e);
}

static bool run_probe(Error *e) {
    ProbeResult r;
    return probe_features(&r, some, kinds, 40, 2, 2, &logistic_standard, 1, e);
}

static bool run_losses(Error *e) {
    ProbeLosses r;
    return probe_losses(&r, some, 40, some + 40, 40, 1, e);
}

/* The n-th request fails, for every n: an error, no leak, no crash. */
static void memory_out(void **state) {
    (void)state;
    bool (*const run[])(Error *) = {run_svc, run_ks, run_bootstrap, run_lira, run_probe, run_losses};
    for (int i = 0; i < 80; i++) {
        Rng r = rng_open(7, RNG_TEST, 1, (uint64_t)(100 + i));
        some[i] = rng_range(&r, -3, 3);
        kinds[i] = i % 2;
    }
    for (int i = 0; i < COUNT(run); i++) {
        uint64_t live = mem_stat().live;
        bool ok = false;
        for (int n = 0; !ok && n < 200; n++) {
            Error e = {0};
            mem_fail_after(n);
            ok = run[i](&e);
            mem_fail_after(-1);
            if (!ok) assert_int_equal(e.code, ERROR_MEMORY);
            assert_int_equal(mem_stat().live, live);
        }
        assert_true(ok);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(measures),         cmocka_unit_test(scores),   cmocka_unit_test(predictions_refused),
        cmocka_unit_test(svc_laws),         cmocka_unit_test(ks_laws),  cmocka_unit_test(quantiles),
        cmocka_unit_test(intervals),        cmocka_unit_test(roc_laws), cmocka_unit_test(lira_laws),
        cmocka_unit_test(minimum),          cmocka_unit_test(folds),    cmocka_unit_test(logistic_laws),
        cmocka_unit_test(logistic_threads), cmocka_unit_test(probes),   cmocka_unit_test(quantise),
        cmocka_unit_test(memory_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
