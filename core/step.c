#include "core/step_inside.h"

#include <string.h>

enum { ARENA_CHUNK = 256 * 1024 };

typedef struct ArenaChunk {
    struct ArenaChunk *next;
    size_t used;
    _Alignas(64) uint8_t data[ARENA_CHUNK];
} ArenaChunk;

/* ---- headers and lists: grow in the first steps, then stay ---- */

void *step_arena(Step *s, size_t size) {
    struct StepInner *in = s->inner;
    size = (size + 63) / 64 * 64;
    if (in->current->used + size > ARENA_CHUNK) {
        if (!in->current->next) {
            ArenaChunk *c = mem_get(sizeof *c);
            if (!c) die("out of memory for tensor headers");
            c->next = NULL;
            in->current->next = c;
        }
        in->current = in->current->next;
        in->current->used = 0;
    }
    void *p = in->current->data + in->current->used;
    in->current->used += size;
    memset(p, 0, size);
    return p;
}

void *step_list_grow(void *list, int *room, size_t each) {
    *room = *room ? *room * 2 : 1024;
    list = mem_resize(list, (size_t)*room * each);
    if (!list) die("out of memory for the tape");
    return list;
}

Step *step_create(DType compute, Backend backend, size_t limit, Error *e) {
    Step *s = mem_zero(1, sizeof *s);
    struct StepInner *in = mem_zero(1, sizeof *in);
    if (s) s->inner = in;
    if (in) in->first = mem_get(sizeof *in->first);
    if (!s || !in || !in->first) {
        error_memory(e, sizeof *in->first);
        goto fail;
    }
    in->first->next = NULL;
    in->first->used = 0;
    in->current = in->first;
    if (!(in->heap = heap_create(limit, backend == BACKEND_CUDA, e))) goto fail;
    s->compute = compute;
    s->backend = backend;
    s->recording = true;
    s->training = true;
    return s;
fail:
    if (!s && in) {
        mem_free(in->first);
        mem_free(in);
    }
    step_free(s);
    return NULL;
}

void step_free(Step *s) {
    if (!s) return;
    struct StepInner *in = s->inner;
    if (in) {
        heap_free(in->heap);
        for (ArenaChunk *c = in->first; c;) {
            ArenaChunk *next = c->next;
            mem_free(c);
            c = next;
        }
        step_given_close(in);
        mem_free(in->node);
        mem_free(in->held);
    }
    mem_free(in);
    mem_free(s);
}

void step_begin(Step *s) {
    struct StepInner *in = s->inner;
    heap_reset(in->heap);
    in->current = in->first;
    in->first->used = 0;
    in->nodes = in->helds = 0;
    step_given_begin(s);
    s->flops = 0;
    s->kept = 0;
    s->bad[0] = 0;
}

size_t step_peak(const Step *s) {
    return heap_peak(s->inner->heap);
}
size_t step_live(const Step *s) {
    return heap_live(s->inner->heap);
}

/* ---- tensors ---- */

static Block *block_get(Step *s, size_t bytes) {
    Block *b = heap_get(s->inner->heap, bytes);
    if (!b) {
        give_up(
            "step memory is out: %zu MiB more were wanted, %zu of %zu MiB are in use; lower train.batch or "
            "set model.recompute",
            bytes >> 20, heap_live(s->inner->heap) >> 20, heap_limit(s->inner->heap) >> 20);
    }
    return b;
}

Tensor *step_header(Step *s, DType dtype, int ndim, const int64_t *dim) {
    if (ndim > TENSOR_MAX_DIM) die("a tensor of %d axes", ndim);
    Tensor *t = step_arena(s, sizeof *t);
    t->dtype = dtype;
    t->ndim = ndim;
    for (int i = 0; i < ndim; i++) t->dim[i] = dim[i];
    t->name = "tensor";
    return t;
}

