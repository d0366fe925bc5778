/* Influence and Fisher forgetting where the answers are known: logistic regression, which is fitted here by
 * Newton's method in double. Influence is held against the inverse of the dense Fisher matrix and against
 * fitting anew without the forgotten; the noise of Fisher forgetting against the closed-form diagonal. */
#include "tests/small_world.h"

#include "core/rng.h"
#include "unlearn/vector.h"

enum { WIDE = 6, CLASSES = 3, EACH = WIDE + 1, ALL = CLASSES * EACH };

/* ---- the task: logits = W x + b ---- */

typedef struct Line {
    Tensor *w, *b;
} Line;

static bool line_create(Task *task, Recipe *recipe, int classes, Error *e) {
    (void)recipe;
    Line *m = mem_zero(1, sizeof *m);
    if (!m) return error_memory(e, sizeof *m);
    m->w = params_add(&task->params, "head.weight", 2, (int64_t[]){classes, WIDE}, (Init){INIT_VALUE, 0});
    m->b = params_add(&task->params, "head.bias", 1, (int64_t[]){classes}, (Init){INIT_VALUE, 0});
    params_of(m->w)->layer = params_of(m->b)->layer = 1;
    task->self = m;
    task->layers = task->least_batch = 1;
    task->classes = classes;
    return true;
}

static void line_destroy(Task *task) {
    mem_free(task->self);
}

static void line_prepare(Task *task, bool initialised) {
    (void)task;
    (void)initialised;
}

static Tensor *line_features(Task *task, Step *s, const Batch *b) {
    (void)task;
    return op_reshape(s, task_image(s, b), 2, (int64_t[]){b->n, WIDE});
}

static Tensor *line_outputs(Task *task, Step *s, const Batch *b) {
    const Line *m = task->self;
    return op_linear(s, line_features(task, s, b), m->w, m->b, ACT_NONE);
}

static Tensor *line_loss(Task *task, Step *s, const Batch *b, Tensor **each) {
    const Tensor t = {.data = (void *)b->label, .dtype = DT_I32, .ndim = 1, .dim = {b->n}, .name = "label"};
    return op_xent(s, line_outputs(task, s, b), step_input(s, &t), NULL, 0, each);
}

static const TaskClass line_class = {.name = "line",
                                     .create = line_create,
                                     .destroy = line_destroy,
                                     .prepare = line_prepare,
                                     .loss = line_loss,
                                     .outputs = line_outputs,
                                     .features = line_features};

/* ---- logistic regression in double: theta [CLASSES][WIDE + 1], the bias last ---- */

static double at(const Small *w, int64_t i, int j) {
    return j < WIDE ? (double)w->x[i * WIDE + j] : 1;
}

static void softmax(const Small *w, const double *theta, int64_t i, double p[CLASSES]) {
    double top = -INFINITY, sum = 0;
    for (int c = 0; c < CLASSES; c++) {
        p[c] = 0;
        for (int j = 0; j < EACH; j++) p[c] += theta[c * EACH + j] * at(w, i, j);
        top = fmax(top, p[c]);
    }
    for (int c = 0; c < CLASSES; c++) sum += p[c] = exp(p[c] - top);
    for (int c = 0; c < CLASSES; c++) p[c] /= sum;
}

/* Mean gradient, Hessian and empirical Fisher matrix over samples first .. first + n - 1. */
static void derivatives(const Small *w, const double *theta, int64_t first, int64_t n, double *g, double *h,
                        double *f) {
    double p[CLASSES], one[ALL];
    for (int k = 0; k < ALL; k++) g[k] = 0;
    for (int k = 0; k < ALL * ALL; k++) h[k] = f[k] = 0;
    for (int64_t i = first; i < first + n; i++) {
        softmax(w, theta, i, p);
        for (int k = 0; k < ALL; k++) {
            int c = k / EACH, j = k % EACH;
            one[k] = (p[c] - (w->label[i] == c)) * at(w, i, j);
            g[k] += one[k] / (double)n;
            for (int m = 0; m < ALL; m++) {
                int d = m / EACH;
                h[k * ALL + m] += p[c] * ((c == d) - p[d]) * at(w, i, j) * at(w, i, m % EACH) / (double)n;
            }
        }
        for (int k = 0; k < ALL * ALL; k++) f[k] += one[k / ALL] * one[k % ALL] / (double)n;
    }
}

