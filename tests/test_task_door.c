/* What unlearning asks of a task, of each of them: wrong targets that are legal and keyed by seed, round and
 * id alone; a distance of outputs and its gradient; the gradient by the image; what is drawn for a fixed
 * batch never changes. */
#include "core/ops.h"
#include "mim/classify.h"
#include "mim/mae.h"
#include "segment/task.h"
#include "tests/golden.h"

enum { N = 4, SIDE = 64, PLANE = SIDE * SIDE, EACH = 2, CLASSES = 5 };

static const double mean[] = {0.485, 0.456, 0.406}, std[] = {0.229, 0.224, 0.225};

typedef struct Door {
    Recipe *recipe;
    Task task;
    Step *s;
    float image[N * 3 * PLANE], goal[N * 3 * PLANE];
    uint8_t mask[N * EACH * PLANE];
    int64_t id[N];
    int32_t label[N];
    Batch batch;
} Door;

typedef struct Row {
    const TaskClass *class;
    const char *recipe;
} Row;
#define VIT "\"image_size\":64,\"patch\":16,\"dim\":32,\"depth\":2,\"heads\":2"
static const Row rows[] = {
    {&mae_class, "{\"model\":{" VIT ",\"decoder_dim\":32,\"decoder_depth\":1,\"decoder_heads\":2}}"},
    {&classify_class, "{\"model\":{" VIT ",\"classes\":5}}"},
    {&classify_class, "{\"model\":{" VIT ",\"classes\":5,\"train\":\"probe\"}}"},
    {&segment_class, "{\"model\":{\"size\":\"micro\",\"image_size\":64},\"segment\":{\"points\":64,\"loss_"
                     "side\":64,\"rounds\":5}}"},
    {&segment_class, "{\"model\":{\"size\":\"micro\",\"image_size\":64},\"segment\":{\"points\":64,"
                     "\"rounds\":1,\"train\":\"decoder\"}}"},
};

/* Discs, two a picture, on noise. */
static void draw(Door *d) {
    Rng r = rng_open(5, RNG_TEST, 0, 0);
    for (int i = 0; i < COUNT(d->image); i++) {
        d->image[i] = (float)rng_normal(&r) * 0.5F;
        d->goal[i] = (float)rng_normal(&r);
    }
    for (int o = 0; o < N * EACH; o++) {
        int x = 14 + (int)rng_below(&r, 36), y = 14 + (int)rng_below(&r, 36), size = 6 + o;
        for (int i = 0; i < PLANE; i++) {
            bool inside = (i % SIDE - x) * (i % SIDE - x) + (i / SIDE - y) * (i / SIDE - y) < size * size;
            d->mask[o * PLANE + i] = inside ? 255 : 0;
            if (inside) d->image[(o / EACH * 3 + o % 3) * PLANE + i] += 1.5F;
        }
    }
}

static Door *door_open(const Row *row) {
    Error e = {0};
    Door *d = mem_zero(1, sizeof *d);
    draw(d);
    for (int i = 0; i < N; i++) {
        d->id[i] = 10 + 7 * i;
        d->label[i] = i % CLASSES;
    }
    d->batch = (Batch){.n = N,
                       .whole = N,
                       .image = {.data = d->image, .ndim = 4, .dim = {N, 3, SIDE, SIDE}, .name = "image"},
                       .id = d->id,
                       .label = d->label,
                       .each = row->class->wants_masks ? EACH : 0,
                       .mask = row->class->wants_masks ? d->mask : NULL,
                       .fixed = true};
    if (!recipe_parse(&d->recipe, "test", row->recipe, strlen(row->recipe), NULL, 0, &e) ||
        !task_open(&d->task, row->class, d->recipe, row->class == &classify_class ? CLASSES : 0, 1, &e) ||
        !params_train(&d->task.params, 16, &e) || !(d->s = step_create(DT_F32, BACKEND_CPU, 0, &e)))
        fail_msg("%s", e.text);
    d->task.mean = mean;
    d->task.std = std;
    d->s->seed = 3;
    /* heads begin at 0: all outputs would be the same */
    for (int i = 0; i < d->task.params.count; i++) {
        Tensor *t = &d->task.params.list[i]->tensor;
        Rng r = rng_open(9, RNG_TEST, 1, (uint64_t)i);
        if (strncmp(t->name, "head.", 5) == 0 && t->ndim == 2)
            for (int64_t k = 0; k < tensor_count(t); k++) tensor_real(t)[k] = (real)rng_normal(&r);
    }
    return d;
}

