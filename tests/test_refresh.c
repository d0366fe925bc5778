/* Normalisation statistics after unlearning: those of a linear probe are a recomputation from retained
 * samples alone, whatever they were; what training does not move, a segmenter's table of positions, stays to
 * the bit. And steps of training have the samples that batch norm needs. */
#include "mim/classify.h"
#include "segment/task.h"
#include "tests/golden.h"
#include "unlearn/unlearn.h"

enum { ALL = 23, SIDE = 32, PLANE = SIDE * SIDE, BATCH = 7, DIM = 32, PASSES = 38 };

typedef struct Fixture {
    const TaskClass *class;
    Recipe *recipe;
    int side;
    float *image; /* [ALL, 3, side, side] */
    int64_t id[ALL], asked;
    int32_t label[ALL];
    RunSettings run;
    TrainSettings train;
    UnlearnSettings set;
    UnlearnWorld world;
    Task task;
    Unlearn u;
    int64_t batch; /* of the source that is open */
    Batch view;
} Fixture;

static bool get(void *self, int64_t step, const Batch **out, Error *e) {
    Fixture *f = self;
    (void)e;
    int64_t steps = (ALL + f->batch - 1) / f->batch, first = step % steps * f->batch;
    int n = (int)(ALL - first < f->batch ? ALL - first : f->batch);
    f->asked++;
    f->view = (Batch){.n = n,
                      .whole = n,
                      .image = {.data = f->image + first * 3 * f->side * f->side,
                                .ndim = 4,
                                .dim = {n, 3, f->side, f->side},
                                .name = "image"},
                      .id = f->id + first,
                      .label = f->label + first,
                      .fixed = true};
    *out = &f->view;
    return true;
}

static bool source(void *self, UnlearnSet set, FeedKind kind, int64_t batch, uint64_t seed, Source *out,
                   Error *e) {
    Fixture *f = self;
    (void)kind;
    (void)seed;
    (void)e;
    assert_int_equal(set, SET_RETAIN); /* no other set has a say */
    f->batch = batch;
    *out = (Source){.self = f, .samples = ALL, .steps_per_epoch = (ALL + batch - 1) / batch, .get = get};
    return true;
}

static bool model(void *self, int more, uint64_t seed, Task *out, Error *e) {
    Fixture *f = self;
    assert_int_equal(more, 0);
    return task_open(out, f->class, f->recipe, f->class == &classify_class ? 3 : 0, seed, e);
}

static Fixture *fixture_open(const TaskClass *class, const char *text, int side) {
    Error e = {0};
    Fixture *f = mem_zero(1, sizeof *f);
    Rng r = rng_open(5, RNG_TEST, 0, 0);
    f->class = class;
    f->side = side;
    f->image = mem_get((size_t)(ALL * 3 * side * side) * sizeof *f->image);
    for (int i = 0; i < ALL * 3 * side * side; i++)
        f->image[i] = (float)rng_normal(&r) + (float)(i / (3 * side * side) % 5);
    for (int i = 0; i < ALL; i++) f->id[i] = i, f->label[i] = i % 3;
    if (!recipe_parse(&f->recipe, "test", text, strlen(text), NULL, 0, &e) ||
        !recipe_bind(f->recipe, &run_table, &f->run, &e) ||
        !recipe_bind(f->recipe, &train_table, &f->train, &e) ||
        !recipe_bind(f->recipe, &unlearn_table, &f->set, &e) || !model(f, 0, 1, &f->task, &e))
        fail_msg("%s", e.text);
    f->world = (UnlearnWorld){.self = f,
                              .count = {[SET_RETAIN] = ALL},
                              .source = source,
                              .model = model,
                              .run = &f->run,
                              .train = &f->train};
    if (!unlearn_open(&f->u, &f->task, &f->world, &f->set, &e)) fail_msg("%s", e.text);
    return f;
}

static void fixture_close(Fixture *f) {
    unlearn_close(&f->u);
    task_close(&f->task);
    recipe_close(f->recipe);
    mem_free(f->image);
    mem_free(f);
}

static real *buffer(Fixture *f, const char *name) {
    const Param *q = params_find(&f->task.params, name);
    if (!q) fail_msg("there is no %s", name);
    return tensor_real(&q->tensor);
}

/* [ALL, DIM] by the encoder, which rests: one sample at a time. */
static void features_of(Fixture *f, double *out) {
    Step *s = f->u.step;
    for (int i = 0; i < ALL; i++) {
        const Batch b = {.n = 1,
                         .whole = 1,
                         .image = {.data = f->image + i * 3 * PLANE,
                                   .ndim = 4,
                                   .dim = {1, 3, SIDE, SIDE},
                                   .name = "image"},
                         .id = f->id + i,
                         .fixed = true};
        step_begin(s);
        params_begin(&f->task.params);
        s->recording = s->training = false;
        s->batch = &b;
        const Tensor *x = classify_class.features(&f->task, s, &b);
        assert_int_equal(tensor_count(x), DIM);
        for (int k = 0; k < DIM; k++) out[i * DIM + k] = (double)tensor_at(x, k);
    }
}