/* x = (a + lambda I)^-1 b for a symmetric a of no negative eigenvalue: Gauss. */
static void solve(const double *a, double lambda, const double *b, double *x) {
    static double m[ALL][ALL + 1];
    for (int i = 0; i < ALL; i++) {
        for (int j = 0; j < ALL; j++) m[i][j] = a[i * ALL + j] + (i == j) * lambda;
        m[i][ALL] = b[i];
    }
    for (int k = 0; k < ALL; k++)
        for (int i = 0; i < ALL; i++) {
            double by = m[i][k] / m[k][k];
            for (int j = k; j <= ALL && i != k; j++) m[i][j] -= by * m[k][j];
        }
    for (int i = 0; i < ALL; i++) x[i] = m[i][ALL] / m[i][i];
}

static void fit(const Small *w, int64_t first, int64_t n, double *theta) {
    static double g[ALL], h[ALL * ALL], f[ALL * ALL], step[ALL];
    for (int k = 0; k < ALL; k++) theta[k] = 0;
    for (int round = 0; round < 30; round++) {
        derivatives(w, theta, first, n, g, h, f);
        solve(h, 1e-9, g, step); /* all classes moved alike is no move: the step has no part in that */
        for (int k = 0; k < ALL; k++) theta[k] -= step[k];
    }
}

static void weights_put(Small *w, const double *theta) {
    const Line *m = w->task.self;
    for (int k = 0; k < ALL; k++)
        if (k % EACH < WIDE)
            tensor_real(m->w)[k / EACH * WIDE + k % EACH] = (real)theta[k];
        else
            tensor_real(m->b)[k / EACH] = (real)theta[k];
    small_begin(w);
}

static void weights_get(const Small *w, double *theta) {
    const Line *m = w->task.self;
    for (int k = 0; k < ALL; k++)
        theta[k] = k % EACH < WIDE ? (double)tensor_real(m->w)[k / EACH * WIDE + k % EACH]
                                   : (double)tensor_real(m->b)[k / EACH];
}

/* Labels drawn from a model, so that the Fisher matrix is near the Hessian; the forgotten lie on one side. */
static Small *world(int64_t forget, int64_t retain, double *theta) {
    Small *w = small_open(&line_class, CLASSES, WIDE, forget, retain);
    double truth[ALL], p[CLASSES];
    Rng r = rng_open(3, RNG_TEST, 0, 0);
    for (int k = 0; k < ALL; k++) truth[k] = 0.7 * rng_normal(&r);
    for (int64_t i = 0; i < w->n; i++) {
        for (int j = 0; j < WIDE; j++)
            w->x[i * WIDE + j] = (float)(rng_normal(&r) + (i < forget && j < 2 ? 0.5 : 0));
        softmax(w, truth, i, p);
        double u = rng_uniform(&r);
        w->label[i] = u < p[0] ? 0 : u < p[0] + p[1] ? 1 : 2;
    }
    fit(w, 0, w->n, theta);
    weights_put(w, theta);
    return w;
}

static double length(const double *x) {
    double sum = 0;
    for (int k = 0; k < ALL; k++) sum += x[k] * x[k];
    return sqrt(sum);
}

/* |x - y| / |y|. */
static double off(const double *x, const double *y) {
    double d[ALL];
    for (int k = 0; k < ALL; k++) d[k] = x[k] - y[k];
    return length(d) / length(y);
}

/* ---- influence ---- */

static double theta[ALL], gr[ALL], gf[ALL], hr[ALL * ALL], fr[ALL * ALL], unused_h[ALL * ALL],
    unused_f[ALL * ALL];

/* v of the method, in double. */
static void direction(const Small *w, double *v) {
    const int64_t *n = w->world.count;
    weights_get(w, theta); /* as rounded */
    derivatives(w, theta, 0, n[SET_FORGET], gf, unused_h, unused_f);
    derivatives(w, theta, n[SET_FORGET], n[SET_RETAIN], gr, hr, fr);
    for (int k = 0; k < ALL; k++) v[k] = (double)n[SET_FORGET] / (double)w->n * (gf[k] - gr[k]);
}

