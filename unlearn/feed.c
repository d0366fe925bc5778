#include "core/comm.h"
#include "unlearn/unlearn.h"

/* Whatever the number of ranks: were it rounded for them, steps would be others. */
static int64_t batch_of(const Unlearn *u, UnlearnSet set, int64_t batch) {
    int64_t count = u->world->count[set];
    if (!batch && set == SET_FORGET) batch = u->set->forget_batch;
    if (!batch) batch = u->set->batch ? u->set->batch : u->world->train->batch;
    return batch < count ? batch : count;
}

bool feed_open(Feed *f, Unlearn *u, UnlearnSet set, FeedKind kind, int64_t batch, Error *e) {
    *f = (Feed){.u = u};
    if (kind != FEED_RETRAIN) batch = batch_of(u, set, batch);
    if (!comm_agree(u->world->source(u->world->self, set, kind, batch, u->seed, &f->source, e), e)) {
        feed_close(f);
        return false;
    }
    f->steps = f->source.steps_per_epoch;
    return true;
}

void feed_close(Feed *f) {
    if (f->source.close) f->source.close(f->source.self);
    *f = (Feed){0};
}

bool feed_next(Feed *f, const Batch **out, Error *e) {
    return comm_agree(f->source.get(f->source.self, f->next++, out, e), e);
}
