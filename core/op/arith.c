/* arith: y = a - b, a b or a / b, b repeated over leading axes of a.
 * a (.., S)  b (S), or (1, .., S)  ->  y like a; f32 unless both are bf16.   i[0] = which.
 * -: da = dy, db = -dy;   *: da = dy b, db = dy a;   /: da = dy / b, db = -dy a / b^2;  db summed over the
 * repeats.   Backward reads a and b.   For a + b see add. */
#include "core/ops.h"

enum { STRIP = 256 }; /* elements of b that one thread takes through all repeats */

static void shape(OpCall *c) {
    const Tensor *a = c->in[0], *b = c->in[1];
    int skip = 0; /* b's leading axes of length 1 */
    while (skip < b->ndim && b->dim[skip] == 1) skip++;
    for (int k = b->ndim - 1, j = a->ndim - 1; k >= skip; k--, j--)
        if (j < 0 || a->dim[j] != b->dim[k]) op_die(c, "b must repeat over leading axes of a");
    op_out(c, 0, a->dtype == DT_BF16 && b->dtype == DT_BF16 ? DT_BF16 : DT_F32, a->ndim, a->dim);
}

static real value(real a, real b, int64_t kind) {
    return kind == ARITH_SUB ? a - b : kind == ARITH_MUL ? a * b : a / b;
}

static void forward_ref(OpCall *c) {
    const Tensor *a = c->in[0], *b = c->in[1], *y = c->out[0];
    int64_t m = tensor_count(b), repeats = tensor_count(a) / m;
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t r = 0; r < repeats; r++)
        for (int64_t j = 0; j < m; j++)
            tensor_put(y, r * m + j, value(tensor_at(a, r * m + j), tensor_at(b, j), c->i[0]));
}

static void backward_ref(OpCall *c) {
    const Tensor *a = c->in[0], *b = c->in[1], *dy = c->out[0]->grad;
    Tensor *da = op_grad(c, 0, NULL), *db = op_grad(c, 1, NULL);
    int64_t m = tensor_count(b), repeats = tensor_count(a) / m, kind = c->i[0];
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < m; first += STRIP) {
        real sum[STRIP] = {0};
        int64_t n = m - first < STRIP ? m - first : STRIP;
        for (int64_t r = 0; r < repeats; r++)
            for (int64_t j = 0; j < n; j++) {
                int64_t at = r * m + first + j;
                real g = tensor_at(dy, at), x = tensor_at(a, at), z = tensor_at(b, first + j);
                if (da) tensor_add(da, at, kind == ARITH_SUB ? g : kind == ARITH_MUL ? g * z : g / z);
                sum[j] += kind == ARITH_SUB ? -g : kind == ARITH_MUL ? g * x : -g * x / (z * z);
            }
        for (int64_t j = 0; db && j < n; j++) tensor_add(db, first + j, sum[j]);
    }
}

static const Probe probes[] = {
    {.about = "product", .in = {{3, {2, 3, 4}}, {3, {2, 3, 4}}}, .i = {ARITH_MUL}},
    {.about = "product with a repeated table", .in = {{3, {3, 5, 70}}, {3, {1, 5, 70}}}, .i = {ARITH_MUL}},
    {.about = "product with one number", .in = {{2, {4, 3}}, {1, {1}}}, .i = {ARITH_MUL}},
    {.about = "difference", .in = {{2, {4, 6}}, {1, {6}}}, .i = {ARITH_SUB}},
    {.about = "quotient", .in = {{2, {4, 6}}, {1, {6}, 0.5, 2}}, .i = {ARITH_DIV}},
    {.about = "constant divisor",
     .in = {{2, {4, 6}}, {2, {4, 6}, 0.5, 2, .constant = true}},
     .i = {ARITH_DIV}},
};

const Op arith_row = {
    .name = "arith",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(arith_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_ref), ON_CUDA(arith_backward_cuda)},
    .needs = NEED_IN(0) | NEED_IN(1),
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_arith(Step *s, Tensor *a, Tensor *b, ArithKind kind) {
    return op_run(s, &arith_row, &(OpCall){.in = {a, b}, .i = {kind}});
}
