/* The audit itself, on a network of two layers: what a method leaves behind does not bind who relearns, and
 * which accuracies count. The statistics: test_audit_stats.c, test_audit_laws.c.
 */
#include "tests/unlearn_world.h"

#include "unlearn/audit.h"

static const AuditSettings settings = {.relearn_steps = 12,
                                       .relearn_every = 3,
                                       .relearn_lr = 0.01,
                                       .relearn_few = 0.2,
                                       .quantise = true,
                                       .probe_folds = 2,
                                       .most = 100};

typedef struct Case {
    World *w;
    const Method *method;
    void *settings;
    Audit before;
} Case;

/* A world of the golden cases, with unseen samples for audits, and the model before audited. */
static Case case_open(const char *name) {
    Error e;
    Case c = {0};
    c.w = world_open(name, &c.method, &c.settings);
    c.w->ids[SET_TEST] = golden_read(c.w->file, "samples.valid");
    c.w->world.count[SET_TEST] = tensor_count(&c.w->ids[SET_TEST]);
    if (!audit_measure(&c.before, &c.w->u, &settings, NULL, &e)) fail_msg("%s", e.text);
    c.before.figure[FIGURE_ua].value = -100; /* a score of 200: what nobody reaches, so that all is tried */
    return c;
}

static void case_close(Case *c) {
    audit_close(&c->before);
    world_close(c->w);
    mem_free(c->settings);
}

static void measure(Audit *a, Case *c) {
    Error e;
    if (!audit_measure(a, &c->w->u, &settings, &c->before, &e)) fail_msg("%s", e.text);
}

static void curves_equal(const AuditCurve *a, const AuditCurve *b) {
    assert_int_equal(a->n, b->n);
    assert_true(a->n > 2);
    for (int i = 0; i < a->n; i++) assert_true(a->step[i] == b->step[i] && a->score[i] == b->score[i]);
}

/* Weights that a method has pruned: another model, audited after it in the same place, relearns with all of
 * its own, and so does who is given the pruned one. */
static void test_pruned(void **state) {
    (void)state;
    Case c = case_open("prune");
    Unlearn *u = &c.w->u;
    const Params *p = &u->task->params;
    size_t bytes = (size_t)p->values * sizeof(real);
    real *pruned = mem_get(bytes);
    Audit alone, after, own, free_own;
    Error e;
    measure(&alone, &c);
    if (!method_run(c.method, u, c.settings, &e)) fail_msg("%s", e.text);
    real *zeros = u->keep;
    assert_non_null(zeros);
    memcpy(pruned, p->value, bytes);
    measure(&own, &c);
    assert_memory_equal(p->value, pruned, bytes);
    assert_ptr_equal(u->keep, zeros);
    unlearn_restore(u); /* a reference, as it were */
    measure(&after, &c);
    curves_equal(&alone.retained, &after.retained);
    curves_equal(&alone.few, &after.few);
    memcpy(p->value, pruned, bytes);
    u->keep = NULL;
    measure(&free_own, &c);
    u->keep = zeros;
    curves_equal(&own.retained, &free_own.retained);
    curves_equal(&own.few, &free_own.few);
    audit_close(&alone);
    audit_close(&after);
    audit_close(&own);
    audit_close(&free_own);
    mem_free(pruned);
    case_close(&c);
}

/* ---- by hand ---- */

static Audit by_hand(double ua, double ra, double ta, double mia) {
    Audit a = {.score = "top1", .share = true};
    for (int f = 0; f < FIGURES; f++) a.figure[f] = (Interval){NAN, NAN, NAN};
    a.figure[FIGURE_ua].value = ua;
    a.figure[FIGURE_ra].value = ra;
    a.figure[FIGURE_ta].value = ta;
    a.figure[FIGURE_mia].value = mia;
    return a;
}

static void near(double got, double want) {
    if (!(fabs(got - want) <= 1e-12)) fail_msg("%.15g, should be %.15g", got, want);
}

/* Whole classes: their unseen samples, where there are any; else the forgotten ones, against unseen ones. */
static void test_aus(void **state) {
    (void)state;
    Case c = case_open("ascent_class");
    Unlearn *u = &c.w->u;
    Audit before = by_hand(0, 99, 80, 0), a = by_hand(70, 99, 76, 0);
    Error e;
    assert_true(c.w->world.whole);
    assert_true(audit_compare(&a, u, &before, NULL, &e));
    near(a.figure[FIGURE_aus].value, 0.96 / 1.3);
    a.figure[FIGURE_ka].value = 10;
    assert_true(audit_compare(&a, u, &before, NULL, &e));
    near(a.figure[FIGURE_aus].value, 0.96 / 1.1);
    a.figure[FIGURE_ua].value = NAN; /* deleted: others of their class are there all the same */
    assert_true(audit_compare(&a, u, &before, NULL, &e));
    near(a.figure[FIGURE_aus].value, 0.96 / 1.1);
    c.w->world.whole = false;
    a = by_hand(20, 99, 76, 0);
    a.figure[FIGURE_ka].value = 10;
    assert_true(audit_compare(&a, u, &before, NULL, &e));
    near(a.figure[FIGURE_aus].value, 0.96 / 1.04);
    case_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pruned),
        cmocka_unit_test(test_aus),
    };
    return cmocka_run_group_tests_name("audit", tests, NULL, NULL);
}
