#include "unlearn/relabel.h"

typedef struct Relabel {
    Unlearn *u;
    const RelabelSettings *set;
    Feed forget, retain;
    Descent d;
    RelabelAfter after;
    void *self;
} Relabel;

static bool update(Relabel *r, Error *e) {
    return descent_update(&r->d, e) && (!r->after || r->after(r->self, &r->d, e));
}

/* A batch of forgotten samples with targets drawn for this round. */
static bool forget_one(Relabel *r, uint32_t round, Error *e) {
    Unlearn *u = r->u;
    const Batch *b;
    Batch wrong;
    if (!feed_next(&r->forget, &b, e)) return false;
    unlearn_zero(u);
    unlearn_forward(u, b, true);
    if (b->n) {
        const TaskRelabel draw = {u->seed, r->set->once ? 0 : round, r->set->any};
        u->task->class->relabel(u->task, u->step, b, &draw, &wrong);
        unlearn_backward(u, u->task->class->loss(u->task, u->step, &wrong, NULL), 1, &wrong);
    }
    return update(r, e);
}

static bool retain_one(Relabel *r, Error *e) {
    const Batch *b;
    if (!feed_next(&r->retain, &b, e)) return false;
    unlearn_zero(r->u);
    unlearn_loss(r->u, b, true, 1);
    return update(r, e);
}

/* How many of the retained batches a pass has. */
static int64_t retained(const Relabel *r) {
    int64_t n = (int64_t)((double)r->retain.steps * r->set->retain + 0.5);
    return n < r->retain.steps ? n : r->retain.steps;
}

/* One pass. By turns: the forgotten batches spread evenly among the retained. */
static bool pass(Relabel *r, uint32_t round, Error *e) {
    int64_t forget = r->forget.steps, retain = retained(r), all = forget + retain, given = 0;
    for (int64_t i = 0; i < all; i++) {
        bool mine = r->set->order == 0 ? i < forget : (i + 1) * forget / all > given;
        given += mine;
        if (!(mine ? forget_one(r, round, e) : retain_one(r, e))) return false;
    }
    return true;
}

bool relabel_descend(Unlearn *u, const DescentSettings *descent, const RelabelSettings *set, const real *mask,
                     RelabelAfter after, void *self, Error *e) {
    Relabel r = {.u = u, .set = set, .after = after, .self = self};
    bool fine = feed_open(&r.forget, u, SET_FORGET, FEED_TRAIN, 0, e) &&
                feed_open(&r.retain, u, SET_RETAIN, FEED_TRAIN, 0, e) &&
                descent_open(&r.d, u, descent, descent->epochs * (r.forget.steps + retained(&r)), e);
    r.d.mask = mask;
    bool done = false;
    for (int64_t i = 0; i < descent->epochs && fine && !done; i++)
        fine = pass(&r, (uint32_t)i, e) && unlearn_stop(u, &done, e);
    descent_close(&r.d);
    feed_close(&r.retain);
    feed_close(&r.forget);
    return fine;
}