static void influence_inverts_the_fisher_matrix(void **state) {
    (void)state;
    double v[ALL], want[ALL], got[ALL];
    Small *w = world(20, 580, theta);
    direction(w, v);
    solve(fr, 0.02, v, want);
    small_run(w, "influence", "{\"unlearn\": {\"influence\": {\"alpha\": 1.5, \"lambda\": 0.02}}}");
    weights_get(w, got);
    for (int k = 0; k < ALL; k++) got[k] = (got[k] - theta[k]) / 1.5;
    print_message("off by %.1e of the step\n", off(got, want));
    assert_true(off(got, want) < 1e-4);
    small_close(w);
}

static void influence_is_near_fitting_anew(void **state) {
    (void)state;
    double v[ALL], way[ALL], newton[ALL], got[ALL], again[ALL];
    Small *w = world(40, 2000, theta);
    fit(w, 40, 2000, again);
    direction(w, v);
    for (int k = 0; k < ALL; k++) way[k] = again[k] - theta[k];
    solve(hr, 1e-9, v, newton);
    small_run(w, "influence", "{\"unlearn\": {\"influence\": {\"lambda\": 1e-6, \"samples\": 2000}}}");
    weights_get(w, got);
    for (int k = 0; k < ALL; k++) got[k] -= theta[k];
    print_message("of the way: the Hessian is %.3f off, the Fisher matrix %.3f\n", off(newton, way),
                  off(got, way));
    assert_true(off(newton, way) < 0.02);
    assert_true(off(got, way) < 0.15);
    small_close(w);
}

static void influence_says_how_many_samples_fit(void **state) {
    (void)state;
    Error e;
    Small *w = world(5, 40, theta);
    int64_t trained = w->task.params.trained;
    w->task.params.trained = (int64_t)1 << 16; /* 256 KiB a gradient: four in a MiB */
    small_refused(w, "influence", "{\"unlearn\": {\"influence\": {\"memory_mb\": 1}}}", &e);
    w->task.params.trained = trained;
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_non_null(strstr(e.text, "gradients of 40 samples take 10 MiB"));
    assert_non_null(strstr(e.text, "4 samples fit"));
    w->world.count[SET_RETAIN] = 5000;
    small_refused(w, "influence", "{\"unlearn\": {\"influence\": {\"samples\": 5000}}}", &e);
    assert_non_null(strstr(e.text, "at most 4096"));
    small_close(w);
}

/* ---- Fisher forgetting ---- */

/* 1 / F of each weight over the retained: F = mean of p (1 - p) x^2. */
static void inverse_fisher(const Small *w, double *out) {
    double p[CLASSES], f[ALL] = {0};
    int64_t first = w->world.count[SET_FORGET], n = w->world.count[SET_RETAIN];
    for (int64_t i = first; i < first + n; i++) {
        softmax(w, theta, i, p);
        for (int k = 0; k < ALL; k++)
            f[k] += p[k / EACH] * (1 - p[k / EACH]) * pow(at(w, i, k % EACH), 2) / (double)n;
    }
    for (int k = 0; k < ALL; k++) out[k] = 1 / (f[k] + 1e-8);
}

static const char each_weight[] = "{\"unlearn\": {\"fisher\": {\"alpha\": 1e-3, \"rows\": false}}}";

/* How far the weights have gone, seed after seed. */
static void noise_of(Small *w, const char *recipe, uint64_t seed, double *way) {
    w->u.seed = seed;
    small_run(w, "fisher", recipe);
    weights_get(w, way);
    for (int k = 0; k < ALL; k++) way[k] -= theta[k];
}

static void noise_has_the_closed_form_variance(void **state) {
    (void)state;
    enum { SEEDS = 300 };
    double mean[ALL] = {0}, square[ALL] = {0}, way[ALL], inverse[ALL], ratio = 0;
    Small *w = world(10, 60, theta);
    weights_get(w, theta);
    inverse_fisher(w, inverse);
    for (int s = 0; s < SEEDS; s++) {
        noise_of(w, each_weight, (uint64_t)s, way);
        for (int k = 0; k < ALL; k++) mean[k] += way[k] / SEEDS, square[k] += way[k] * way[k] / SEEDS;
    }
    for (int k = 0; k < ALL; k++) {
        double want = 10 * 1e-3 * inverse[k]; /* ten times: the last layer */
        assert_true(fabs(square[k] / want - 1) < 5 * sqrt(2.0 / SEEDS));
        assert_true(fabs(mean[k]) < 5 * sqrt(want / SEEDS));
        ratio += square[k] / want / ALL;
    }
    print_message("variance: %.3f of the closed form's, over all weights\n", ratio);
    assert_true(fabs(ratio - 1) < 5 * sqrt(2.0 / SEEDS / ALL));
    small_close(w);
}

