#include "unlearn/embed.h"

#include "core/comm.h"
#include "core/ops.h"

#include <string.h>

Tensor *embed_batch(Unlearn *u, const Batch *b) {
    unlearn_forward(u, b, false);
    bool was = step_no_grad(u->step);
    Tensor *x = f32_of(u->step, u->task->class->features(u->task, u->step, b));
    step_grad_on(u->step, was);
    return x;
}

static bool make_room(Embeddings *out, int64_t most, int64_t d, Error *e) {
    size_t n = (size_t)most, bytes = n * (size_t)d * sizeof *out->e;
    out->d = d;
    out->e = mem_get(bytes);
    out->label = mem_get(n * sizeof *out->label);
    out->id = mem_get(n * sizeof *out->id);
    return (out->e && out->label && out->id) || error_memory(e, bytes);
}

static bool add(Embeddings *out, Unlearn *u, const Batch *b, int64_t most, Error *e) {
    const Tensor *x = embed_batch(u, b);
    if (!out->e && !make_room(out, most, tensor_count(x) / b->n, e)) return false;
    memcpy(out->e + out->n * out->d, x->data, tensor_bytes(x));
    for (int64_t i = 0; i < b->n; i++) {
        out->label[out->n + i] = b->label ? b->label[i] : -1;
        out->id[out->n + i] = b->id[i];
    }
    out->n += b->n;
    return true;
}

/* Every rank goes through all of it, so that all have the same to the bit. */
bool embed_set(Unlearn *u, UnlearnSet set, Embeddings *out, Error *e) {
    Feed f;
    *out = (Embeddings){0};
    if (!feed_open(&f, u, set, FEED_WHOLE, 0, e)) return false;
    bool fine = true;
    for (int64_t i = 0; i < f.steps && fine; i++) {
        const Batch *b;
        if ((fine = feed_next(&f, &b, e)))
            fine = comm_agree(!b->n || add(out, u, b, u->world->count[set], e), e);
    }
    feed_close(&f);
    if (fine && !out->n) fine = error_set(e, ERROR_VALUE, "no image of a set that is needed could be read");
    return fine;
}

void embed_close(Embeddings *x) {
    mem_free(x->e);
    mem_free(x->label);
    mem_free(x->id);
    *x = (Embeddings){0};
}
