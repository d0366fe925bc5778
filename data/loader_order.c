#include "data/loader_inside.h"
#include "data/mix.h"

int64_t loader_steps(const Loader *l) {
    bool whole = l->o.train && l->set.drop_last && !l->o.plain;
    return whole ? l->count / l->o.batch : (l->count + l->o.batch - 1) / l->o.batch;
}

/* Has the order of an epoch to be drawn? */
bool loader_draws(const Loader *l) {
    return l->o.mixed || (l->o.train && !l->o.plain);
}

/* The order of an epoch. Two are kept: at the end of an epoch the first batch of the next is read ahead. */
static const uint32_t *order_of(Loader *l, int64_t epoch) {
    Order *o = &l->order[epoch % 2];
    if (o->epoch == epoch) return o->list;
    for (int64_t i = 0; i < l->count; i++) o->list[i] = (uint32_t)loader_place(l, i);
    Rng r = rng_open(l->o.mixed ? 0 : l->o.seed, RNG_SHUFFLE, (uint32_t)epoch, 0);
    rng_shuffle(&r, o->list, (size_t)l->count);
    o->epoch = epoch;
    return o->list;
}

/* Adds places lo .. hi - 1 of the global batch that begins at `begin`. order NULL: as in the data set. */
static void add_stretch(Slot *s, const uint32_t *order, int64_t begin, int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; i++) s->sample[s->n++] = order ? order[begin + i] : begin + i;
}

void loader_plan(Loader *l, Slot *s, int64_t step) {
    int64_t epoch = step / l->steps, begin = step % l->steps * l->o.batch;
    int64_t left = l->count - begin, n = left < l->o.batch ? left : l->o.batch;
    int64_t rank = l->o.rank, ranks = l->o.ranks, half = n / 2;
    const uint32_t *order = loader_draws(l) ? order_of(l, l->o.mixed ? 0 : epoch) : l->pick;
    s->epoch = l->o.plain ? 0 : (uint32_t)epoch;
    s->first = l->data->sample[order ? order[begin] : begin].id;
    s->n = 0;
    s->whole = (int)n;
    if (l->o.train &&
        mix_wanted(&l->set)) { /* an odd one in the middle is its own partner: the last rank's */
        int64_t lo = half * rank / ranks, hi = half * (rank + 1) / ranks;
        add_stretch(s, order, begin, lo, hi);
        if (rank == ranks - 1) add_stretch(s, order, begin, half, n - half);
        add_stretch(s, order, begin, n - hi, n - lo);
    } else {
        add_stretch(s, order, begin, n * rank / ranks, n * (rank + 1) / ranks);
    }
}
