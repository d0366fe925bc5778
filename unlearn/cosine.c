#include "unlearn/cosine.h"

#include "core/ops.h"
#include "unlearn/vector.h"

static const double LEAST = 1e-16; /* added to squared lengths */

/* 1 / |x|: [B] */
static Tensor *inverse_length(Step *s, Tensor *x) {
    Tensor *square = op_reduce(s, op_arith(s, x, x, ARITH_MUL), 1, 1, REDUCE_SUM);
    return op_pointwise(s, op_scale(s, op_pointwise(s, op_scale(s, square, 1, LEAST), POINT_LOG), -0.5, 0),
                        POINT_EXP);
}

Tensor *cosine_of(Step *s, Tensor *x, Tensor *to) {
    x = f32_of(s, x);
    bool was = step_no_grad(s);
    Tensor *other = inverse_length(s, to);
    step_grad_on(s, was);
    Tensor *dot = op_reduce(s, op_arith(s, x, to, ARITH_MUL), 1, 1, REDUCE_SUM);
    return op_arith(s, op_arith(s, dot, inverse_length(s, x), ARITH_MUL), other, ARITH_MUL);
}

void cosine_unit(real *x, int64_t n, int64_t d) {
    for (int64_t i = 0; i < n; i++) {
        double length = vector_norm(x + i * d, d);
        if (length > 0) vector_scale(x + i * d, 1 / length, d);
    }
}
