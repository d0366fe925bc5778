/* Normalisation statistics are a memory of the samples that passed: they begin anew and are made of retained
 * samples alone. */
#include "core/comm.h"
#include "unlearn/unlearn.h"

#include <string.h>

static bool any(const Params *p) {
    for (int i = 0; i < p->count; i++)
        if (p->list[i]->buffer) return true;
    return false;
}

bool unlearn_refresh(Unlearn *u, Error *e) {
    Params *p = &u->task->params;
    Task fresh;
    Feed f;
    if (!any(p)) return true;
    if (!comm_agree(u->world->model(u->world->self, 0, u->seed, &fresh, e), e)) return false;
    for (int i = 0; i < p->count; i++)
        if (p->list[i]->buffer)
            memcpy(p->list[i]->tensor.data, fresh.params.list[i]->tensor.data,
                   tensor_bytes(&p->list[i]->tensor));
    task_close(&fresh);
    if (!feed_open(&f, u, SET_RETAIN, FEED_PLAIN, 0, e)) return false;
    bool fine = true, was = step_no_grad(u->step);
    for (int64_t i = 0; i < f.steps && fine; i++) {
        const Batch *b;
        if (!(fine = feed_next(&f, &b, e)) || b->n < u->task->least_batch) continue;
        unlearn_forward(u, b, true);
        u->step->recording = false;
        u->task->class->outputs(u->task, u->step, b);
    }
    step_grad_on(u->step, was);
    feed_close(&f);
    return fine;
}
