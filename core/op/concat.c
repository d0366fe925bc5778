/* concat: tensors one after the other along an axis.
 * 1 to OP_IN inputs of one dtype, equal but for axis i[0]  ->  y, whose axis is the sum of theirs.
 * dx_k = the part of dy that came from x_k.   Backward reads nothing. */
#include "core/ops.h"

#include <string.h>

/* One row of input k is all from axis i[0] on: rows of the inputs alternate in y. */
static int64_t row_of(const OpCall *c, const Tensor *t) {
    int64_t n = 1;
    for (int k = (int)c->i[0]; k < t->ndim; k++) n *= t->dim[k];
    return n;
}

static void shape(OpCall *c) {
    const Tensor *first = c->in[0];
    int64_t axis = c->i[0], dim[TENSOR_MAX_DIM];
    if (axis < 0 || axis >= first->ndim) op_die(c, "no such axis");
    memcpy(dim, first->dim, sizeof dim);
    for (int k = 1; k < OP_IN; k++) {
        const Tensor *t = c->in[k];
        if (!t) continue;
        if (t->ndim != first->ndim || t->dtype != first->dtype) op_die(c, "axes and dtypes must be equal");
        for (int a = 0; a < t->ndim; a++)
            if (a != axis && t->dim[a] != first->dim[a]) op_die(c, "all axes but one must be equal");
        dim[axis] += t->dim[axis];
    }
    op_out(c, 0, first->dtype, first->ndim, dim);
}

static void forward_ref(OpCall *c) {
    const Tensor *y = c->out[0];
    size_t size = dtype_size(y->dtype), row = (size_t)row_of(c, y) * size, at = 0;
    int64_t rows = tensor_count(y) / row_of(c, y);
    for (int k = 0; k < OP_IN; k++) {
        if (!c->in[k]) continue;
        size_t each = (size_t)row_of(c, c->in[k]) * size;
        const uint8_t *from = c->in[k]->data;
        uint8_t *to = (uint8_t *)y->data + at;
#pragma omp parallel for schedule(static)
        for (int64_t r = 0; r < rows; r++) memcpy(to + (size_t)r * row, from + (size_t)r * each, each);
        at += each;
    }
}

static void backward_ref(OpCall *c) {
    const Tensor *dy = c->out[0]->grad;
    int64_t row = row_of(c, dy), rows = tensor_count(dy) / row, at = 0;
    for (int k = 0; k < OP_IN; k++) {
        if (!c->in[k]) continue;
        int64_t each = row_of(c, c->in[k]);
        bool fresh;
        Tensor *dx = op_grad(c, k, &fresh);
#pragma omp parallel for schedule(static) if (dx)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t j = 0; dx && j < each; j++) {
                real g = tensor_at(dy, r * row + at + j);
                tensor_put(dx, r * each + j, fresh ? g : tensor_at(dx, r * each + j) + g);
            }
        at += each;
    }
}

static const Probe probes[] = {
    {.about = "tokens", .in = {{3, {2, 1, 5}}, {3, {2, 4, 5}}}, .i = {1}},
    {.about = "batch", .in = {{2, {2, 3}}, {2, {1, 3}}, {2, {3, 3}}}, .i = {0}},
    {.about = "columns of six",
     .in = {{2, {3, 1}}, {2, {3, 2}}, {2, {3, 3}}, {2, {3, 1}}, {2, {3, 2}}, {2, {3, 4}}},
     .i = {1}},
    {.about = "one of them constant", .in = {{2, {3, 2}}, {2, {3, 3}, .constant = true}}, .i = {1}},
};

const Op concat_row = {
    .name = "concat",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(concat_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_ref), ON_CUDA(concat_backward_cuda)},
    .bf16 = true,
    .bf16_with = NEED_IN(1) | NEED_IN(2) | NEED_IN(3) | NEED_IN(4) | NEED_IN(5),
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_concat(Step *s, Tensor *const *x, int count, int axis) {
    OpCall c = {.i = {axis}};
    if (count < 1 || count > OP_IN) die("concat: %d inputs; 1 to %d are possible", count, OP_IN);
    memcpy(c.in, x, (size_t)count * sizeof *x);
    return op_run(s, &concat_row, &c);
}
