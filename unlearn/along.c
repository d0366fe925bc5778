#include "unlearn/along.h"

#include "core/ops.h"

#include <string.h>

Tensor *loss_along(Step *s, Tensor *x, const real *gradient, double value) {
    x = f32_of(s, x);
    Tensor *g = step_tensor(s, DT_F32, x->ndim, x->dim);
    memcpy(g->data, gradient, tensor_bytes(g));
    Tensor *sum = op_reduce(s, op_arith(s, x, g, ARITH_MUL), 0, x->ndim, REDUCE_SUM);
    return op_scale(s, sum, 1, value - (double)tensor_at(sum, 0));
}