static void door_close(Door *d) {
    step_free(d->s);
    task_close(&d->task);
    recipe_close(d->recipe);
    mem_free(d);
}

static void begin(Door *d, const Batch *b, bool recording) {
    step_begin(d->s);
    params_begin(&d->task.params);
    d->s->training = false;
    d->s->recording = recording;
    d->s->sample = b->id;
    d->s->batch = b;
}

/* The sample at place `from` alone. */
static Batch alone(const Door *d, int from) {
    Batch b = d->batch;
    b.n = b.whole = 1;
    b.image.dim[0] = 1;
    b.image.data = (void *)(d->image + from * 3 * PLANE);
    b.id += from;
    b.label += from;
    if (b.mask) b.mask += from * EACH * PLANE;
    return b;
}

static void on_each(void (*check)(Door *d)) {
    for (int i = 0; i < COUNT(rows); i++) {
        Door *d = door_open(&rows[i]);
        check(d);
        door_close(d);
    }
}

/* ---- wrong targets ---- */

static void goal_is_legal(const Door *d, const Batch *wrong) {
    double sum = 0;
    assert_int_equal(tensor_count(&wrong->goal), N * 3 * PLANE);
    assert_int_equal(wrong->goal.dim[0], N);
    for (int i = 0; i < N * 3 * PLANE; i++) {
        int c = i / PLANE % 3;
        double v = (double)tensor_at(&wrong->goal, i) * std[c] + mean[c];
        assert_true(v > -1e-6 && v < 1 + 1e-6);
        sum += v / (N * 3 * PLANE);
    }
    assert_true(fabs(sum - 0.5) < 0.01);
    assert_ptr_equal(wrong->image.data, d->image);
}

/* Cells that are cells of the mask when that has gone round by some way; how far in *down, *right. */
static bool is_shifted(const uint8_t *mask, const uint8_t *goal, int *down, int *right) {
    for (*down = 0; *down < SIDE; ++*down)
        for (*right = 0; *right < SIDE; ++*right) {
            bool same = true;
            for (int i = 0; i < PLANE && same; i++)
                same = goal[(i / SIDE + *down) % SIDE * SIDE + (i % SIDE + *right) % SIDE] == mask[i];
            if (same) return true;
        }
    return false;
}

static void masks_are_legal(const Door *d, const Batch *wrong) {
    int down, right;
    assert_ptr_equal(wrong->mask, d->mask); /* prompts are the right ones' */
    for (int o = 0; o < N * EACH; o++) {
        assert_true(is_shifted(d->mask + o * PLANE, wrong->goal_mask + o * PLANE, &down, &right));
        assert_in_range(down, SIDE / 4, 3 * SIDE / 4);
        assert_in_range(right, SIDE / 4, 3 * SIDE / 4);
    }
}

static void targets_are_legal(Door *d) {
    int seen[N][CLASSES] = {{0}}, right = 0;
    for (uint32_t round = 0; round < 60; round++)
        for (int any = 0; any < 2; any++) {
            Batch wrong;
            begin(d, &d->batch, false);
            d->task.class->relabel(&d->task, d->s, &d->batch, &(TaskRelabel){4, round, any}, &wrong);
            assert_int_equal(wrong.n, N);
            if (d->task.class == &mae_class && round < 2) goal_is_legal(d, &wrong);
            if (d->task.class == &segment_class && round < 4) masks_are_legal(d, &wrong);
            if (d->task.class != &classify_class) continue;
            assert_null(wrong.target.data);
            for (int i = 0; i < N; i++) {
                assert_in_range(wrong.label[i], 0, CLASSES - 1);
                if (!any) assert_int_not_equal(wrong.label[i], d->label[i]);
                if (any) right += wrong.label[i] == d->label[i];
                if (!any) seen[i][wrong.label[i]]++;
            }
        }
    if (d->task.class != &classify_class) return;
    assert_true(right > 0 && right < 60 * N / 2);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < CLASSES; k++) assert_true(k == d->label[i] || seen[i][k] > 3);
}

