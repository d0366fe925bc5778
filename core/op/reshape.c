/* reshape: the same values in the same order under another shape; shares the memory of x.
 * x (any)  ->  y with the axes in i[1] .. i[i[0]].   dx = dy.   Backward reads nothing. */
#include "core/ops.h"

#include <string.h>

static void shape(OpCall *c) {
    int64_t count = 1;
    for (int k = 0; k < c->i[0]; k++) count *= c->i[1 + k];
    if (count != tensor_count(c->in[0])) op_die(c, "the counts differ");
    c->out[0] = step_view(c->step, c->in[0], (int)c->i[0], &c->i[1]);
    c->out[0]->name = "reshape";
}

static void forward_ref(OpCall *c) {
    (void)c; /* the view is the result */
}

static void backward_ref(OpCall *c) {
    op_grad_pass(c, 0, c->out[0]->grad);
}

static const Probe probes[] = {
    {.about = "fold", .in = {{3, {2, 3, 4}}}, .i = {2, 6, 4}},
};

const Op reshape_row = {
    .name = "reshape",
    .passes = NEED_IN(0),
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(forward_ref)},
    .backward = {backward_ref, ON_CPU(backward_ref), ON_CUDA(backward_ref)},
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_reshape(Step *s, Tensor *x, int ndim, const int64_t *dim) {
    OpCall c = {.in = {x}, .i = {ndim}};
    memcpy(&c.i[1], dim, (size_t)ndim * sizeof *dim);
    return op_run(s, &reshape_row, &c);
}