/* The same seed has the same noise behind it: what settings change are deviations alone. */
static void expect_variances(Small *w, const char *recipe, const double *want, double within) {
    double first[ALL], way[ALL], inverse[ALL];
    inverse_fisher(w, inverse);
    noise_of(w, each_weight, 7, first);
    noise_of(w, recipe, 7, way);
    for (int k = 0; k < ALL; k++) {
        double got = pow(way[k] / first[k], 2) * inverse[k];
        if (!(fabs(got / want[k] - 1) < within)) fail_msg("weight %d: 1 / F %g, wanted %g", k, got, want[k]);
    }
}

static void noise_has_one_variance_a_row(void **state) {
    (void)state;
    double want[ALL];
    Small *w = world(10, 60, theta);
    weights_get(w, theta);
    inverse_fisher(w, want);
    for (int c = 0; c < CLASSES; c++) {
        double mean = 0;
        for (int j = 0; j < WIDE; j++) mean += want[c * EACH + j] / WIDE;
        for (int j = 0; j < WIDE; j++) want[c * EACH + j] = mean;
    }
    expect_variances(w, "{\"unlearn\": {\"fisher\": {\"alpha\": 1e-3}}}", want, 1e-3);
    small_close(w);
}

static void drawn_classes_stand_for_the_sum(void **state) {
    (void)state;
    double want[ALL];
    Small *w = world(10, 60, theta);
    weights_get(w, theta);
    inverse_fisher(w, want);
    expect_variances(w, "{\"unlearn\": {\"fisher\": {\"alpha\": 1e-3, \"rows\": false, \"draws\": 200}}}",
                     want, 0.25);
    small_close(w);
}

static void variances_are_bounded(void **state) {
    (void)state;
    double want[ALL];
    Small *w = world(10, 60, theta);
    weights_get(w, theta);
    for (int k = 0; k < ALL; k++) want[k] = 0.01;
    expect_variances(w,
                     "{\"unlearn\": {\"fisher\": {\"alpha\": 1e-3, \"rows\": false, \"most_last\": 0.01}}}",
                     want, 1e-2);
    small_close(w);
}

static void seeds_repeat(void **state) {
    (void)state;
    double a[ALL], b[ALL], c[ALL];
    Small *w = world(10, 60, theta);
    noise_of(w, each_weight, 1, a);
    noise_of(w, each_weight, 1, b);
    noise_of(w, each_weight, 2, c);
    assert_memory_equal(a, b, sizeof a);
    for (int k = 0; k < ALL; k++) assert_true(a[k] != c[k]);
    small_close(w);
}

/* A class that goes whole: its row is 0 but for a little noise. */
static void rows_of_classes_that_go_are_cleared(void **state) {
    (void)state;
    double square = 0, got[ALL];
    Small *w = world(10, 60, theta);
    for (int64_t i = 0; i < w->n; i++) w->label[i] = i < 10 ? 2 : (int32_t)(i % 2);
    w->world.whole = true;
    for (int s = 0; s < 100; s++) {
        w->u.seed = (uint64_t)s;
        small_run(w, "fisher", "{\"unlearn\": {\"fisher\": {\"alpha\": 1e-9}}}");
        weights_get(w, got);
        for (int k = 2 * EACH; k < ALL; k++) square += got[k] * got[k] / 100 / EACH;
        for (int k = 0; k < 2 * EACH; k++) assert_true(fabs(got[k] - (double)(float)theta[k]) < 1e-2);
    }
    assert_true(fabs(square / (10 * 1e-4) - 1) < 5 * sqrt(2.0 / 100 / EACH));
    small_close(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(influence_inverts_the_fisher_matrix),
        cmocka_unit_test(influence_is_near_fitting_anew),
        cmocka_unit_test(influence_says_how_many_samples_fit),
        cmocka_unit_test(noise_has_the_closed_form_variance),
        cmocka_unit_test(noise_has_one_variance_a_row),
        cmocka_unit_test(drawn_classes_stand_for_the_sum),
        cmocka_unit_test(variances_are_bounded),
        cmocka_unit_test(seeds_repeat),
        cmocka_unit_test(rows_of_classes_that_go_are_cleared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