/* Everything of the wrong targets of the sample at place i. */
static uint64_t target_hash(const Door *d, const Batch *b, int i) {
    const void *data = b->label + i;
    size_t size = sizeof *b->label;
    uint64_t h = 0xCBF29CE484222325u;
    if (d->task.class == &mae_class)
        data = tensor_real(&b->goal) + i * 3 * PLANE, size = 3 * PLANE * sizeof(real);
    if (d->task.class == &segment_class) data = b->goal_mask + i * EACH * PLANE, size = EACH * PLANE;
    for (size_t k = 0; k < size; k++) h = (h ^ ((const uint8_t *)data)[k]) * 0x100000001B3u;
    return h;
}

static uint64_t target_of(Door *d, const Batch *b, TaskRelabel draw, int i) {
    Batch wrong;
    begin(d, b, false);
    d->task.class->relabel(&d->task, d->s, b, &draw, &wrong);
    return target_hash(d, &wrong, i);
}

static void targets_are_keyed(Door *d) {
    int rounds = 0, seeds = 0;
    const TaskRelabel draw = {.seed = 4, .round = 2}, later = {.seed = 4, .round = 3},
                      other = {.seed = 5, .round = 2};
    for (int i = 0; i < N; i++) {
        uint64_t h = target_of(d, &d->batch, draw, i);
        Batch one = alone(d, i);
        d->s->index += 7;
        assert_true(target_of(d, &one, draw, 0) == h);
        one.epoch = 9;
        one.fixed = false;
        assert_true(target_of(d, &one, draw, 0) == h);
        rounds += target_of(d, &d->batch, later, i) != h;
        seeds += target_of(d, &d->batch, other, i) != h;
    }
    assert_true(rounds > 0 && seeds > 0);
    if (d->task.class != &classify_class) assert_int_equal(rounds + seeds, 2 * N);
}

/* The task's loss takes them: another one than that of the right targets. */
static void targets_count(Door *d) {
    Batch wrong;
    begin(d, &d->batch, false);
    double right = (double)tensor_at(d->task.class->loss(&d->task, d->s, &d->batch, NULL), 0);
    begin(d, &d->batch, false);
    d->task.class->relabel(&d->task, d->s, &d->batch, &(TaskRelabel){4, 0, false}, &wrong);
    double other = (double)tensor_at(d->task.class->loss(&d->task, d->s, &wrong, NULL), 0);
    if (!(isfinite(right) && isfinite(other) && fabs(right - other) > 1e-4 * fabs(right)))
        fail_msg("%s: loss %g of the right targets, %g of wrong ones", d->task.class->name, right, other);
}

static void wrong_targets_are_legal(void **state) {
    (void)state;
    on_each(targets_are_legal);
}
static void wrong_targets_are_keyed(void **state) {
    (void)state;
    on_each(targets_are_keyed);
}
static void wrong_targets_count(void **state) {
    (void)state;
    on_each(targets_count);
}

/* Two classes: the other one. One: there is no wrong one, and no endless search for it. */
static void few_classes(void **state) {
    (void)state;
    for (int classes = 1; classes < 3; classes++) {
        Door *d = door_open(&rows[1]);
        Batch wrong;
        d->task.classes = classes;
        for (int i = 0; i < N; i++) d->label[i] = i % classes;
        begin(d, &d->batch, false);
        d->task.class->relabel(&d->task, d->s, &d->batch, &(TaskRelabel){4, 0, false}, &wrong);
        for (int i = 0; i < N; i++) assert_int_equal(wrong.label[i], classes - 1 - d->label[i]);
        door_close(d);
    }
}

/* ---- distance ---- */

/* An output of its own for tests: [N, K], with gradient if wanted. */
static Tensor *output_of(Step *s, float *x, int64_t k, bool want) {
    const Tensor t = {.data = x, .dtype = DT_F32, .ndim = 2, .dim = {N, k}, .name = "x"};
    Tensor *in = step_input(s, &t);
    if (want) step_want_grad(in);
    return in;
}

