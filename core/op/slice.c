/* slice: a stretch of one axis.
 * x (.., N, ..)  ->  y (.., length, ..) = elements start .. start + length - 1 of axis i[0]; like x.
 * i[1] = start, i[2] = length.   dx = dy inside, 0 outside.   Backward reads nothing. */
#include "core/ops.h"

#include <string.h>

static void shape(OpCall *c) {
    const Tensor *x = c->in[0];
    int64_t axis = c->i[0], dim[TENSOR_MAX_DIM];
    if (axis < 0 || axis >= x->ndim) op_die(c, "no such axis");
    if (c->i[1] < 0 || c->i[2] < 1 || c->i[1] + c->i[2] > x->dim[axis])
        op_die(c, "the stretch leaves the axis");
    memcpy(dim, x->dim, sizeof dim);
    dim[axis] = c->i[2];
    op_out(c, 0, x->dtype, x->ndim, dim);
}

/* Row r of y lies in x at r * row + at; `each` elements. */
typedef struct Rows {
    int64_t rows, row, each, at;
} Rows;

static Rows rows_of(const OpCall *c) {
    const Tensor *x = c->in[0];
    int64_t inner = 1;
    for (int k = (int)c->i[0] + 1; k < x->ndim; k++) inner *= x->dim[k];
    Rows r = {.row = x->dim[c->i[0]] * inner, .each = c->i[2] * inner, .at = c->i[1] * inner};
    r.rows = tensor_count(x) / r.row;
    return r;
}

static void forward_ref(OpCall *c) {
    Rows w = rows_of(c);
    size_t size = dtype_size(c->in[0]->dtype), each = (size_t)w.each * size, row = (size_t)w.row * size;
    const uint8_t *from = (const uint8_t *)c->in[0]->data + (size_t)w.at * size;
    uint8_t *to = c->out[0]->data;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < w.rows; r++) memcpy(to + (size_t)r * each, from + (size_t)r * row, each);
}

static void backward_ref(OpCall *c) {
    const Tensor *dy = c->out[0]->grad;
    Tensor *dx = op_grad(c, 0, NULL);
    Rows w = rows_of(c);
    if (!dx) return;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < w.rows; r++)
        for (int64_t j = 0; j < w.each; j++)
            tensor_add(dx, r * w.row + w.at + j, tensor_at(dy, r * w.each + j));
}

static const Probe probes[] = {
    {.about = "without the first token", .in = {{3, {2, 5, 4}}}, .i = {1, 1, 4}},
    {.about = "columns", .in = {{2, {3, 7}}}, .i = {1, 2, 3}},
    {.about = "one of the batch", .in = {{3, {4, 2, 3}}}, .i = {0, 3, 1}},
    {.about = "all", .in = {{2, {3, 4}}}, .i = {1, 0, 4}},
};

const Op slice_row = {
    .name = "slice",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(slice_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_ref), ON_CUDA(slice_backward_cuda)},
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_slice(Step *s, Tensor *x, int axis, int64_t start, int64_t length) {
    return op_run(s, &slice_row, &(OpCall){.in = {x}, .i = {axis, start, length}});
}
