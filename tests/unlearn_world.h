/* unlearn_world: a network of two layers as a task, and a world of arrays, for tests of unlearn/. Samples,
 * sets, weights and the labels that relabel gives are those of tests/golden/unlearn_reference.safetensors, in
 * the file's order: nothing is shuffled or augmented, so that another program can go through the same steps.
 */
#ifndef LETHE_TESTS_UNLEARN_WORLD_H
#define LETHE_TESTS_UNLEARN_WORLD_H

#include "core/ops.h"
#include "tests/golden.h"
#include "unlearn/method.h"

#define WORLD_FILE "tests/golden/unlearn_reference.safetensors"

typedef struct World {
    SafeFile *file;
    Tensor images, labels, drawn; /* [all, 3, 2, 2], [all], [rounds, all] */
    Tensor ids[SETS];
    RunSettings run;
    TrainSettings train;
    UnlearnSettings set;
    UnlearnWorld world;
    Recipe *recipe;
    Task task;
    Unlearn u;
    void *other;     /* settings of a method that another one runs */
    int64_t asks;    /* batches given out so far, but for evaluation */
    int64_t bad_at;  /* from this one on each image has a pixel without end (NaN would vanish in a ReLU); -1:
                        none */
    bool holes;      /* every other batch of a rank's part is empty */
    bool no_classes; /* tasks say that they have none */
} World;

/* ---- the task ---- */

typedef struct Net {
    const World *world;
    Tensor *w1, *b1, *w2, *b2;
    int64_t dim;
} Net;

enum { NET_IMAGE = 12, NET_HIDDEN = 16, NET_CLASSES = 4 };

static inline bool net_create(Task *task, Recipe *recipe, int classes, Error *e) {
    (void)recipe;
    Net *m = mem_zero(1, sizeof *m);
    if (!m) return error_memory(e, sizeof *m);
    Params *p = &task->params;
    const int64_t w1[] = {NET_HIDDEN, NET_IMAGE}, w2[] = {classes, NET_HIDDEN};
    m->w1 = params_add(p, "fc1.weight", 2, w1, (Init){INIT_VALUE, 0});
    m->b1 = params_add(p, "fc1.bias", 1, w1, (Init){INIT_VALUE, 0});
    m->w2 = params_add(p, "fc2.weight", 2, w2, (Init){INIT_VALUE, 0});
    m->b2 = params_add(p, "fc2.bias", 1, w2, (Init){INIT_VALUE, 0});
    params_of(m->w1)->layer = params_of(m->b1)->layer = 1;
    params_of(m->w2)->layer = params_of(m->b2)->layer = 2;
    static const double mean[] = {0, 0, 0}, std[] = {1, 1, 1};
    task->self = m;
    task->layers = 2;
    task->least_batch = 1;
    task->image_size = 2;
    task->classes = classes;
    task->mean = mean;
    task->std = std;
    return true;
}

static inline void net_destroy(Task *task) {
    mem_free(task->self);
    task->self = NULL;
}

static inline void net_prepare(Task *task, bool initialised) {
    (void)task;
    (void)initialised;
}

static inline Adapt net_adapt(Task *task, const char *name, const Tensor *from, Param *to) {
    (void)task;
    (void)name;
    if (!tensor_same_shape(from, &to->tensor)) return ADAPT_REFUSED;
    memcpy(to->tensor.data, from->data, tensor_bytes(from));
    return ADAPT_TAKEN;
}

/* The hidden layer: what one may also call a code, of which the other layer makes something. */
static inline Tensor *net_features(Task *task, Step *s, const Batch *b) {
    const Net *m = task->self;
    Tensor *x = op_reshape(s, task_image(s, b), 2, (int64_t[]){b->n, NET_IMAGE});
    return op_linear(s, x, m->w1, m->b1, ACT_RELU);
}

static inline Tensor *net_outputs(Task *task, Step *s, const Batch *b) {
    const Net *m = task->self;
    return op_linear(s, net_features(task, s, b), m->w2, m->b2, ACT_NONE);
}

static inline Tensor *net_labels(Step *s, const Batch *b) {
    const Tensor t = {.data = (void *)b->label, .dtype = DT_I32, .ndim = 1, .dim = {b->n}, .name = "label"};
    return step_input(s, &t);
}

static inline Tensor *net_loss(Task *task, Step *s, const Batch *b, Tensor **each) {
    return op_xent(s, net_outputs(task, s, b), net_labels(s, b), NULL, 0, each);
}

static inline Tensor *net_distance(Task *task, Step *s, Tensor *x, Tensor *to, double t, Tensor **each) {
    (void)task;
    return task_distance_classes(s, x, to, t, each);
}

