/* Relearning: what was only hidden comes back soon. Updates on retained samples alone (arXiv 2505.22310), and
 * on a few of the forgotten (prototypical relearning, 2506.01318), until the forgotten are known nearly as
 * well as before; of a model that never saw them this takes long, or never happens. */
#include "core/comm.h"
#include "unlearn/audit.h"

#include <math.h>
#include <string.h>

/* The batches that are learnt from. */
typedef bool (*Learn)(Unlearn *u, Feed *f, void *self, Error *e);

static bool learn_all(Unlearn *u, Feed *f, void *self, Error *e) {
    const Batch *b;
    (void)self;
    if (!feed_next(f, &b, e)) return false;
    unlearn_loss(u, b, true, 1);
    return true;
}

/* Of the forgotten, those few are learnt again and again, which come first in the set's order. */
typedef struct Few {
    int64_t most;
} Few;

static bool learn_few(Unlearn *u, Feed *f, void *self, Error *e) {
    const Few *few = self;
    const Batch *b;
    for (int64_t left = few->most; left > 0;) {
        if (!feed_next(f, &b, e)) return false;
        Batch part = *b;
        if (part.n > left) part.n = (int)left;
        part.whole = part.n;
        part.image.dim[0] = part.n;
        left -= b->whole ? b->whole : b->n;
        /* every rank has the same samples here: the gradients that are added up are each a share of one */
        if (part.n >= u->task->least_batch && part.n)
            unlearn_loss(u, &part, true, (double)part.n / (double)few->most / comm_size());
    }
    f->next = 0;
    return true;
}

static void curve_put(AuditCurve *c, double step, double score) {
    if (c->n == AUDIT_CURVE) return;
    c->step[c->n] = step;
    c->score[c->n++] = score;
}

static bool relearn(AuditCurve *c, Unlearn *u, const AuditSettings *set, double goal, bool more, Feed *f,
                    Learn learn, void *self, Error *e) {
    const DescentSettings how = {.epochs = 1, .optimizer = 1, .lr = set->relearn_lr, .momentum = 0.9};
    Descent d = {0};
    Log *log = u->log;
    int64_t updates = u->updates, planned = u->planned, index = u->index;
    double passes = u->passes;
    u->index = 0; /* drop path is the same, however long the run was */
    bool fine = descent_open(&d, u, &how, set->relearn_steps, e);
    u->log = NULL; /* no part of the run */
    for (int64_t i = 0; i <= set->relearn_steps && fine && !c->reached; i++) {
        if (i % set->relearn_every == 0) {
            UnlearnScore now;
            if (!(fine = unlearn_score(u, SET_FORGET, &now, e))) break;
            curve_put(c, (double)i, now.value);
            c->reached = more ? now.value >= goal : now.value <= goal;
        }
        if (c->reached || i == set->relearn_steps) break;
        unlearn_zero(u);
        fine = learn(u, f, self, e) && descent_update(&d, e);
    }
    descent_close(&d);
    u->log = log;
    u->updates = updates;
    u->planned = planned;
    u->index = index;
    u->passes = passes;
    return fine;
}

static void steps_put(Audit *a, Figure f, const AuditCurve *c, const AuditSettings *set) {
    double last = c->n ? c->step[c->n - 1] : 0;
    a->figure[f] = c->reached ? (Interval){last, NAN, NAN} : audit_beyond((double)set->relearn_steps);
}

bool audit_relearn(Audit *a, Unlearn *u, const AuditSettings *set, const Audit *before, Error *e) {
    Params *p = &u->task->params;
    Feed f = {0};
    size_t bytes = (size_t)p->values * sizeof(real);
    int64_t n = u->world->count[SET_FORGET];
    Few few = {.most = (int64_t)ceil(set->relearn_few * (double)n)};
    if (few.most > 0 && few.most < u->task->least_batch) few.most = u->task->least_batch;
    double old = before->figure[FIGURE_ua].value, share = set->relearn_margin / 100;
    double goal = before->share ? (100 - old) * (1 - share) : old * (1 + share);
    real *kept = mem_get(bytes);
    if (!n || isnan(old)) {
        mem_free(kept);
        return true;
    }
    if (!comm_agree(kept ? true : error_memory(e, bytes), e)) {
        mem_free(kept);
        return false;
    }
    memcpy(kept, p->value, bytes);
    bool fine = feed_open(&f, u, SET_RETAIN, FEED_TRAIN, 0, e) &&
                relearn(&a->retained, u, set, goal, before->share, &f, learn_all, NULL, e);
    feed_close(&f);
    memcpy(p->value, kept, bytes);
    if (fine && few.most > 0) {
        fine = feed_open(&f, u, SET_FORGET, FEED_WHOLE, 0, e) &&
               relearn(&a->few, u, set, goal, before->share, &f, learn_few, &few, e);
        feed_close(&f);
        steps_put(a, FIGURE_relearn_few, &a->few, set);
    }
    memcpy(p->value, kept, bytes);
    mem_free(kept);
    steps_put(a, FIGURE_relearn, &a->retained, set);
    return fine;
}
