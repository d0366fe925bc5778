#include "core/comm.h"
#include "unlearn/unlearn.h"

/* Whatever the number of ranks: were it rounded for them, steps would be others. */
static int64_t batch_of(const Unlearn *u, UnlearnSet set, int64_t batch) {
    int64_t count = u->world->count[set];
    if (!batch && set == SET_FORGET) batch = u->set->forget_batch;
    if (!batch) batch = u->set->batch ? u->set->batch : u->world->train->batch;
    return batch < count ? batch : count;
}

int64_t unlearn_least(const Unlearn *u) {
    int64_t least = u->task->least_batch, ranks = u->task->sums_ranks ? comm_size() : 1;
    return least < ranks ? ranks : least;
}

/* The batches of a pass that can be trained on. */
static bool steps_suffice(Feed *f, int64_t batch, Error *e) {
    int64_t least = unlearn_least(f->u), count = f->source.samples, rest = count % batch;
    if (batch < least || count < least)
        return error_set(
            e, ERROR_VALUE,
            "a step of %lld samples: batch norm needs %lld; forget or keep more, or give another "
            "unlearn.batch",
            (long long)batch, (long long)least);
    if (rest > 0 && rest < least) f->steps--;
    return true;
}

bool feed_open(Feed *f, Unlearn *u, UnlearnSet set, FeedKind kind, int64_t batch, Error *e) {
    *f = (Feed){.u = u};
    if (kind != FEED_RETRAIN) batch = batch_of(u, set, batch);
    bool fine = u->world->source(u->world->self, set, kind, batch, u->seed, &f->source, e);
    f->steps = fine ? f->source.steps_per_epoch : 0;
    fine = fine && (kind != FEED_TRAIN || steps_suffice(f, batch, e));
    if (comm_agree(fine, e)) return true;
    feed_close(f);
    return false;
}

void feed_close(Feed *f) {
    if (f->source.close) f->source.close(f->source.self);
    *f = (Feed){0};
}

bool feed_next(Feed *f, const Batch **out, Error *e) {
    int64_t step = f->next / f->steps * f->source.steps_per_epoch + f->next % f->steps;
    f->next++;
    return comm_agree(f->source.get(f->source.self, step, out, e), e);
}
