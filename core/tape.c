#include "core/clock.h"
#include "core/op/simd.h"
#include "core/step_inside.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

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
    if (in->nodes == in->node_room) in->node = step_list_grow(in->node, &in->node_room, sizeof *in->node);
    return in->node[in->nodes++] = step_arena(s, sizeof(Node));
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
            step_zero(s, t->grad);
        return t->grad;
    }
    Tensor *g = step_hidden(s, t->dtype, t->ndim, t->dim);
    g->keep_grad = t->keep_grad;
    g->name = t->name;
    if (fresh)
        *fresh = true;
    else
        step_zero(s, g);
    return t->grad = g;
}

void step_pass_grad(Step *s, Tensor *t, Tensor *g) {
    bool fresh;
    if (!t->grad && g->block && t->dtype == g->dtype && g->block->refs == 1 && !g->keep_grad) {
        Tensor *h = step_header(s, t->dtype, t->ndim, t->dim);
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
