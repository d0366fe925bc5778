/* permute: the axes in another order.
 * x (any)  ->  y with y.dim[k] = x.dim[i[k]], y[j_0, j_1, ..] = x where axis i[k] stands at j_k; like x.
 * dx = dy with the axes put back.   Backward reads nothing. */
#include "core/ops.h"

static void shape(OpCall *c) {
    const Tensor *x = c->in[0];
    int64_t dim[TENSOR_MAX_DIM];
    unsigned seen = 0;
    if (x->ndim < 1 || (x->dtype != DT_F32 && x->dtype != DT_BF16)) op_die(c, "f32 or bf16 is wanted");
    for (int k = 0; k < x->ndim; k++) {
        if (c->i[k] < 0 || c->i[k] >= x->ndim) op_die(c, "no such axis");
        seen |= 1u << c->i[k];
        dim[k] = x->dim[c->i[k]];
    }
    if (seen != (1u << x->ndim) - 1) op_die(c, "an axis comes twice");
    op_out(c, 0, x->dtype, x->ndim, dim);
}

/* step[k]: how far x moves when index k of y grows by one. Returns that of the last axis. */
static int64_t steps_of(const OpCall *c, int64_t step[TENSOR_MAX_DIM]) {
    const Tensor *x = c->in[0];
    int64_t stride = 1;
    for (int k = 0; k < x->ndim; k++) {
        stride = 1;
        for (int a = (int)c->i[k] + 1; a < x->ndim; a++) stride *= x->dim[a];
        step[k] = stride;
    }
    return stride;
}

/* Where row r of y (all its last axis) begins in x. */
static int64_t row_begin(const Tensor *y, const int64_t step[TENSOR_MAX_DIM], int64_t r) {
    int64_t at = 0;
    for (int k = y->ndim - 2; k >= 0; k--) {
        at += r % y->dim[k] * step[k];
        r /= y->dim[k];
    }
    return at;
}

static void forward_ref(OpCall *c) {
    const Tensor *x = c->in[0], *y = c->out[0];
    int64_t step[TENSOR_MAX_DIM], rows = tensor_rows(y), n = tensor_last(y);
    int64_t stride = steps_of(c, step);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        int64_t at = row_begin(y, step, r);
        for (int64_t j = 0; j < n; j++) tensor_put(y, r * n + j, tensor_at(x, at + j * stride));
    }
}

static void backward_ref(OpCall *c) {
    const Tensor *y = c->out[0], *dy = y->grad;
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    int64_t step[TENSOR_MAX_DIM], rows = tensor_rows(y), n = tensor_last(y);
    int64_t stride = steps_of(c, step);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        int64_t at = row_begin(y, step, r);
        for (int64_t j = 0; j < n; j++) {
            real g = tensor_at(dy, r * n + j);
            tensor_put(dx, at + j * stride, fresh ? g : tensor_at(dx, at + j * stride) + g);
        }
    }
}

static const Probe probes[] = {
    {.about = "transpose", .in = {{2, {3, 5}}}, .i = {1, 0}},
    {.about = "channels last", .in = {{4, {2, 3, 4, 5}}}, .i = {0, 2, 3, 1}},
    {.about = "six axes", .in = {{6, {2, 1, 3, 2, 2, 3}}}, .i = {5, 0, 3, 1, 4, 2}},
    {.about = "as it was", .in = {{3, {2, 3, 4}}}, .i = {0, 1, 2}},
};

const Op permute_row = {
    .name = "permute",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(permute_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_ref), ON_CUDA(permute_backward_cuda)},
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_permute(Step *s, Tensor *x, const int *axis) {
    OpCall c = {.in = {x}};
    for (int k = 0; k < x->ndim; k++) c.i[k] = axis[k];
    return op_run(s, &permute_row, &c);
}