Tensor *step_hold(Step *s, Tensor *t) {
    struct StepInner *in = s->inner;
    if (in->helds == in->held_room) in->held = step_list_grow(in->held, &in->held_room, sizeof *in->held);
    in->held[in->helds++] = t;
    t->holds++;
    return t;
}

Tensor *step_hidden(Step *s, DType dtype, int ndim, const int64_t *dim) {
    Tensor *t = step_header(s, dtype, ndim, dim);
    t->block = block_get(s, tensor_bytes(t));
    t->data = heap_data(s->inner->heap, t->block);
    t->device = s->backend == BACKEND_CUDA;
    t->holds = 1;
    return t;
}

Tensor *step_tensor(Step *s, DType dtype, int ndim, const int64_t *dim) {
    Tensor *t = step_hidden(s, dtype, ndim, dim);
    t->holds = 0;
    return step_hold(s, t);
}

void step_zero(const Step *s, const Tensor *t) {
    if (s->dry) return;
    if (t->device)
        device_zero(t->data, tensor_bytes(t));
    else
        memset(t->data, 0, tensor_bytes(t));
}

static void copy(const Step *s, const Tensor *to, const Tensor *from) {
    if (s->dry) return;
    if (to->device || from->device)
        device_copy(to->data, from->data, tensor_bytes(to));
    else
        memcpy(to->data, from->data, tensor_bytes(to));
}

Tensor *step_zeros(Step *s, DType dtype, int ndim, const int64_t *dim) {
    Tensor *t = step_tensor(s, dtype, ndim, dim);
    step_zero(s, t);
    return t;
}

Tensor *step_input(Step *s, const Tensor *outside) {
    if (s->backend == BACKEND_CUDA && !outside->device) return step_copy(s, outside);
    Tensor *t = step_header(s, outside->dtype, outside->ndim, outside->dim);
    t->data = outside->data;
    t->device = outside->device;
    t->name = outside->name ? outside->name : "input";
    return step_hold(s, t);
}

Tensor *step_view(Step *s, Tensor *from, int ndim, const int64_t *dim) {
    Tensor *t = step_header(s, from->dtype, ndim, dim);
    if (tensor_count(t) != tensor_count(from)) die("step_view: the counts differ");
    t->data = from->data;
    t->device = from->device;
    t->block = from->block;
    if (t->block) t->block->refs++;
    return step_hold(s, t);
}

Tensor *step_copy(Step *s, const Tensor *from) {
    Tensor *t = step_tensor(s, from->dtype, from->ndim, from->dim);
    copy(s, t, from);
    return t;
}

void step_drop(Step *s, Tensor *t) {
    if (--t->holds > 0 || !t->block) return;
    heap_drop(s->inner->heap, t->block);
    t->block = NULL;
    t->data = NULL;
}

Scope scope_open(Step *s) {
    return s->inner->helds;
}

Tensor *scope_close(Step *s, Scope scope, Tensor *keep) {
    struct StepInner *in = s->inner;
    int n = scope;
    for (int i = scope; i < in->helds; i++) {
        if (in->held[i] == keep)
            in->held[n++] = keep;
        else
            step_drop(s, in->held[i]);
    }
    in->helds = n;
    return keep;
}

bool step_no_grad(Step *s) {
    bool was = s->recording;
    s->recording = false;
    return was;
}

void step_grad_on(Step *s, bool was) {
    s->recording = was;
}

/* Scratch blocks are found again by address: a kernel holds few, and the newest lies last. */
void *step_block(Step *s, size_t bytes) {
    int64_t dim = (int64_t)bytes;
    return step_tensor(s, DT_U8, 1, &dim)->data;
}

void step_block_free(Step *s, void *p) {
    struct StepInner *in = s->inner;
    for (int i = in->helds - 1; i >= 0; i--) {
        if (in->held[i]->data != p) continue;
        step_drop(s, in->held[i]);
        memmove(&in->held[i], &in->held[i + 1], (size_t)(in->helds - i - 1) * sizeof *in->held);
        in->helds--;
        return;
    }
    die("step_block_free: not a scratch block");
}