static double distance_of(Door *d, float *x, float *to, int64_t k, double temperature) {
    Tensor *each;
    begin(d, &d->batch, false);
    Tensor *v = d->task.class->distance(&d->task, d->s, output_of(d->s, x, k, false),
                                        output_of(d->s, to, k, false), temperature, &each);
    double sum = 0;
    assert_int_equal(tensor_count(each), N);
    for (int i = 0; i < N; i++) {
        assert_true((double)tensor_at(each, i) > -1e-5);
        sum += (double)tensor_at(each, i) / N;
    }
    double value = (double)tensor_at(v, 0);
    assert_true(fabs(sum - value) < 1e-5 + 1e-4 * fabs(value));
    return value;
}

/* Differences along a way through x, against the gradient. */
static void slope_check(const char *name, double up, double down, double h, double slope, double limit) {
    double found = (up - down) / (2 * h);
    if (!(fabs(found - slope) <= limit * fabs(slope) + 1e-5))
        fail_msg("%s: differences say %g, the gradient %g", name, found, slope);
}

static void distance_is_one(Door *d) {
    int64_t k = d->task.class == &classify_class ? CLASSES : 48;
    float x[N * 48], to[N * 48], moved[N * 48];
    Rng r = rng_open(5, RNG_TEST, 2, 0);
    for (int i = 0; i < N * k; i++) {
        x[i] = (float)rng_normal(&r);
        to[i] = (float)rng_normal(&r);
    }
    for (int step = 0; step < 4; step++) {
        double t = 0.5 * (1 << step);
        assert_true(fabs(distance_of(d, x, x, k, t)) < 1e-5);
        assert_true(distance_of(d, x, to, k, t) > 0.01);
        begin(d, &d->batch, true);
        Tensor *a = output_of(d->s, x, k, true), *b = output_of(d->s, to, k, true);
        tape_backward(d->s, d->task.class->distance(&d->task, d->s, a, b, t, NULL), 1);
        assert_true(!b->grad || b->grad_fresh); /* none passes through what it is held against */
        double length = 0, h = 0.02;
        float g[N * 48];
        for (int i = 0; i < N * k; i++) {
            g[i] = (float)tensor_at(a->grad, i);
            length += (double)g[i] * (double)g[i];
        }
        length = sqrt(length);
        assert_true(length > 1e-3);
        double at[2];
        for (int side = 0; side < 2; side++) {
            for (int i = 0; i < N * k; i++) moved[i] = x[i] + (float)((side ? -h : h) / length) * g[i];
            at[side] = distance_of(d, moved, to, k, t);
        }
        slope_check(d->task.class->name, at[0], at[1], h, length, 0.01);
    }
}

static void distances(void **state) {
    (void)state;
    on_each(distance_is_one);
}

/* ---- the gradient by the image ---- */

/* How far the outputs are from `to`, which is those of another picture. */
static double image_distance(Door *d, float *to, int64_t k) {
    begin(d, &d->batch, false);
    Tensor *x = d->task.class->outputs(&d->task, d->s, &d->batch);
    assert_int_equal(x->dim[1], k);
    return (double)tensor_at(
        d->task.class->distance(&d->task, d->s, x, output_of(d->s, to, k, false), 1, NULL), 0);
}

static void image_gradient(Door *d) {
    begin(d, &d->batch, false);
    Batch other = d->batch;
    other.image.data = d->goal;
    const Tensor *made = d->task.class->outputs(&d->task, d->s, &other);
    int64_t k = made->dim[1];
    float *to = mem_get((size_t)(N * k) * sizeof *to), *kept = mem_get(sizeof d->image),
          *g = mem_get(sizeof d->image);
    for (int64_t i = 0; i < N * k; i++) to[i] = (float)tensor_at(made, i);
    begin(d, &d->batch, true);
    d->s->want_image = true;
    d->s->image = NULL;
    Tensor *x = d->task.class->outputs(&d->task, d->s, &d->batch);
    tape_backward(d->s, d->task.class->distance(&d->task, d->s, x, output_of(d->s, to, k, false), 1, NULL),
                  1);
    d->s->want_image = false;
    assert_non_null(d->s->image);
    assert_non_null(d->s->image->grad);
    double length = 0, h = 0.05, at[2];
    for (int i = 0; i < COUNT(d->image); i++) {
        g[i] = (float)tensor_at(d->s->image->grad, i);
        length += (double)g[i] * (double)g[i];
    }
    length = sqrt(length);
    assert_true(length > 1e-5);
    memcpy(kept, d->image, sizeof d->image);
    for (int side = 0; side < 2; side++) {
        for (int i = 0; i < COUNT(d->image); i++)
            d->image[i] = kept[i] + (float)((side ? -h : h) / length) * g[i];
        at[side] = image_distance(d, to, k);
    }
    print_message("%s: slope %g by the gradient, %g by differences\n", d->task.class->name, length,
                  (at[0] - at[1]) / (2 * h));
    slope_check(d->task.class->name, at[0], at[1], h, length, 0.05);
    mem_free(to);
    mem_free(kept);
    mem_free(g);
}

