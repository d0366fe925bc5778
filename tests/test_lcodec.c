/* L-CODEC through the whole method, on a network of which is known what its loss depends on: neurons THIS and
 * THAT of a hidden layer, and nothing else. A second layer, which the loss never sees, has neurons that go
 * with these two, others that copy their neighbours, and some of their own. */
#include "tests/small_world.h"

#include "core/rng.h"
#include "unlearn/vector.h"

enum {
    WIDE = 3 * 256,
    HIDDEN = 16,
    DECOYS = 8,
    THIS = 3,
    THAT = 7,
    FORGET = 3,
    RETAIN = 24,
    OBSERVATIONS = 300
};

typedef struct Net {
    Tensor *w, *b, *w2, *b2;
} Net;

static bool net_create(Task *task, Recipe *recipe, int classes, Error *e) {
    (void)recipe;
    (void)classes;
    Net *m = mem_zero(1, sizeof *m);
    if (!m) return error_memory(e, sizeof *m);
    Params *p = &task->params;
    m->w = params_add(p, "fc.weight", 2, (int64_t[]){HIDDEN, WIDE}, (Init){INIT_NORMAL, 0.04});
    m->b = params_add(p, "fc.bias", 1, (int64_t[]){HIDDEN}, (Init){INIT_NORMAL, 0.1});
    m->w2 = params_add(p, "decoy.weight", 2, (int64_t[]){DECOYS, HIDDEN}, (Init){INIT_VALUE, 0});
    m->b2 = params_add(p, "decoy.bias", 1, (int64_t[]){DECOYS}, (Init){INIT_VALUE, 0});
    task->self = m;
    task->least_batch = 1;
    return true;
}

static void net_destroy(Task *task) {
    mem_free(task->self);
}

static void net_prepare(Task *task, bool initialised) {
    (void)initialised;
    const Net *m = task->self;
    real *w2 = tensor_real(m->w2);
    w2[0 * HIDDEN + THIS] = 1, w2[0 * HIDDEN + 5] = 1;    /* tells of THIS, but less than it does itself */
    w2[1 * HIDDEN + THAT] = 1, w2[1 * HIDDEN + 11] = -1;  /* of THAT */
    w2[2 * HIDDEN + THIS] = 1, w2[2 * HIDDEN + THAT] = 1, /* of both, */
        w2[2 * HIDDEN + 2] = 1;                           /* and of another */
    for (int j = 3; j < DECOYS; j++) w2[j * HIDDEN + j + 6] = 2;
}

static Tensor *net_features(Task *task, Step *s, const Batch *b) {
    const Net *m = task->self;
    Tensor *x = op_reshape(s, task_image(s, b), 2, (int64_t[]){b->n, WIDE});
    Tensor *h = op_linear(s, x, m->w, m->b, ACT_NONE);
    op_linear(s, h, m->w2, m->b2, ACT_NONE);
    return h;
}

/* (h - aim)^2 [B, 1] of one neuron. */
static Tensor *square(Step *s, Tensor *h, int neuron, double aim) {
    Tensor *d = op_scale(s, op_slice(s, h, 1, neuron, 1), 1, -aim);
    return op_arith(s, d, d, ARITH_MUL);
}

static Tensor *net_loss(Task *task, Step *s, const Batch *b, Tensor **each) {
    Tensor *h = net_features(task, s, b);
    Tensor *sum = op_add(s, square(s, h, THIS, 4), op_scale(s, square(s, h, THAT, -4), 0.8, 0));
    if (each) *each = op_reduce(s, sum, 1, 1, REDUCE_SUM);
    return op_reduce(s, sum, 0, 2, REDUCE_MEAN);
}

static const TaskClass net_class = {.name = "net",
                                    .create = net_create,
                                    .destroy = net_destroy,
                                    .prepare = net_prepare,
                                    .loss = net_loss,
                                    .outputs = net_features,
                                    .features = net_features};

static Small *world(void) {
    Small *w = small_open(&net_class, 0, WIDE, FORGET, RETAIN);
    Rng r = rng_open(5, RNG_TEST, 0, 0);
    for (int64_t i = 0; i < w->n * WIDE; i++) w->x[i] = (float)rng_normal(&r);
    net_prepare(&w->task, false);
    small_begin(w);
    return w;
}

