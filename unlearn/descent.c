#include "core/comm.h"
#include "unlearn/unlearn.h"
#include "unlearn/vector.h"

#include <math.h>

bool descent_open(Descent *d, Unlearn *u, const DescentSettings *set, int64_t updates, Error *e) {
    *d = (Descent){.u = u, .set = *set, .updates = updates, .factor = 1};
    d->optim_set = (OptimSettings){.kind = set->optimizer == 0 ? OPTIM_SGD : OPTIM_ADAMW,
                                   .weight_decay = set->weight_decay,
                                   .momentum = set->momentum,
                                   .beta1 = 0.9,
                                   .beta2 = 0.999,
                                   .eps = 1e-8};
    u->planned += updates;
    return comm_agree(optim_open(&d->optim, &d->optim_set, &u->task->params, NULL, 0, e), e);
}

void descent_close(Descent *d) {
    optim_close(&d->optim);
    *d = (Descent){0};
}

static bool is_free(const Descent *d, int64_t i) {
    return (!d->mask || d->mask[i] != 0) && (!d->u->keep || d->u->keep[i] != 0);
}

/* What does not move has no part in the norm that is clipped. */
static void gradient_mask(Descent *d) {
    const Params *p = &d->u->task->params;
    for (int64_t i = 0; i < p->trained; i++)
        if (!is_free(d, i)) p->grad[i] = 0;
}

/* Weight decay and momentum move what has no gradient: what shall stay is put back, and its moments with it
 * (SalUn's code since its second release). */
static void mask_apply(Descent *d) {
    const Params *p = &d->u->task->params;
    const real *origin = d->u->origin, *keep = d->u->keep;
    for (int64_t i = 0; i < p->trained; i++) {
        if (is_free(d, i)) continue;
        p->value[i] = keep && keep[i] == 0 ? 0 : origin[i];
        d->optim.first[i] = 0;
        if (d->optim.second) d->optim.second[i] = 0;
    }
}

static void tell(const Descent *d, double lr) {
    Unlearn *u = d->u;
    if (!u->log) return;
    double epoch = d->updates ? (double)d->done * (double)d->set.epochs / (double)d->updates : 0;
    log_step(u->log, &(LogStep){.step = u->updates,
                                .epoch = epoch,
                                .loss = u->loss,
                                .lr = lr,
                                .images = u->images * comm_size()});
}

bool descent_update(Descent *d, Error *e) {
    Unlearn *u = d->u;
    const Params *p = &u->task->params;
    if (!unlearn_sum(u, e)) return false;
    if (d->mask || u->keep) gradient_mask(d);
    double lr = d->set.lr * d->factor, scale = 1;
    if (d->set.schedule && d->updates)
        lr *= 0.5 * (1 + cos(3.14159265358979323846 * (double)d->done / (double)d->updates));
    if (d->set.clip > 0) {
        double norm = vector_norm(p->grad, p->trained);
        if (norm > d->set.clip) scale = d->set.clip / (norm + 1e-6);
    }
    optim_update(&d->optim, lr, scale);
    if (d->mask || u->keep) mask_apply(d);
    d->done++;
    u->updates++;
    tell(d, lr);
    return true;
}

bool descent_retain(Unlearn *u, const DescentSettings *set, const real *mask, DescentEach each, void *self,
                    Error *e) {
    Feed f = {0};
    Descent d = {0};
    bool fine = feed_open(&f, u, SET_RETAIN, FEED_TRAIN, 0, e);
    int64_t updates = f.steps * set->epochs;
    fine = fine && descent_open(&d, u, set, updates, e);
    d.mask = mask;
    bool done = false;
    for (int64_t i = 0; i < updates && fine && !done; i++) {
        const Batch *b;
        if (!(fine = feed_next(&f, &b, e))) break;
        unlearn_zero(u);
        unlearn_loss(u, b, true, 1);
        if (each) each(self, i / f.steps);
        fine = descent_update(&d, e) && ((i + 1) % f.steps || unlearn_stop(u, &done, e));
    }
    descent_close(&d);
    feed_close(&f);
    return fine;
}