static void gradients_by_the_image(void **state) {
    (void)state;
    on_each(image_gradient);
}

/* Of the loss itself, as attacks take it: a classifier's, and a masked autoencoder's with a goal of its own
 * (else the target would move with the image). */
static void loss_by_the_image(void **state) {
    (void)state;
    for (int row = 0; row < 3; row++) {
        Door *d = door_open(&rows[row]);
        float *kept = mem_get(sizeof d->image), *g = mem_get(sizeof d->image);
        double length = 0, h = 0.05, at[2];
        if (row == 0)
            d->batch.goal = (Tensor){.data = d->goal, .ndim = 4, .dim = {N, 3, SIDE, SIDE}, .name = "goal"};
        begin(d, &d->batch, true);
        d->s->want_image = true;
        tape_backward(d->s, d->task.class->loss(&d->task, d->s, &d->batch, NULL), 1);
        d->s->want_image = false;
        for (int i = 0; i < COUNT(d->image); i++) {
            g[i] = (float)tensor_at(d->s->image->grad, i);
            length += (double)g[i] * (double)g[i];
        }
        length = sqrt(length);
        memcpy(kept, d->image, sizeof d->image);
        for (int side = 0; side < 2; side++) {
            for (int i = 0; i < COUNT(d->image); i++)
                d->image[i] = kept[i] + (float)((side ? -h : h) / length) * g[i];
            begin(d, &d->batch, false);
            at[side] = (double)tensor_at(d->task.class->loss(&d->task, d->s, &d->batch, NULL), 0);
        }
        slope_check(d->task.class->name, at[0], at[1], h, length, 0.05);
        mem_free(kept);
        mem_free(g);
        door_close(d);
    }
}

/* ---- what the encoder hands on ---- */

static Tensor *latent_of(Door *d, const Batch *b) {
    begin(d, b, false);
    return d->task.class->latent(&d->task, d->s, b);
}

static void latents(void **state) {
    (void)state;
    for (int i = 1; i < COUNT(rows); i++) assert_null(rows[i].class->latent);
    Door *d = door_open(&rows[0]);
    const Tensor *x = latent_of(d, &d->batch);
    assert_true(x->ndim == 2 && x->dim[0] == N &&
                x->dim[1] == (1 + 4) * 32); /* a quarter of 16 patches, the class */
    float *first = mem_get((size_t)tensor_count(x) * sizeof *first);
    int64_t n = tensor_count(x);
    for (int64_t i = 0; i < n; i++) first[i] = (float)tensor_at(x, i);
    for (int i = 0; i < d->task.params.count; i++) { /* the decoder has no part in it */
        Tensor *t = &d->task.params.list[i]->tensor;
        if (strstr(t->name, "decoder") || strstr(t->name, "mask_token"))
            for (int64_t k = 0; k < tensor_count(t); k++) tensor_real(t)[k] += 1;
    }
    x = latent_of(d, &d->batch);
    for (int64_t i = 0; i < n; i++) assert_true((float)tensor_at(x, i) == first[i]);
    Batch one = alone(d, 2);
    x = latent_of(d, &one);
    for (int64_t i = 0; i < n / N; i++)
        assert_true(fabs((double)tensor_at(x, i) - (double)first[2 * n / N + i]) < 1e-4);
    d->batch.fixed = false; /* then the masks go by the pass */
    d->batch.epoch = 3;
    bool same = true;
    x = latent_of(d, &d->batch);
    for (int64_t i = 0; i < n; i++) same = same && (float)tensor_at(x, i) == first[i];
    assert_false(same);
    mem_free(first);
    door_close(d);
}