static const char recipe[] =
    "{\"unlearn\": {\"lcodec\": {\"observations\": 300, \"noise\": 1, \"least\": 0.1, \"alpha\": 3,"
    " \"lambda\": 0.5, \"probe_lr\": 1e-2}}}";

/* Row `row` of weight and bias: did any of it move? */
static bool moved(const Small *w, const Tensor *t, int64_t row) {
    int64_t wide = tensor_count(t) / t->dim[0];
    const real *x = tensor_real(t) + row * wide, *from = w->u.origin + (x - w->task.params.value);
    return memcmp(x, from, (size_t)wide * sizeof *x) != 0;
}

static void what_the_loss_depends_on_moves_alone(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 5; seed++) {
        Small *w = world();
        const Net *m = w->task.self;
        w->u.seed = seed;
        small_run(w, "lcodec", recipe);
        for (int j = 0; j < HIDDEN; j++) {
            bool wanted = j == THIS || j == THAT;
            if (moved(w, m->w, j) != wanted || moved(w, m->b, j) != wanted)
                fail_msg("seed %d: neuron %d %s", (int)seed, j, wanted ? "stays" : "moves");
        }
        for (int j = 0; j < DECOYS; j++) assert_false(moved(w, m->w2, j) || moved(w, m->b2, j));
        small_close(w);
    }
}

static void layers_may_be_chosen_from_one_by_one(void **state) {
    (void)state;
    Small *w = world();
    const Net *m = w->task.self;
    small_run(w, "lcodec",
              "{\"unlearn\": {\"lcodec\": {\"observations\": 300, \"noise\": 1, \"least\": 0.1, \"most\": 2,"
              " \"within\": \"layer\", \"group\": 3}}}");
    for (int j = 0; j < HIDDEN; j++) assert_int_equal(moved(w, m->w, j), j == THIS || j == THAT);
    for (int j = 3; j < DECOYS; j++) assert_false(moved(w, m->w2, j));
    small_close(w);
}

/* ---- the step ---- */

enum { PART = WIDE + 1, SELECTED = 2 * PART };

/* Mean gradient of samples by the two rows and their biases, in double. s is [THIS row, bias, THAT row,
 * bias].
 */
static void gradient(const Small *w, const double *s, int64_t first, int64_t n, double *g) {
    static const double aim[] = {4, -4}, factor[] = {1, 0.8};
    for (int k = 0; k < SELECTED; k++) g[k] = 0;
    for (int64_t i = first; i < first + n; i++)
        for (int part = 0; part < 2; part++) {
            const float *x = w->x + i * WIDE;
            double h = s[part * PART + WIDE];
            for (int k = 0; k < WIDE; k++) h += s[part * PART + k] * (double)x[k];
            double slope = 2 * factor[part] * (h - aim[part]) / (double)n;
            for (int k = 0; k < WIDE; k++) g[part * PART + k] += slope * (double)x[k];
            g[part * PART + WIDE] += slope;
        }
}

static void selected(const Small *w, const real *slab, double *s) {
    const Net *m = w->task.self;
    const real *value = w->task.params.value;
    for (int part = 0; part < 2; part++) {
        int row = part ? THAT : THIS;
        for (int k = 0; k < WIDE; k++)
            s[part * PART + k] = (double)slab[tensor_real(m->w) - value + row * WIDE + k];
        s[part * PART + WIDE] = (double)slab[tensor_real(m->b) - value + row];
    }
}

/* g1, and the difference to the gradient a step down. Returns |s1 - s2|_1. */
static double differ(const Small *w, const double *s, int64_t first, int64_t n, double *g, double *d) {
    double moved[SELECTED], size = 0;
    gradient(w, s, first, n, g);
    for (int k = 0; k < SELECTED; k++) moved[k] = s[k] - 1e-2 * g[k], size += fabs(1e-2 * g[k]);
    gradient(w, moved, first, n, d);
    for (int k = 0; k < SELECTED; k++) d[k] = g[k] - d[k];
    return size;
}

static double dot(const double *x, const double *y) {
    double sum = 0;
    for (int k = 0; k < SELECTED; k++) sum += x[k] * y[k];
    return sum;
}

