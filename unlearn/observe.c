#include "unlearn/observe.h"

#include "core/comm.h"
#include "unlearn/measures.h"

#include <string.h>

/* Batches are looked at whole; of them those samples are taken that come next in the spread. */
typedef struct Taking {
    Observed *o;
    int64_t seen, count, most; /* of the set: looked at, all, wanted */
    bool features;
} Taking;

static bool room_make(Observed *o, int64_t most, int classes, Error *e) {
    size_t n = (size_t)most, wide = n * (size_t)(classes > 0 ? classes : 1);
    o->classes = classes;
    o->id = mem_get(n * sizeof *o->id);
    o->label = mem_get(n * sizeof *o->label);
    o->identity = mem_get(n * sizeof *o->identity);
    o->loss = mem_get(n * sizeof *o->loss);
    if (classes) {
        o->logit = mem_get(wide * sizeof *o->logit);
        o->prob = mem_get(wide * sizeof *o->prob);
    }
    bool fine = o->id && o->label && o->identity && o->loss && (!classes || (o->logit && o->prob));
    return fine || error_memory(e, wide * 8);
}

static bool features_room(Observed *o, int64_t most, const Tensor *x, Error *e) {
    if (o->feature) return true;
    o->columns = (int)x->dim[1];
    size_t bytes = (size_t)most * (size_t)o->columns * sizeof *o->feature;
    return (o->feature = mem_get(bytes)) ? true : error_memory(e, bytes);
}

static bool batch_take(Taking *t, Unlearn *u, const Batch *b, Error *e) {
    Observed *o = t->o;
    const TaskClass *class = u->task->class;
    Step *s = u->step;
    Tensor *each, *logit = NULL, *feature = NULL;
    unlearn_forward(u, b, false);
    s->recording = false;
    class->loss(u->task, s, b, &each);
    if (o->classes) logit = class->outputs(u->task, s, b);
    if (t->features) feature = class->features(u->task, s, b);
    if (feature && !features_room(o, t->most, feature, e)) return false;
    for (int64_t i = 0; i < b->n; i++, t->seen++) {
        int64_t at = o->n;
        if ((t->seen + 1) * t->most / t->count == t->seen * t->most / t->count || at == t->most) continue;
        o->id[at] = b->id[i];
        o->label[at] = b->label ? b->label[i] : -1;
        o->identity[at] = b->identity ? b->identity[i] : -1;
        o->loss[at] = (double)tensor_at(each, i);
        for (int k = 0; logit && k < o->classes; k++)
            o->logit[at * o->classes + k] = (double)tensor_at(logit, i * o->classes + k);
        if (o->classes) measure_softmax(o->logit + at * o->classes, o->classes, o->prob + at * o->classes);
        for (int k = 0; feature && k < o->columns; k++)
            o->feature[at * o->columns + k] = (double)tensor_at(feature, i * o->columns + k);
        o->n++;
    }
    return true;
}

bool observe(Observed *out, Unlearn *u, UnlearnSet set, int64_t most, bool features, Error *e) {
    Feed f = {0};
    int64_t count = u->world->count[set];
    Taking t = {
        .o = out, .count = count, .most = most > 0 && most < count ? most : count, .features = features};
    *out = (Observed){0};
    if (!count) return true;
    bool fine =
        comm_agree(room_make(out, t.most, u->task->classes, e), e) && feed_open(&f, u, set, FEED_WHOLE, 0, e);
    for (int64_t i = 0; i < f.steps && fine; i++) {
        const Batch *b;
        fine = feed_next(&f, &b, e) && comm_agree(!b->n || batch_take(&t, u, b, e), e);
    }
    feed_close(&f);
    if (!fine) observed_close(out);
    return fine;
}

void observed_close(Observed *o) {
    mem_free(o->id);
    mem_free(o->label);
    mem_free(o->identity);
    mem_free(o->loss);
    mem_free(o->logit);
    mem_free(o->prob);
    mem_free(o->feature);
    *o = (Observed){0};
}
