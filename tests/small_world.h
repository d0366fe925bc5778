/* small_world: a world of drawn samples for tests of unlearn/ that know the answer: any TaskClass, images of
 * [3, 1, wide / 3] numbers, nothing shuffled or augmented, one rank. */
#ifndef LETHE_TESTS_SMALL_WORLD_H
#define LETHE_TESTS_SMALL_WORLD_H

#include "core/ops.h"
#include "unlearn/method.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

typedef struct Small {
    const TaskClass *class;
    int64_t n, wide; /* samples; numbers of an image */
    int classes;
    float *x;            /* [n][wide] */
    int32_t *label;      /* [n] */
    int64_t first[SETS]; /* a set is samples first .. first + world.count - 1 */
    RunSettings run;
    TrainSettings train;
    UnlearnSettings set;
    UnlearnWorld world;
    Task task;
    Unlearn u;
} Small;

/* ---- batches ---- */

typedef struct SmallFeed {
    const Small *w;
    int64_t first, count, batch;
    Batch view;
    int64_t *id;
} SmallFeed;

static inline bool small_get(void *self, int64_t step, const Batch **out, Error *e) {
    (void)e;
    SmallFeed *f = self;
    const Small *w = f->w;
    int64_t steps = (f->count + f->batch - 1) / f->batch, at = step % steps * f->batch;
    int n = (int)(f->count - at < f->batch ? f->count - at : f->batch);
    for (int i = 0; i < n; i++) f->id[i] = f->first + at + i;
    f->view =
        (Batch){.n = n,
                .whole = n,
                .image = {.data = w->x + (f->first + at) * w->wide, .ndim = 4, .dim = {n, 3, 1, w->wide / 3}},
                .id = f->id,
                .label = w->label + f->first + at,
                .epoch = (uint32_t)(step / steps)};
    *out = &f->view;
    return true;
}

static inline void small_close_feed(void *self) {
    mem_free(((SmallFeed *)self)->id);
    mem_free(self);
}

static inline bool small_source(void *self, UnlearnSet set, FeedKind kind, int64_t batch, uint64_t seed,
                                Source *out, Error *e) {
    (void)kind;
    (void)seed;
    const Small *w = self;
    SmallFeed *f = mem_zero(1, sizeof *f);
    if (!f || !(f->id = mem_zero((size_t)batch, sizeof *f->id))) return error_memory(e, sizeof *f);
    f->w = w;
    f->first = w->first[set];
    f->count = w->world.count[set];
    f->batch = batch;
    *out = (Source){.self = f,
                    .samples = f->count,
                    .steps_per_epoch = (f->count + batch - 1) / batch,
                    .get = small_get,
                    .close = small_close_feed};
    return true;
}

static inline bool small_model(void *self, int more, uint64_t seed, Task *out, Error *e) {
    const Small *w = self;
    return task_open(out, w->class, NULL, w->classes + more, seed, e);
}

/* ---- all of it ---- */

/* `forget` samples, then `retain`: x and label are the caller's to fill. */
static inline Small *small_open(const TaskClass *class, int classes, int64_t wide, int64_t forget,
                                int64_t retain) {
    Error e;
    Small *w = mem_zero(1, sizeof *w);
    if (!w) fail_msg("out of memory");
    w->class = class;
    w->classes = classes;
    w->wide = wide;
    w->n = forget + retain;
    w->x = mem_zero((size_t)(w->n * wide), sizeof *w->x);
    w->label = mem_zero((size_t)w->n, sizeof *w->label);
    w->first[SET_RETAIN] = forget;
    w->train.batch = 32;
    w->world = (UnlearnWorld){.self = w,
                              .count = {[SET_RETAIN] = retain, [SET_FORGET] = forget},
                              .source = small_source,
                              .model = small_model,
                              .run = &w->run,
                              .train = &w->train};
    if (!w->x || !w->label || !task_open(&w->task, class, NULL, classes, 0, &e) ||
        !unlearn_open(&w->u, &w->task, &w->world, &w->set, &e))
        fail_msg("%s", e.text);
    return w;
}

static inline void small_close(Small *w) {
    unlearn_close(&w->u);
    task_close(&w->task);
    mem_free(w->x);
    mem_free(w->label);
    mem_free(w);
}

/* The weights as they stand become those that came in. */
static inline void small_begin(Small *w) {
    memcpy(w->u.origin, w->task.params.value, (size_t)w->task.params.values * sizeof(real));
}

/* Settings of a method by name, from a recipe's text; mem_free. */
static inline void *small_settings(const Method *m, const char *text) {
    Error e;
    Recipe *r;
    void *settings = mem_zero(1, m->table->size);
    if (!settings || !recipe_parse(&r, m->name, text, strlen(text), NULL, 0, &e) ||
        !recipe_bind(r, m->table, settings, &e))
        fail_msg("%s", e.text);
    recipe_close(r);
    return settings;
}

static inline void small_run(Small *w, const char *method, const char *text) {
    Error e;
    const Method *m = method_find(method);
    void *settings = small_settings(m, text);
    if (!method_run(m, &w->u, settings, &e)) fail_msg("%s", e.text);
    mem_free(settings);
}

/* The same, expected to fail; `e` says why. */
static inline void small_refused(Small *w, const char *method, const char *text, Error *e) {
    const Method *m = method_find(method);
    void *settings = small_settings(m, text);
    assert_false(method_run(m, &w->u, settings, e));
    mem_free(settings);
}

#endif