/* One sample is taken out: (H + lambda I) step = g, with H of the two differences. */
static void the_step_solves_the_system(void **state) {
    (void)state;
    static double s[SELECTED], after[SELECTED], g[SELECTED], unused[SELECTED], d_new[SELECTED],
        d_old[SELECTED];
    Small *w = world();
    w->world.count[SET_FORGET] = 1;
    w->train.batch = RETAIN;
    small_run(w, "lcodec", recipe);
    double n = 1 + RETAIN, rest = RETAIN, miss = 0;
    selected(w, w->u.origin, s);
    selected(w, w->task.params.value, after);
    double old = differ(w, s, FORGET, RETAIN, unused, d_old), new = differ(w, s, 0, 1, g, d_new);
    double step[SELECTED];
    for (int k = 0; k < SELECTED; k++) step[k] = (after[k] - s[k]) * rest / 3;
    double a = n / rest / old * dot(d_old, step), b = -1 / rest / new *dot(d_new, step);
    for (int k = 0; k < SELECTED; k++) miss += pow(a * d_old[k] + b * d_new[k] + 0.5 * step[k] - g[k], 2);
    print_message("left over: %.1e of the gradient\n", sqrt(miss / dot(g, g)));
    assert_true(sqrt(miss / dot(g, g)) < 2e-3);
    small_close(w);
}

/* ---- laws ---- */

static void nothing_as_large_as_a_hessian_is_made(void **state) {
    (void)state;
    Small *w = world();
    small_run(w, "lcodec", recipe); /* what a first run alone asks for is not the method's */
    mem_stat_most();
    small_run(w, "lcodec", recipe);
    uint64_t most = mem_stat().most, hessian = (uint64_t)SELECTED * SELECTED * sizeof(float);
    uint64_t allowed = 8 * OBSERVATIONS * OBSERVATIONS + 64 * SELECTED;
    print_message("largest request: %d KiB; a Hessian of the selected: %d KiB\n", (int)(most >> 10),
                  (int)(hessian >> 10));
    assert_true(most > 0 && most <= allowed);
    assert_true(hessian > 8 * allowed);
    small_close(w);
}

static void noise_repeats_and_has_its_size(void **state) {
    (void)state;
    static const char noisy[] =
        "{\"unlearn\": {\"lcodec\": {\"observations\": 300, \"noise\": 1, \"least\": 0.1, \"alpha\": 0,"
        " \"lambda\": 0.5, \"epsilon\": 2}}}";
    static double s[SELECTED], first[SELECTED], again[SELECTED];
    Small *w = world();
    w->world.count[SET_FORGET] = 1;
    small_run(w, "lcodec", noisy);
    selected(w, w->u.origin, s);
    selected(w, w->task.params.value, first);
    small_run(w, "lcodec", noisy);
    selected(w, w->task.params.value, again);
    assert_memory_equal(first, again, sizeof first);
    double n = 1 + RETAIN, gamma = 2 * 0.25 / (n * n * pow(0.5, 3)), square = 0;
    double sigma = gamma / 2 * sqrt(2 * log(1.25 / 0.01));
    for (int k = 0; k < SELECTED; k++) square += pow(first[k] - s[k], 2) / SELECTED;
    assert_true(fabs(sqrt(square) / sigma - 1) < 5 / sqrt(2.0 * SELECTED));
    small_close(w);
}

static void a_loss_that_depends_on_nothing_is_told(void **state) {
    (void)state;
    Error e;
    Small *w = world();
    const Net *m = w->task.self;
    memset(m->w->data, 0, tensor_bytes(m->w));
    small_begin(w);
    small_refused(w, "lcodec", recipe, &e);
    assert_non_null(strstr(e.text, "no slice was found"));
    small_close(w);
}

static void not_finite_stops(void **state) {
    (void)state;
    Error e;
    Small *w = world();
    w->x[5] = INFINITY;
    small_refused(w, "lcodec", recipe, &e);
    assert_int_equal(e.code, ERROR_NUMERIC);
    assert_memory_equal(w->task.params.value, w->u.origin, (size_t)w->task.params.values * sizeof(real));
    small_close(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_loss_depends_on_moves_alone),
        cmocka_unit_test(layers_may_be_chosen_from_one_by_one),
        cmocka_unit_test(the_step_solves_the_system),
        cmocka_unit_test(nothing_as_large_as_a_hessian_is_made),
        cmocka_unit_test(noise_repeats_and_has_its_size),
        cmocka_unit_test(a_loss_that_depends_on_nothing_is_told),
        cmocka_unit_test(not_finite_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
