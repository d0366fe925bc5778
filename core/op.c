#include "core/op.h"

#include "core/ops.h"

#include <stdio.h>
#include <string.h>

const Op *const op_rows[] = {
#define OP(name, arguments) &name##_row,
#include "core/ops.def"
#undef OP
    NULL,
};

static const char *const backend_name[BACKEND_COUNT] = {"reference", "cpu", "cuda"};

void op_die(const OpCall *c, const char *why) {
    char text[OP_IN * 100] = "", one[96];
    size_t n = 0;
    for (int k = 0; k < OP_IN && n < sizeof text; k++)
        if (c->in[k])
            n += (size_t)snprintf(text + n, sizeof text - n, " %s %s", c->in[k]->name ? c->in[k]->name : "?",
                                  tensor_text(c->in[k], one));
    die("%s: %s; inputs:%s", c->op->name, why, text);
}

Tensor *op_run(Step *s, const Op *op, OpCall *c) {
    c->op = op;
    c->step = s;
    bool wanted = false;
    for (int k = 0; k < OP_IN; k++) wanted |= c->in[k] && c->in[k]->needs_grad;
    c->record = wanted && s->recording && op->backward[BACKEND_REF];
    if (!s->dry && (!op->forward[s->backend] || (c->record && !op->backward[s->backend])))
        die("%s has no kernel for %s", op->name, backend_name[s->backend]);
    if (wanted && op->backward[BACKEND_REF]) step_count_uses(s, c);
    op->shape(c);
    if (op->flops) s->flops += op->flops(c, false);
    double began = s->clock ? step_clock(s) : 0;
    if (!s->dry) op->forward[s->backend](c);
    if (s->clock) {
        int row = 0;
        while (op_rows[row] != op) row++;
        s->clock[row].forward += step_clock(s) - began;
        s->clock[row].calls++;
    }
    if (s->check && !s->bad[0]) step_check(s, c, false);
    if (s->watch && !s->again) s->watch(s->watch_self, c);
    if (c->record) {
        for (int k = 0; k < OP_OUT; k++)
            if (c->out[k]) c->out[k]->needs_grad = true;
        step_record(s, c);
    }
    for (int k = 0; k < OP_SAVE; k++) /* the tape holds them now, or nobody does */
        if (c->save[k]) step_drop(s, c->save[k]);
    return c->out[0];
}

Tensor *op_out(OpCall *c, int k, DType dtype, int ndim, const int64_t *dim) {
    c->out[k] = step_tensor(c->step, dtype, ndim, dim);
    c->out[k]->name = c->op->name;
    return c->out[k];
}

Tensor *op_out_like(OpCall *c, int k, const Tensor *like) {
    return op_out(c, k, like->dtype, like->ndim, like->dim);
}

Tensor *op_save(OpCall *c, int k, DType dtype, int ndim, const int64_t *dim) {
    c->save[k] = step_hidden(c->step, dtype, ndim, dim);
    c->save[k]->name = c->op->name;
    return c->save[k];
}

Tensor *op_grad(OpCall *c, int k, bool *fresh) {
    if (!c->in[k] || !c->in[k]->needs_grad) return NULL;
    return step_grad_of(c->step, c->in[k], fresh);
}

void op_grad_pass(OpCall *c, int k, Tensor *g) {
    if (c->in[k] && c->in[k]->needs_grad) step_pass_grad(c->step, c->in[k], g);
}

void *op_scratch(OpCall *c, size_t bytes) {
    return step_block(c->step, bytes);
}
void op_scratch_free(OpCall *c, void *p) {
    step_block_free(c->step, p);
}

bool op_print_kernels(void) {
    bool whole = true;
    printf("%-16s %-22s %-22s %-22s\n", "op", "reference", "cpu", "cuda");
    for (int r = 0; op_rows[r]; r++) {
        printf("%-16s", op_rows[r]->name);
        for (int b = 0; b < BACKEND_COUNT; b++) {
            const Op *op = op_rows[r];
            bool back = op->backward[b] || !op->backward[BACKEND_REF];
            const char *text = op->forward[b] && op->backward[b] ? "forward backward"
                               : op->forward[b] && back          ? "forward"
                               : op->forward[b]                  ? "forward -- HOLE"
                                                                 : "-- HOLE";
            printf(" %-22s", text);
            whole &= b == BACKEND_CUDA || (op->forward[b] && back);
        }
        putchar('\n');
    }
    return whole;
}
