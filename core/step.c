#include "core/step.h"

#include "core/clock.h"
#include "core/device.h"
#include "core/heap.h"
#include "core/op/simd.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ARENA_CHUNK = 256 * 1024 };

typedef struct ArenaChunk {
    struct ArenaChunk *next;
    size_t used;
    _Alignas(64) uint8_t data[ARENA_CHUNK];
} ArenaChunk;

/* What the n-th step_given of a step was: it stays from step to step. CUDA only. */
typedef struct Given {
    void *device,
        *host[2]; /* pinned; two, since the copy of one step may still run when the next is filled */
    size_t room;
} Given;

typedef struct Filling {
    StepFill fill;
    const void *self;
    int first, n;
    Tensor like[STEP_GIVEN];
} Filling;

typedef struct GivenSet {
    Given *list;
    Filling *filling;
    int count, room, fillings, filling_room;
} GivenSet;

typedef struct Node {
    OpCall call;
    StepFn again; /* recompute node: f, its self, x in call.in[0] and the output in call.out[0] */
    void *self;
} Node;

struct StepInner {
    Heap *heap;
    ArenaChunk *first, *current; /* tensor headers and nodes of this step */
    Node **node;
    int nodes, node_room;
    Tensor **held; /* what open scopes hold, in order of making */
    int helds, held_room;
    GivenSet given, kept; /* of the step that runs, and of the captured one */
    int turn;
    DeviceMark *sent[2]; /* the copies of a turn's host memory are done */
    void **copy;         /* what step_host made in this step */
    int copies, copy_room;
    bool segment; /* forward of a segment that backward will run again */
};

/* ---- headers and lists: grow in the first steps, then stay ---- */

static void *arena_get(struct StepInner *in, size_t size) {
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

static void *list_grow(void *list, int *room, size_t each) {
    *room = *room ? *room * 2 : 1024;
    list = mem_resize(list, (size_t)*room * each);
    if (!list) die("out of memory for the tape");
    return list;
}

static void copies_free(struct StepInner *in) {
    for (int i = 0; i < in->copies; i++) mem_free(in->copy[i]);
    in->copies = 0;
}

static void given_free(GivenSet *g) {
    for (int i = 0; i < g->room; i++) {
        device_free(g->list[i].device);
        for (int k = 0; k < 2; k++) device_pinned_free(g->list[i].host[k]);
    }
    mem_free(g->list);
    mem_free(g->filling);
    *g = (GivenSet){0};
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
        for (int k = 0; k < 2; k++) device_mark_free(in->sent[k]);
        given_free(&in->given);
        given_free(&in->kept);
        copies_free(in);
        mem_free(in->copy);
        mem_free(in->node);
        mem_free(in->held);
    }
    mem_free(in);
    mem_free(s);
}

/* The other half of the host's memory for what steps are given. The GPU may be steps behind: what it has
 * still to copy must not be overwritten. */
static void turn_take(Step *s) {
    struct StepInner *in = s->inner;
    in->turn = !in->turn;
    if (in->sent[in->turn] && !s->capturing) device_mark_wait(in->sent[in->turn]);
}

