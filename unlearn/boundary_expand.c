/* Boundary Expanding (Chen et al. 2023, 3.3): a class more, of random weights, to which all forgotten samples
 * are taught to belong; then its row is cut off again. No retained sample is needed. */
#include "core/comm.h"
#include "unlearn/method.h"

#include <string.h>

#define BOUNDARY_EXPAND_FIELDS(X) DESCENT_FIELDS(X, "boundary_expand", "10", "sgd", "1e-5", "0.9", "0")
typedef struct ExpandSettings {
    RECIPE_MEMBERS(BOUNDARY_EXPAND_FIELDS)
} ExpandSettings;
RECIPE_TABLE(boundary_expand_table, "Unlearning: Boundary Expanding", ExpandSettings, BOUNDARY_EXPAND_FIELDS);

static bool one(Unlearn *u, Feed *f, Descent *d, Error *e) {
    const Batch *b;
    int32_t *label = NULL;
    if (!feed_next(f, &b, e)) return false;
    size_t bytes = (size_t)b->n * sizeof *label + 1;
    if (!comm_agree((label = mem_get(bytes)) ? true : error_memory(e, bytes), e)) {
        mem_free(label);
        return false;
    }
    for (int64_t i = 0; i < b->n; i++) label[i] = u->task->classes - 1;
    Batch more = *b;
    more.label = label;
    more.target.data = NULL;
    unlearn_zero(u);
    unlearn_loss(u, &more, true, 1);
    bool fine = descent_update(d, e);
    mem_free(label);
    return fine;
}

/* unlearn.stop, of the model as it will be without the class more. */
static bool stop(Unlearn *u, Task *own, bool *done, Error *e) {
    Task *wide = u->task;
    if (!u->set->stop) return true;
    unlearn_copy(u, own, wide);
    u->task = own;
    bool fine = unlearn_stop(u, done, e);
    u->task = wide;
    return fine;
}

static bool descend(Unlearn *u, Task *own, const ExpandSettings *set, Error *e) {
    Feed f = {0};
    Descent d = {0};
    bool fine = feed_open(&f, u, SET_FORGET, FEED_TRAIN, 0, e) &&
                descent_open(&d, u, DESCENT_OF(set), f.steps * set->epochs, e);
    bool done = false;
    for (int64_t i = 0; i < f.steps * set->epochs && fine && !done; i++)
        fine = one(u, &f, &d, e) && ((i + 1) % f.steps || stop(u, own, &done, e));
    descent_close(&d);
    feed_close(&f);
    return fine;
}

/* The wider model takes the place of the other for a while. Its first K rows are those that came in. */
static bool run(Unlearn *u, const void *settings, Error *e) {
    Task wide, *own = u->task;
    real *origin = u->origin;
    if (!comm_agree(u->world->model(u->world->self, 1, u->seed, &wide, e), e)) return false;
    unlearn_copy(u, &wide, NULL);
    if (comm_agree(params_train(&wide.params, 16, e), e)) {
        u->task = &wide;
        u->origin = wide.params.value; /* nothing here reads it */
        bool fine = descend(u, own, settings, e);
        u->task = own;
        u->origin = origin;
        if (fine) unlearn_copy(u, own, &wide);
        task_close(&wide);
        return fine;
    }
    task_close(&wide);
    return false;
}

static double cost(const Unlearn *u, const void *settings) {
    return (double)((const ExpandSettings *)settings)->epochs * (double)u->world->count[SET_FORGET];
}

const Method method_boundary_expand = {
    .name = "boundary_expand",
    .title = "Boundary Expanding",
    .source = "Chen et al. 2023",
    .about = "teaches the forgotten samples a class of their own and cuts it off; needs no retained ones",
    .needs = NEEDS_FORGET | NEEDS_LABELS,
    .claim = CLAIM_HEURISTIC,
    .table = &boundary_expand_table,
    .run = run,
    .cost = cost,
};
