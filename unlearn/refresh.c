/* Normalisation statistics are a memory of the samples that passed: those that training moves begin anew and
 * are made of retained samples alone. Which ones do is seen by a pass: other buffers (a table of positions,
 * the statistics of an encoder at rest) came with the model and stay. */
#include "core/comm.h"
#include "unlearn/unlearn.h"

#include <string.h>

/* A running mean goes a tenth of the way to each batch's: after so many nothing of where it began is left. */
enum { BATCHES = 150 };

static bool any(const Params *p) {
    for (int i = 0; i < p->count; i++)
        if (p->list[i]->buffer) return true;
    return false;
}

/* Batch norm adds up over ranks, so that all of them take part or none. */
static bool suffices(const Unlearn *u, const Batch *b) {
    double none = b->n == 0;
    comm_most(&none, 1);
    return none == 0 && b->whole >= unlearn_least(u);
}

/* `batches` of the retained samples go forward as in training. *seen: of them, those that were fit for it. */
static bool walk(Unlearn *u, Feed *f, int64_t batches, int64_t *seen, Error *e) {
    bool fine = true, was = step_no_grad(u->step);
    *seen = 0;
    for (int64_t i = 0; i < batches && fine; i++) {
        const Batch *b;
        if (!(fine = feed_next(f, &b, e)) || !suffices(u, b)) continue;
        unlearn_forward(u, b, true);
        u->step->recording = false;
        u->task->class->outputs(u->task, u->step, b);
        ++*seen;
    }
    step_grad_on(u->step, was);
    return fine;
}

/* What the walk moved, set against `before` [params.values], takes its values from `fresh`. Returns how many
 * tensors. */
static int begin_anew(Params *p, const real *before, const Task *fresh) {
    int moved = 0;
    for (int i = 0; i < p->count; i++) {
        Tensor *t = &p->list[i]->tensor;
        if (!p->list[i]->buffer ||
            memcmp(t->data, before + (tensor_real(t) - p->value), tensor_bytes(t)) == 0)
            continue;
        memcpy(t->data, fresh->params.list[i]->tensor.data, tensor_bytes(t));
        moved++;
    }
    return moved;
}

static bool renew(Unlearn *u, Feed *f, const real *before, const Task *fresh, Error *e) {
    int64_t seen, passes = (BATCHES + f->steps - 1) / f->steps;
    if (!walk(u, f, f->steps, &seen, e)) return false;
    if (seen == 0)
        return error_set(e, ERROR_VALUE,
                         "too few retained samples to make the statistics of batch norm anew: no batch has "
                         "the %lld that it needs",
                         (long long)unlearn_least(u));
    if (begin_anew(&u->task->params, before, fresh) == 0) return true;
    return walk(u, f, passes * f->steps, &seen, e);
}

bool unlearn_refresh(Unlearn *u, Error *e) {
    const Params *p = &u->task->params;
    size_t bytes = (size_t)p->values * sizeof(real);
    Task fresh = {0};
    Feed f = {0};
    if (!any(p)) return true;
    real *before = mem_get(bytes);
    bool fine = before ? u->world->model(u->world->self, 0, u->seed, &fresh, e) : error_memory(e, bytes);
    if (fine) memcpy(before, p->value, bytes);
    fine = comm_agree(fine, e) && feed_open(&f, u, SET_RETAIN, FEED_MIXED, 0, e) &&
           renew(u, &f, before, &fresh, e);
    feed_close(&f);
    task_close(&fresh);
    mem_free(before);
    return fine;
}