/* torch's running statistics: a tenth of the way to each batch's mean and unbiased variance. */
static void statistics_of(const double *x, double mean[DIM], double var[DIM], int *batches) {
    for (int k = 0; k < DIM; k++) mean[k] = 0, var[k] = 1;
    *batches = 0;
    for (int pass = 0; pass < PASSES; pass++)
        for (int first = 0; first < ALL; first += BATCH) {
            int n = ALL - first < BATCH ? ALL - first : BATCH;
            ++*batches;
            for (int k = 0; k < DIM; k++) {
                double m = 0, v = 0;
                for (int i = first; i < first + n; i++) m += x[i * DIM + k] / n;
                for (int i = first; i < first + n; i++) v += pow(x[i * DIM + k] - m, 2) / (n - 1);
                mean[k] += 0.1 * (m - mean[k]);
                var[k] += 0.1 * (v - var[k]);
            }
        }
}

static const char probe_text[] =
    "{\"model\":{\"image_size\":32,\"patch\":8,\"dim\":32,\"depth\":1,\"heads\":2,\"classes\":3,"
    "\"train\":\"probe\"},\"train\":{\"batch\":7}}";

static void as_computed_anew(void **state) {
    (void)state;
    Fixture *f = fixture_open(&classify_class, probe_text, SIDE);
    double *x = mem_get(sizeof *x * ALL * DIM), mean[DIM], var[DIM];
    int batches;
    Error e = {0};
    real *m = buffer(f, "head.0.running_mean"), *v = buffer(f, "head.0.running_var");
    features_of(f, x);
    statistics_of(x, mean, var, &batches);
    for (int start = 0; start < 2; start++) { /* whatever they were */
        for (int k = 0; k < DIM; k++) m[k] = (real)(100 * start), v[k] = (real)(1 + 50 * start);
        real *weight = buffer(f, "head.1.weight"), kept = weight[3];
        if (!unlearn_refresh(&f->u, &e)) fail_msg("%s", e.text);
        for (int k = 0; k < DIM; k++) {
            if (!(fabs((double)m[k] - mean[k]) < 1e-4 && fabs((double)v[k] - var[k]) < 1e-4 * (1 + var[k])))
                fail_msg("channel %d: %g and %g, computed anew %g and %g", k, (double)m[k], (double)v[k],
                         mean[k], var[k]);
        }
        assert_true((double)*buffer(f, "head.0.num_batches_tracked") == batches);
        assert_true(weight[3] == kept);
    }
    mem_free(x);
    fixture_close(f);
}

/* A last batch of one is passed over; a set of one is an error, not an end of the program. */
static void too_few(void **state) {
    (void)state;
    Fixture *f = fixture_open(&classify_class, probe_text, SIDE);
    Error e = {0};
    Feed feed;
    const Batch *b;
    f->set.batch = 11; /* 11, 11, 1 */
    assert_true(feed_open(&feed, &f->u, SET_RETAIN, FEED_TRAIN, 0, &e));
    assert_int_equal(feed.steps, 2);
    for (int i = 0; i < 6; i++) {
        assert_true(feed_next(&feed, &b, &e));
        assert_int_equal(b->n, 11);
        assert_int_equal(b->id[0], i % 2 * 11);
    }
    feed_close(&feed);
    assert_true(
        feed_open(&feed, &f->u, SET_RETAIN, FEED_PLAIN, 0, &e)); /* looking needs no batch norm's own */
    assert_int_equal(feed.steps, 3);
    feed_close(&feed);
    real *m = buffer(f, "head.0.running_mean");
    assert_true(unlearn_refresh(&f->u, &e));
    for (int k = 0; k < DIM; k++) assert_true(isfinite((double)m[k]));
    f->set.batch = 1;
    assert_false(feed_open(&feed, &f->u, SET_RETAIN, FEED_TRAIN, 0, &e));
    assert_non_null(strstr(e.text, "batch norm needs 2"));
    assert_false(unlearn_refresh(&f->u, &e));
    assert_non_null(strstr(e.text, "too few retained samples"));
    fixture_close(f);
}

/* The frequencies of positions are drawn once and never move: another draw would be another model. */
static void tables_stay(void **state) {
    (void)state;
    Fixture *f = fixture_open(&segment_class,
                              "{\"model\":{\"size\":\"micro\",\"image_size\":64},\"segment\":{\"loss_side\":"
                              "64},\"train\":{\"batch\":7}}",
                              64);
    Params *p = &f->task.params;
    Error e = {0};
    int buffers = 0;
    for (int i = 0; i < p->count; i++) buffers += p->list[i]->buffer;
    assert_true(buffers > 0);
    assert_true(unlearn_refresh(&f->u, &e));
    assert_true(f->asked > 0);
    assert_memory_equal(p->value, f->u.origin, (size_t)p->values * sizeof(real));
    fixture_close(f);
}

/* A model without any: nothing is looked at. */
static void nothing_to_do(void **state) {
    (void)state;
    Fixture *f = fixture_open(
        &classify_class,
        "{\"model\":{\"image_size\":32,\"patch\":8,\"dim\":32,\"depth\":1,\"heads\":2,\"classes\":3},"
        "\"train\":{\"batch\":7}}",
        SIDE);
    Error e = {0};
    assert_true(unlearn_refresh(&f->u, &e));
    assert_int_equal(f->asked, 0);
    fixture_close(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_computed_anew),
        cmocka_unit_test(too_few),
        cmocka_unit_test(tables_stay),
        cmocka_unit_test(nothing_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
