/* Methods of unlearning against plain PyTorch (tests/golden/make_unlearn.py), and what holds for each of
 * them: the weights that came in are never written, a run can be repeated to the bit, empty parts of a batch
 * do no harm, and what is not finite stops it and changes nothing. */
#include "tests/unlearn_world.h"

/* Of the difference to the reference: against the length of the weights, and of the way they have gone. */
static const double LIMIT = 1e-5, WAY = 3e-5;

static const char *const cases[] = {
    "fine_tune",
    "fine_tune_adamw",
    "fine_tune_last",
    "fine_tune_reset",
    "ascent",
    "ascent_bound",
    "ascent_class",
    "neggrad",
    "random_label",
    "random_label_once",
    "bad_teacher",
    "bad_teacher_part",
    "scrub",
    "scrub_rewind",
    "ssd",
    "ssd_label_free",
    "ssd_matrices",
    "l1_sparse",
    "l1_sparse_all",
    "prune",
    "prune_salun",
    "salun",
    "salun_mixed",
    "salun_ties",
    "salun_per_tensor",
    "salun_soft",
    "boundary_shrink",
    "boundary_expand",
    "duck",
    "duck_class",
    "slug",
    "slug_firm",
    "slug_samples",
    "i2i",
    "influence",
    "influence_published",
    "scar",
    "scar_class",
    "scar_self",
    "laf",
    "laf_repair",
};

/* A case that is set up and can be run. */
typedef struct Case {
    World *w;
    const Method *method;
    void *settings;
    size_t bytes; /* of all weights */
} Case;

static Case case_open(const char *name) {
    Case c = {0};
    c.w = world_open(name, &c.method, &c.settings);
    c.bytes = (size_t)c.w->task.params.values * sizeof(real);
    return c;
}

static void case_close(Case *c) {
    world_close(c->w);
    mem_free(c->settings);
}

static bool case_run(Case *c, Error *e) {
    c->w->asks = 0;
    return method_run(c->method, &c->w->u, c->settings, e);
}

static void case_run_well(Case *c) {
    Error e = {0};
    if (!case_run(c, &e)) fail_msg("%s", e.text);
}

/* A copy of n bytes; mem_free. */
static real *copy_of(const real *x, size_t bytes) {
    real *y = mem_get(bytes);
    if (!y) fail_msg("out of memory");
    memcpy(y, x, bytes);
    return y;
}

static Tensor after(const Case *c, const char *name, const Param *q) {
    char key[160];
    snprintf(key, sizeof key, "after.%s.%s", name, q->name);
    return golden_read(c->w->file, key);
}

/* ---- against the reference ---- */

static void compare(const Case *c, const char *name) {
    double off = 0, size = 0, way = 0;
    const Params *p = &c->w->task.params;
    for (int i = 0; i < p->count; i++) {
        Tensor want = after(c, name, p->list[i]);
        const real *got = tensor_real(&p->list[i]->tensor), *from = c->w->u.origin + (got - p->value);
        for (int64_t k = 0; k < tensor_count(&want); k++) {
            double x = (double)tensor_real(&want)[k];
            off += pow((double)got[k] - x, 2);
            way += pow((double)from[k] - x, 2);
            size += x * x;
        }
        mem_free(want.data);
    }
    double far = sqrt(off / size), part = sqrt(off / way);
    print_message("%-18s off by %.1e of the weights, %.1e of the way\n", name, far, part);
    if (!(far <= LIMIT)) fail_msg("%s: off by %.3g of the weights, limit %.3g", name, far, LIMIT);
    if (!(part <= WAY)) fail_msg("%s: off by %.3g of the way, limit %.3g", name, part, WAY);
}

static void as_the_reference(void **state) {
    const char *name = *state;
    Case c = case_open(name);
    real *origin = copy_of(c.w->u.origin, c.bytes), *first;
    case_run_well(&c);
    compare(&c, name);
    first = copy_of(c.w->task.params.value, c.bytes);
    case_run_well(&c);
    assert_memory_equal(c.w->task.params.value, first, c.bytes);
    assert_memory_equal(c.w->u.origin, origin, c.bytes);
    mem_free(origin);
    mem_free(first);
    case_close(&c);
}

static void no_case_is_left_out(void **state) {
    (void)state;
    Error e;
    SafeFile *f;
    int n = 0;
    if (!safe_open(&f, WORLD_FILE, &e)) fail_msg("%s", e.text);
    for (int i = 0; i < safe_meta_count(f); i++) n += !strncmp(safe_meta_at(f, i)->key, "recipe.", 7);
    assert_int_equal(n, COUNT(cases));
    safe_close(f);
}