static inline void net_relabel(Task *task, Step *s, const Batch *b, const TaskRelabel *draw, Batch *out) {
    const World *w = ((const Net *)task->self)->world;
    int32_t *label = step_block(s, (size_t)b->n * sizeof *label);
    *out = *b;
    out->label = label;
    for (int i = 0; i < b->n; i++) label[i] = tensor_i32(&w->drawn)[draw->round * w->drawn.dim[1] + b->id[i]];
}

static inline bool net_evaluate(Task *task, Step *s, Source *source, Metric metric[TASK_METRICS], int *count,
                                Error *e) {
    double right = 0, all = 0;
    bool was = step_no_grad(s), fine = true;
    for (int64_t i = 0; i < source->steps_per_epoch && fine; i++) {
        const Batch *b;
        if (!(fine = source->get(source->self, i, &b, e)) || !b->n) continue;
        step_begin(s);
        const Tensor *x = net_outputs(task, s, b);
        for (int64_t k = 0; k < b->n; k++) {
            const real *row = tensor_real(x) + k * x->dim[1];
            int32_t best = 0;
            for (int32_t c = 1; c < x->dim[1]; c++)
                if (row[c] > row[best]) best = c;
            right += best == b->label[k];
        }
        all += b->n;
    }
    step_grad_on(s, was);
    metric[0] = (Metric){"top1", all > 0 ? 100 * right / all : 0, true};
    *count = 1;
    return fine;
}

static const TaskClass net_class = {
    .name = "net",
    .create = net_create,
    .destroy = net_destroy,
    .prepare = net_prepare,
    .adapt = net_adapt,
    .loss = net_loss,
    .outputs = net_outputs,
    .features = net_features,
    .latent = net_features,
    .distance = net_distance,
    .relabel = net_relabel,
    .evaluate = net_evaluate,
};

/* ---- batches ---- */

typedef struct Strip {
    World *world;
    const Tensor *ids;
    int64_t batch;
    bool holes, counts;
    Batch view;
    float *image;
    int32_t *label;
    int64_t *id;
} Strip;

static inline bool strip_get(void *self, int64_t step, const Batch **out, Error *e) {
    (void)e;
    Strip *x = self;
    const World *w = x->world;
    int64_t count = tensor_count(x->ids), steps = (count + x->batch - 1) / x->batch;
    int64_t first = step % steps * x->batch, n = count - first < x->batch ? count - first : x->batch;
    bool bad = x->counts && w->bad_at >= 0 && x->world->asks++ >= w->bad_at;
    for (int64_t i = 0; i < n; i++) {
        int64_t id = tensor_i32(x->ids)[first + i];
        x->id[i] = id;
        x->label[i] = tensor_i32(&w->labels)[id];
        for (int64_t k = 0; k < NET_IMAGE; k++)
            x->image[i * NET_IMAGE + k] = bad && !k ? INFINITY : tensor_real(&w->images)[id * NET_IMAGE + k];
    }
    int part = x->holes && step % 2 ? 0 : (int)n;
    x->view = (Batch){.n = part,
                      .whole = (int)n,
                      .image = {.data = x->image, .ndim = 4, .dim = {part, 3, 2, 2}, .name = "image"},
                      .id = x->id,
                      .label = x->label,
                      .epoch = (uint32_t)(step / steps)};
    *out = &x->view;
    return true;
}

static inline void strip_close(void *self) {
    Strip *x = self;
    mem_free(x->image);
    mem_free(x->label);
    mem_free(x->id);
    mem_free(x);
}

static inline bool world_source(void *self, UnlearnSet set, FeedKind kind, int64_t batch, uint64_t seed,
                                Source *out, Error *e) {
    (void)seed;
    World *w = self;
    Strip *x = mem_zero(1, sizeof *x);
    if (!x) return error_memory(e, sizeof *x);
    *x = (Strip){.world = w,
                 .ids = &w->ids[set],
                 .batch = batch,
                 .holes = w->holes && (kind == FEED_TRAIN || kind == FEED_PLAIN || kind == FEED_MIXED),
                 .counts = kind != FEED_EVAL,
                 .image = mem_zero((size_t)batch * NET_IMAGE, sizeof(float)),
                 .label = mem_zero((size_t)batch, sizeof(int32_t)),
                 .id = mem_zero((size_t)batch, sizeof(int64_t))};
    int64_t count = tensor_count(x->ids);
    *out = (Source){.self = x,
                    .samples = count,
                    .steps_per_epoch = (count + batch - 1) / batch,
                    .get = strip_get,
                    .close = strip_close};
    return x->image && x->label && x->id ? true : error_memory(e, (size_t)batch);
}

