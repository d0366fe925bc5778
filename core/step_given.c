#include "core/step_inside.h"

#include <string.h>

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

void step_given_close(struct StepInner *in) {
    for (int k = 0; k < 2; k++) device_mark_free(in->sent[k]);
    given_free(&in->given);
    given_free(&in->kept);
    copies_free(in);
    mem_free(in->copy);
}

/* The other half of the host's memory for what steps are given. The GPU may be steps behind: what it has
 * still to copy must not be overwritten. */
static void turn_take(Step *s) {
    struct StepInner *in = s->inner;
    in->turn = !in->turn;
    if (in->sent[in->turn] && !s->capturing) device_mark_wait(in->sent[in->turn]);
}

void step_given_begin(Step *s) {
    struct StepInner *in = s->inner;
    copies_free(in);
    in->given.count = in->given.fillings = 0;
    turn_take(s);
}

/* Room for the next tensor that a step on the GPU is given. Its place is no step memory: a replayed step must
 * find it filled before it begins. */
static Given *given_next(GivenSet *set, size_t bytes) {
    if (set->count == set->room) {
        int before = set->room;
        set->list = step_list_grow(set->list, &set->room, sizeof *set->list);
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
        set->filling = step_list_grow(set->filling, &set->filling_room, sizeof *set->filling);
    Filling *f = &set->filling[set->fillings++];
    *f = (Filling){.fill = fill, .self = self, .first = set->count, .n = n};
    for (int i = 0; i < n; i++) {
        f->like[i] = like[i];
        t[i] = step_header(s, like[i].dtype, like[i].ndim, like[i].dim);
        t[i]->data = given_next(set, tensor_bytes(&like[i]))->device;
        t[i]->device = true;
        step_hold(s, t[i]);
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
    Tensor *h = step_header(s, t->dtype, t->ndim, t->dim);
    h->name = t->name;
    h->data = mem_get(tensor_bytes(t));
    if (!h->data) give_up("out of memory: %zu bytes were wanted", tensor_bytes(t));
    if (in->copies == in->copy_room) in->copy = step_list_grow(in->copy, &in->copy_room, sizeof *in->copy);
    in->copy[in->copies++] = h->data;
    device_copy(h->data, t->data, tensor_bytes(t));
    device_wait();
    return h;
}