void step_begin(Step *s) {
    struct StepInner *in = s->inner;
    heap_reset(in->heap);
    copies_free(in);
    in->current = in->first;
    in->first->used = 0;
    in->nodes = in->helds = in->given.count = in->given.fillings = 0;
    turn_take(s);
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

/* A header with a shape and no data yet; nobody holds it. */
static Tensor *header_get(Step *s, DType dtype, int ndim, const int64_t *dim) {
    if (ndim > TENSOR_MAX_DIM) die("a tensor of %d axes", ndim);
    Tensor *t = arena_get(s->inner, sizeof *t);
    t->dtype = dtype;
    t->ndim = ndim;
    for (int i = 0; i < ndim; i++) t->dim[i] = dim[i];
    t->name = "tensor";
    return t;
}

static Tensor *scope_hold(Step *s, Tensor *t) {
    struct StepInner *in = s->inner;
    if (in->helds == in->held_room) in->held = list_grow(in->held, &in->held_room, sizeof *in->held);
    in->held[in->helds++] = t;
    t->holds++;
    return t;
}

Tensor *step_hidden(Step *s, DType dtype, int ndim, const int64_t *dim) {
    Tensor *t = header_get(s, dtype, ndim, dim);
    t->block = block_get(s, tensor_bytes(t));
    t->data = heap_data(s->inner->heap, t->block);
    t->device = s->backend == BACKEND_CUDA;
    t->holds = 1;
    return t;
}

Tensor *step_tensor(Step *s, DType dtype, int ndim, const int64_t *dim) {
    Tensor *t = step_hidden(s, dtype, ndim, dim);
    t->holds = 0;
    return scope_hold(s, t);
}

/* Step memory, wherever it is. */
static void zero(const Step *s, const Tensor *t) {
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
    zero(s, t);
    return t;
}

Tensor *step_input(Step *s, const Tensor *outside) {
    if (s->backend == BACKEND_CUDA && !outside->device) return step_copy(s, outside);
    Tensor *t = header_get(s, outside->dtype, outside->ndim, outside->dim);
    t->data = outside->data;
    t->device = outside->device;
    t->name = outside->name ? outside->name : "input";
    return scope_hold(s, t);
}

/* Room for the next tensor that a step on the GPU is given. Its place is no step memory: a replayed step must
 * find it filled before it begins. */
static Given *given_next(GivenSet *set, size_t bytes) {
    if (set->count == set->room) {
        int before = set->room;
        set->list = list_grow(set->list, &set->room, sizeof *set->list);
        memset(set->list + before, 0, (size_t)(set->room - before) * sizeof *set->list);
    }
    Given *g = &set->list[set->count++];
    if (g->room >= bytes) return g;
    device_free(g->device);
    g->device = device_get(bytes);
    for (int k = 0; k < 2; k++) {
        device_pinned_free(g->host[k]);
        g->host[k] = device_pinned_get(bytes);
    }
    g->room = bytes;
    return g;
}

/* Fills the host's side and sends it on its way. */
static void filling_run(Step *s, const GivenSet *set, const Filling *f) {
    Tensor host[STEP_GIVEN], *list[STEP_GIVEN];
    for (int i = 0; i < f->n; i++) {
        host[i] = f->like[i];
        host[i].data = set->list[f->first + i].host[s->inner->turn];
        list[i] = &host[i];
    }
    f->fill(s, f->self, list);
    for (int i = 0; i < f->n; i++)
        device_copy(set->list[f->first + i].device, host[i].data, tensor_bytes(&host[i]));
    DeviceMark **sent = &s->inner->sent[s->inner->turn];
    if (!*sent) *sent = device_mark_open(false);
    device_mark(*sent, DEVICE_STEP);
}

static void given_on_device(Step *s, int n, Tensor **t, const Tensor *like, StepFill fill, const void *self) {
    GivenSet *set = &s->inner->given;
    if (set->fillings == set->filling_room)
        set->filling = list_grow(set->filling, &set->filling_room, sizeof *set->filling);
    Filling *f = &set->filling[set->fillings++];
    *f = (Filling){.fill = fill, .self = self, .first = set->count, .n = n};
    for (int i = 0; i < n; i++) {
        f->like[i] = like[i];
        t[i] = header_get(s, like[i].dtype, like[i].ndim, like[i].dim);
        t[i]->data = given_next(set, tensor_bytes(&like[i]))->device;
        t[i]->device = true;
        scope_hold(s, t[i]);
    }
    if (!s->capturing) filling_run(s, set, f);
}

void step_given(Step *s, int n, Tensor **t, const Tensor *like, StepFill fill, const void *self) {
    if (n > STEP_GIVEN) die("step_given: %d tensors", n);
    if (s->backend == BACKEND_CUDA && !s->dry) {
        given_on_device(s, n, t, like, fill, self);
        return;
    }
    for (int i = 0; i < n; i++) t[i] = step_tensor(s, like[i].dtype, like[i].ndim, like[i].dim);
    if (!s->dry) fill(s, self, t);
}

void step_keep_given(Step *s) {
    given_free(&s->inner->kept);
    s->inner->kept = s->inner->given;
    s->inner->given = (GivenSet){0};
}

void step_refill(Step *s) {
    GivenSet *kept = &s->inner->kept;
    turn_take(s);
    for (int i = 0; i < kept->fillings; i++) filling_run(s, kept, &kept->filling[i]);
}

Tensor *step_host(Step *s, Tensor *t) {
    struct StepInner *in = s->inner;
    if (!t->device) return t;
    Tensor *h = header_get(s, t->dtype, t->ndim, t->dim);
    h->name = t->name;
    h->data = mem_get(tensor_bytes(t));
    if (!h->data) give_up("out of memory: %zu bytes were wanted", tensor_bytes(t));
    if (in->copies == in->copy_room) in->copy = list_grow(in->copy, &in->copy_room, sizeof *in->copy);
    in->copy[in->copies++] = h->data;
    device_copy(h->data, t->data, tensor_bytes(t));
    device_wait();
    return h;
}

Tensor *step_view(Step *s, Tensor *from, int ndim, const int64_t *dim) {
    Tensor *t = header_get(s, from->dtype, ndim, dim);
    if (tensor_count(t) != tensor_count(from)) die("step_view: the counts differ");
    t->data = from->data;
    t->device = from->device;
    t->block = from->block;
    if (t->block) t->block->refs++;
    return scope_hold(s, t);
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

/* ---- the tape ---- */

/* Which tensors a node keeps alive: those that backward reads. */
static void node_hold(Step *s, Node *n, int sign) {
    unsigned needs = n->again ? NEED_IN(0) : n->call.op->needs;
    Tensor *held[OP_IN + OP_OUT + OP_SAVE];
    int count = 0;
    for (int k = 0; k < OP_IN; k++)
        if (n->call.in[k] && (needs & NEED_IN(k))) held[count++] = n->call.in[k];
    for (int k = 0; k < OP_OUT; k++)
        if (n->call.out[k] && (needs & NEED_OUT(k))) held[count++] = n->call.out[k];
    for (int k = 0; k < OP_SAVE; k++)
        if (n->call.save[k]) held[count++] = n->call.save[k];
    for (int k = 0; k < count; k++) {
        if (sign > 0)
            held[k]->holds++;
        else
            step_drop(s, held[k]);
    }
}

/* A call counts once, when it is run forward, be it on the tape or in a segment that comes back in backward.
 */
void step_count_uses(Step *s, const OpCall *c) {
    if (s->again || !(s->recording || s->inner->segment)) return;
    for (int k = 0; k < OP_IN; k++)
        if (c->in[k] && c->in[k]->param && c->in[k]->needs_grad) c->in[k]->uses++;
}

static void uses_done(Step *s, const OpCall *c) {
    for (int k = 0; k < OP_IN; k++) {
        Tensor *t = c->in[k];
        if (!t || !t->param || !t->needs_grad || --t->uses > 0) continue;
        if (s->written) s->written(s->written_self, t);
    }
}

static Node *node_add(Step *s) {
    struct StepInner *in = s->inner;
    if (in->nodes == in->node_room) in->node = list_grow(in->node, &in->node_room, sizeof *in->node);
    return in->node[in->nodes++] = arena_get(in, sizeof(Node));
}

void step_record(Step *s, const OpCall *c) {
    Node *n = node_add(s);
    n->call = *c;
    node_hold(s, n, +1);
}

Tensor *step_grad_of(Step *s, Tensor *t, bool *fresh) {
    if (t->grad) {
        bool first = t->grad_fresh;
        t->grad_fresh = false;
        if (fresh)
            *fresh = first;
        else if (first)
            zero(s, t->grad);
        return t->grad;
    }
    Tensor *g = step_hidden(s, t->dtype, t->ndim, t->dim);
    g->keep_grad = t->keep_grad;
    g->name = t->name;
    if (fresh)
        *fresh = true;
    else
        zero(s, g);
    return t->grad = g;
}

void step_pass_grad(Step *s, Tensor *t, Tensor *g) {
    bool fresh;
    if (!t->grad && g->block && t->dtype == g->dtype && g->block->refs == 1 && !g->keep_grad) {
        Tensor *h = header_get(s, t->dtype, t->ndim, t->dim);
        h->block = g->block;
        h->block->refs++;
        h->data = g->data;
        h->device = g->device;
        h->holds = 1;
        h->keep_grad = t->keep_grad;
        h->name = t->name;
        t->grad = h;
        return;
    }
    Tensor *to = step_grad_of(s, t, &fresh);
    if (s->dry) return;
    (to->device ? tensor_accumulate_cuda : tensor_accumulate)(to, g, fresh);
}

void step_keep_grad(Tensor *t) {
    t->keep_grad = true;
}

void step_want_grad(Tensor *t) {
    t->needs_grad = true;
    t->keep_grad = true;
}

static void backward_to(Step *s, int mark);

/* Runs the segment again, this time with a tape, and walks that tape back before the rest. */
static void node_recompute(Step *s, Node *n) {
    Scope scope = scope_open(s);
    int mark = s->inner->nodes;
    bool was = s->recording, was_again = s->again;
    if (!n->call.out[0]) die("tape: a segment without an output");
    s->recording = s->again = true;
    Tensor *y = n->again(s, n->self, n->call.in[0]);
    s->again = was_again;
    Tensor *g = n->call.out[0]->grad;
    y->grad = g;
    g->holds++;
    backward_to(s, mark);
    s->recording = was;
    scope_close(s, scope, NULL);
}

/* What a backward leaves behind, memory and marks, without the numbers. */
static void dry_backward(Step *s, OpCall *c) {
    bool fresh;
    const Tensor *y = c->out[0];
    if (!y) die("%s has no output", c->op->name);
    for (int k = 0; k < OP_IN; k++) {
        if (!c->in[k] || !c->in[k]->needs_grad) continue;
        if (c->op->passes & NEED_IN(k) && tensor_count(c->in[k]) == tensor_count(y))
            step_pass_grad(s, c->in[k], y->grad);
        else
            step_grad_of(s, c->in[k], &fresh);
    }
}

double step_clock(const Step *s) {
    if (s->backend == BACKEND_CUDA && !s->dry) device_wait();
    return clock_seconds();
}

static void node_run(Step *s, Node *n) {
    const Op *op = n->call.op;
    double began = s->clock ? step_clock(s) : 0;
    if (op->flops) s->flops += op->flops(&n->call, true);
    if (s->dry)
        dry_backward(s, &n->call);
    else
        op->backward[s->backend](&n->call);
    if (s->clock) {
        int row = 0;
        while (op_rows[row] != op) row++;
        s->clock[row].backward += step_clock(s) - began;
    }
    if (s->check && !s->bad[0]) step_check(s, &n->call, true);
}

static void backward_to(Step *s, int mark) {
    struct StepInner *in = s->inner;
    while (in->nodes > mark) {
        Node *n = in->node[--in->nodes];
        bool wanted = false;
        for (int k = 0; k < OP_OUT; k++) wanted |= n->call.out[k] && n->call.out[k]->grad;
        if (wanted && n->again)
            node_recompute(s, n);
        else if (wanted)
            node_run(s, n);
        if (!n->again) uses_done(s, &n->call);
        for (int k = 0; k < OP_OUT; k++) {
            Tensor *t = n->call.out[k];
            if (!t || !t->grad || t->keep_grad) continue;
            step_drop(s, t->grad);
            t->grad = NULL;
        }
        node_hold(s, n, -1);
    }
}

void tape_backward(Step *s, Tensor *loss, double seed) {
    if (tensor_count(loss) != 1) die("tape_backward: the loss is not a scalar");
    s->kept = heap_live(s->inner->heap);
    bool fresh;
    Tensor *g = step_grad_of(s, loss, &fresh);
    real value = (real)seed;
    if (g->device && !s->dry)
        device_set(g->data, (float)value);
    else if (!s->dry)
        tensor_put(g, 0, value);
    backward_to(s, 0);
}

void tape_backward_seeded(Step *s) {
    backward_to(s, 0);
}

Tensor *step_recompute(Step *s, StepFn f, void *self, Tensor *x) {
    if (!s->recording) return f(s, self, x);
    Scope scope = scope_open(s);
    step_no_grad(s);
    s->inner->segment = true;
    Tensor *y = f(s, self, x);
    s->inner->segment = false;
    step_grad_on(s, true);
    scope_close(s, scope, y);
    y->needs_grad = true;
    Node *n = node_add(s);
    n->call = (OpCall){.step = s, .in = {x}, .out = {y}};
    n->again = f;
    n->self = self;
    node_hold(s, n, +1);
    return y;
}

/* ---- looking for the first tensor that is not finite ---- */

static bool all_finite(Step *s, Tensor *t) {
    if (!t || !t->data || (t->dtype != DT_F32 && t->dtype != DT_BF16)) return true;
    t = step_host(s, t);
    int64_t n = tensor_count(t);
    for (int64_t i = 0; i < n; i++)
        if (!isfinite((double)tensor_at(t, i))) return false;
    return true;
}

void step_check(Step *s, const OpCall *c, bool backward) {
    const char *where = "";
    for (int k = OP_IN - 1; k >= 0; k--)
        if (c->in[k] && !c->in[k]->block && c->in[k]->needs_grad) where = c->in[k]->name;
    if (!backward) {
        for (int k = 0; k < OP_OUT; k++) {
            if (all_finite(s, c->out[k])) continue;
            snprintf(s->bad, sizeof s->bad, "the output of %s%s%s%s", c->op->name, *where ? " (" : "", where,
                     *where ? ")" : "");
            return;
        }
        return;
    }
    for (int k = 0; k < OP_IN; k++) {
        Tensor *t = c->in[k];
        if (!t || !t->grad || all_finite(s, t->grad)) continue;
        snprintf(s->bad, sizeof s->bad, "the gradient of %s in the backward of %s%s%s%s", t->name,
                 c->op->name, *where ? " (" : "", where, *where ? ")" : "");
        return;
    }
}