/* What the reference leaves alone stays to the bit: by a mask, by freezing, by choice of a layer. */
static void frozen_to_the_bit(void **state) {
    (void)state;
    static const char *const frozen[] = {"salun",          "salun_mixed", "salun_ties", "salun_per_tensor",
                                         "fine_tune_last", "ssd",         "slug",       "i2i"};
    for (int j = 0; j < COUNT(frozen); j++) {
        Case c = case_open(frozen[j]);
        int64_t stay = 0, all = 0;
        case_run_well(&c);
        const Params *p = &c.w->task.params;
        for (int i = 0; i < p->count; i++) {
            Tensor want = after(&c, frozen[j], p->list[i]);
            const real *got = tensor_real(&p->list[i]->tensor), *from = c.w->u.origin + (got - p->value);
            for (int64_t k = 0; k < tensor_count(&want); k++, all++) {
                if (tensor_real(&want)[k] != from[k]) continue;
                assert_memory_equal(&got[k], &from[k], sizeof *from);
                stay++;
            }
            mem_free(want.data);
        }
        print_message("%-18s %d of %d weights stay\n", frozen[j], (int)stay, (int)all);
        assert_true(stay > 0 && stay < all);
        case_close(&c);
    }
}

/* ---- laws ---- */

static void labels_are_asked_for(void **state) {
    (void)state;
    int refused = 0;
    for (int i = 0; i < COUNT(cases); i++) {
        Case c = case_open(cases[i]);
        Error e = {0};
        c.w->no_classes = true;
        c.w->task.classes = 0;
        if (c.method->needs & NEEDS_LABELS) {
            assert_false(case_run(&c, &e));
            assert_int_equal(e.code, ERROR_VALUE);
            assert_non_null(strstr(e.text, "moves samples between classes, and task \"net\" has none"));
            assert_non_null(strstr(e.text, c.method->name));
            assert_memory_equal(c.w->task.params.value, c.w->u.origin, c.bytes);
            refused++;
        }
        case_close(&c);
    }
    assert_int_equal(refused, 7);
}

/* A set that a method needs and that is not there. */
static void sets_are_asked_for(void **state) {
    (void)state;
    for (int i = 0; i < COUNT(cases); i++)
        for (UnlearnSet set = SET_RETAIN; set <= SET_FORGET; set++) {
            Case c = case_open(cases[i]);
            Error e = {0};
            c.w->world.count[set] = 0;
            if (c.method->needs & (set == SET_RETAIN ? NEEDS_RETAIN : NEEDS_FORGET)) {
                assert_false(case_run(&c, &e));
                assert_non_null(strstr(e.text, set == SET_RETAIN ? "retained" : "forgotten"));
            }
            case_close(&c);
        }
}

/* Those that stop by unseen samples say so before they begin. */
static void unseen_are_asked_for(void **state) {
    (void)state;
    static const char *const stops[] = {"duck", "scrub_rewind", "slug_samples", "scar"};
    for (int i = 0; i < COUNT(stops); i++) {
        Case c = case_open(stops[i]);
        Error e = {0};
        c.w->world.count[SET_VALID] = 0;
        assert_false(case_run(&c, &e));
        assert_non_null(strstr(e.text, "unlearn.validation"));
        assert_int_equal(c.w->u.updates, 0);
        case_close(&c);
    }
}

/* A rank's part of a batch may be empty. */
static void empty_parts_do_no_harm(void **state) {
    (void)state;
    for (int i = 0; i < COUNT(cases); i++) {
        Case c = case_open(cases[i]);
        c.w->holes = true;
        case_run_well(&c);
        const Params *p = &c.w->task.params;
        bool moved = false;
        for (int64_t k = 0; k < p->values; k++) {
            if (!isfinite(p->value[k])) fail_msg("%s: a weight is not finite", cases[i]);
            moved = moved || p->value[k] != c.w->u.origin[k];
        }
        assert_true(moved);
        case_close(&c);
    }
}

static void not_finite_stops(void **state) {
    (void)state;
    static const int64_t when[] = {0, 5};
    for (int i = 0; i < COUNT(cases); i++)
        for (int k = 0; k < COUNT(when); k++) {
            Case c = case_open(cases[i]);
            Error e = {0};
            c.w->bad_at = when[k];
            if (case_run(&c, &e)) fail_msg("%s went on with what is not finite", cases[i]);
            if (e.code != ERROR_NUMERIC) fail_msg("%s: %s", cases[i], e.text);
            assert_non_null(strstr(e.text, "not finite"));
            if (memcmp(c.w->task.params.value, c.w->u.origin, c.bytes) != 0)
                fail_msg("%s changed weights before it stopped", cases[i]);
            case_close(&c);
        }
}

int main(void) {
    struct CMUnitTest tests[COUNT(cases) + 7] = {
        cmocka_unit_test(no_case_is_left_out),  cmocka_unit_test(frozen_to_the_bit),
        cmocka_unit_test(labels_are_asked_for), cmocka_unit_test(sets_are_asked_for),
        cmocka_unit_test(unseen_are_asked_for), cmocka_unit_test(empty_parts_do_no_harm),
        cmocka_unit_test(not_finite_stops),
    };
    for (int i = 0; i < COUNT(cases); i++)
        tests[7 + i] = (struct CMUnitTest){
            .name = cases[i], .test_func = as_the_reference, .initial_state = (void *)cases[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