/* ---- what is fixed ---- */

static void losses(Door *d, const Batch *b, double each[N]) {
    Tensor *t;
    begin(d, b, false);
    d->task.class->loss(&d->task, d->s, b, &t);
    for (int i = 0; i < b->n; i++) each[i] = (double)tensor_at(t, i);
}

static void fixed_is_fixed(Door *d) {
    double first[N], again[N];
    losses(d, &d->batch, first);
    for (int k = 0; k < 5; k++) { /* later in a run */
        d->s->index += 11;
        losses(d, &d->batch, again);
        assert_memory_equal(first, again, sizeof first);
    }
    for (int i = 0; i < N; i++) { /* in another batch */
        Batch one = alone(d, i);
        losses(d, &one, again);
        if (!(fabs(again[0] - first[i]) < 1e-4 * fabs(first[i])))
            fail_msg("%s: loss %g, alone %g", d->task.class->name, first[i], again[0]);
    }
    if (d->task.class == &classify_class) return; /* draws nothing */
    d->batch.fixed = false;
    d->batch.epoch = 5;
    losses(d, &d->batch, again);
    assert_memory_not_equal(first, again, sizeof first);
}

static void fixed_losses(void **state) {
    (void)state;
    on_each(fixed_is_fixed);
}

static bool source_get(void *self, int64_t step, const Batch **out, Error *e) {
    (void)step;
    (void)e;
    *out = &((Door *)self)->batch;
    return true;
}

/* Evaluation wants masks as files have them: runs down the columns, outside first. */
typedef struct Truths {
    BatchMask mask[N * EACH];
    uint32_t run[N * EACH][PLANE + 1];
    int32_t fit[2 * N], size[2 * N];
} Truths;

static void truths_put(Door *d, Truths *t) {
    for (int o = 0; o < N * EACH; o++) {
        int64_t runs = 1;
        uint8_t last = 0;
        t->run[o][0] = 0;
        for (int i = 0; i < PLANE; i++) {
            uint8_t now = d->mask[o * PLANE + i % SIDE * SIDE + i / SIDE] >= 128;
            if (now != last) t->run[o][runs++] = 0;
            last = now;
            t->run[o][runs - 1]++;
        }
        t->mask[o] = (BatchMask){o / EACH, SIDE, SIDE, runs, t->run[o], o};
    }
    for (int i = 0; i < 2 * N; i++) t->fit[i] = t->size[i] = SIDE;
    d->batch.truth = t->mask;
    d->batch.truths = N * EACH;
    d->batch.fit = t->fit;
    d->batch.size = t->size;
}

static void fixed_evaluation(void **state) {
    (void)state;
    Truths *t = mem_zero(1, sizeof *t);
    for (int row = 0; row < COUNT(rows); row++) {
        Door *d = door_open(&rows[row]);
        if (d->task.class->wants_masks) truths_put(d, t);
        Source source = {.self = d, .samples = N, .steps_per_epoch = 1, .get = source_get};
        Metric a[TASK_METRICS], b[TASK_METRICS];
        int n, m;
        Error e = {0};
        assert_true(d->task.class->evaluate(&d->task, d->s, &source, a, &n, &e));
        d->s->index += 5;
        d->batch.epoch = 3;
        d->batch.fixed = false; /* it makes them so itself */
        d->s->training = true;
        assert_true(d->task.class->evaluate(&d->task, d->s, &source, b, &m, &e));
        assert_true(d->s->training);
        assert_int_equal(n, m);
        for (int i = 0; i < n; i++) assert_true(a[i].value == b[i].value);
        door_close(d);
    }
    mem_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_targets_are_legal),
        cmocka_unit_test(wrong_targets_are_keyed),
        cmocka_unit_test(wrong_targets_count),
        cmocka_unit_test(few_classes),
        cmocka_unit_test(distances),
        cmocka_unit_test(gradients_by_the_image),
        cmocka_unit_test(loss_by_the_image),
        cmocka_unit_test(latents),
        cmocka_unit_test(fixed_losses),
        cmocka_unit_test(fixed_evaluation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