/* ---- models ---- */

/* Weights `name` of the file: "start", "random", or "wide", which has a class more. */
static inline bool world_net(World *w, const char *name, Task *out, Error *e) {
    char key[160];
    if (!task_open(out, &net_class, NULL, NET_CLASSES + !strcmp(name, "wide"), 0, e)) return false;
    ((Net *)out->self)->world = w;
    if (w->no_classes) out->classes = 0;
    for (int i = 0; i < out->params.count; i++) {
        Tensor *t = &out->params.list[i]->tensor;
        snprintf(key, sizeof key, "%s.%s", name, out->params.list[i]->name);
        const SafeEntry *x = safe_find(w->file, key);
        if (!x) return error_set(e, ERROR_FORMAT, "%s is not there", key);
        if (!safe_fits(w->file, x, t, e) || !safe_read(w->file, x, t, e)) return false;
    }
    return true;
}

static inline bool world_model(void *self, int more, uint64_t seed, Task *out, Error *e) {
    (void)seed;
    return world_net(self, more ? "wide" : "random", out, e);
}

/* Of any method: as the recipe says. mem_free. */
static inline void *world_bind(World *w, const Method *m) {
    Error e;
    void *settings = mem_zero(1, m->table->size);
    if (!settings || !recipe_bind(w->recipe, m->table, settings, &e)) fail_msg("%s: %s", m->name, e.text);
    return settings;
}

static inline const void *world_settings(void *self, const Method *method) {
    World *w = self;
    if (!w->other) w->other = world_bind(w, method);
    return w->other;
}

/* ---- a case of the file ---- */

/* The world of case `name`, and its method's settings in *settings (mem_free). */
static inline World *world_open(const char *name, const Method **method, void **settings) {
    Error e = {0};
    char key[64];
    static const struct {
        UnlearnSet set;
        const char *name;
    } kind[] = {
        {SET_RETAIN, "retain"}, {SET_FORGET, "forget"}, {SET_VALID, "valid"}, {SET_OUTSIDE, "outside"}};
    World *w = mem_zero(1, sizeof *w);
    if (!w || !safe_open(&w->file, WORLD_FILE, &e)) fail_msg("%s", e.text);
    w->bad_at = -1;
    w->images = golden_read(w->file, "images");
    w->labels = golden_read(w->file, "labels");
    w->drawn = golden_read(w->file, "drawn");
    snprintf(key, sizeof key, "recipe.%s", name);
    const char *recipe = safe_meta(w->file, key);
    snprintf(key, sizeof key, "sets.%s", name);
    const char *sets = safe_meta(w->file, key);
    snprintf(key, sizeof key, "whole.%s", name);
    if (!recipe || !sets) fail_msg("%s has no case %s", WORLD_FILE, name);
    w->world = (UnlearnWorld){.self = w,
                              .whole = safe_meta(w->file, key) != NULL,
                              .source = world_source,
                              .model = world_model,
                              .settings = world_settings,
                              .run = &w->run,
                              .train = &w->train};
    for (int i = 0; i < COUNT(kind); i++) {
        snprintf(key, sizeof key, "%s.%s", sets, kind[i].name);
        if (!safe_find(w->file, key)) continue;
        w->ids[kind[i].set] = golden_read(w->file, key);
        w->world.count[kind[i].set] = tensor_count(&w->ids[kind[i].set]);
    }
    if (!recipe_parse(&w->recipe, name, recipe, strlen(recipe), NULL, 0, &e) ||
        !recipe_bind(w->recipe, &run_table, &w->run, &e) ||
        !recipe_bind(w->recipe, &train_table, &w->train, &e) ||
        !recipe_bind(w->recipe, &unlearn_table, &w->set, &e))
        fail_msg("%s", e.text);
    *method = unlearn_methods[w->set.method];
    *settings = world_bind(w, *method);
    if (!world_net(w, "start", &w->task, &e) || !unlearn_open(&w->u, &w->task, &w->world, &w->set, &e))
        fail_msg("%s", e.text);
    return w;
}

static inline void world_close(World *w) {
    unlearn_close(&w->u);
    task_close(&w->task);
    recipe_close(w->recipe);
    safe_close(w->file);
    for (int i = 0; i < SETS; i++) mem_free(w->ids[i].data);
    mem_free(w->images.data);
    mem_free(w->labels.data);
    mem_free(w->drawn.data);
    mem_free(w->other);
    mem_free(w);
}

#endif
