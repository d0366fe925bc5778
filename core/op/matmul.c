/* matmul: one product a sample, y_n = a_n b_n (linear has one matrix for all).
 * a (N, M, K)  b (N, K, P)  ->  y (N, M, P) f32.   SAM's hypernetworks: a holds what tokens became, b the
 * picture. da = dy b^T,  db = a^T dy.   Backward reads a and b. */
#include "core/gemm.h"
#include "core/op/simd.h"
#include "core/ops.h"

static void shape(OpCall *c) {
    const Tensor *a = c->in[0], *b = c->in[1];
    if (a->ndim != 3 || b->ndim != 3 || a->dim[0] != b->dim[0] || a->dim[2] != b->dim[1])
        op_die(c, "a (N, M, K) and b (N, K, P) are wanted");
    int64_t dim[3] = {a->dim[0], a->dim[1], b->dim[2]};
    op_out(c, 0, DT_F32, 3, dim);
}

static double flops(const OpCall *c, bool backward) {
    double once = 2.0 * (double)tensor_count(c->in[0]) * (double)c->in[1]->dim[2];
    return backward ? once * (c->in[0]->needs_grad + c->in[1]->needs_grad) : once;
}

static void forward_ref(OpCall *c) {
    const Tensor *a = c->in[0], *b = c->in[1];
    int64_t m = a->dim[1], k = a->dim[2], p = b->dim[2];
    for (int64_t r = 0; r < a->dim[0] * m; r++)
        for (int64_t j = 0; j < p; j++) {
            real sum = 0;
            for (int64_t x = 0; x < k; x++)
                sum += tensor_at(a, r * k + x) * tensor_at(b, (r / m * k + x) * p + j);
            tensor_put(c->out[0], r * p + j, sum);
        }
}

static void backward_ref(OpCall *c) {
    const Tensor *a = c->in[0], *b = c->in[1], *dy = c->out[0]->grad;
    Tensor *da = op_grad(c, 0, NULL), *db = op_grad(c, 1, NULL);
    int64_t m = a->dim[1], k = a->dim[2], p = b->dim[2];
    for (int64_t r = 0; r < a->dim[0] * m; r++)
        for (int64_t x = 0; x < k; x++)
            for (int64_t j = 0; j < p; j++) {
                int64_t at = (r / m * k + x) * p + j;
                real g = tensor_at(dy, r * p + j);
                if (da) tensor_add(da, r * k + x, g * tensor_at(b, at));
                if (db) tensor_add(db, at, g * tensor_at(a, r * k + x));
            }
}

#ifndef LETHE_DOUBLE
/* Sample n of t as a matrix of its last two axes. */
static Mat sample(const Tensor *t, int64_t n) {
    Mat m = mat(t, t->dim[1], t->dim[2]);
    m.data = (char *)m.data + (size_t)(n * m.rows * m.cols) * dtype_size(t->dtype);
    return m;
}

static void forward_cpu(OpCall *c) {
    for (int64_t n = 0; n < c->in[0]->dim[0]; n++)
        gemm(c->step, c->step->compute, sample(c->in[0], n), sample(c->in[1], n), sample(c->out[0], n), NULL,
             false);
}

/* Input `k` gets left right, sample by sample: through f32 where its gradient is bf16 and holds something. */
static void product_add(OpCall *c, int k, Mat (*of)(const OpCall *, int64_t, bool)) {
    bool fresh;
    Tensor *d = op_grad(c, k, &fresh);
    if (!d) return;
    bool straight = fresh || d->dtype == DT_F32;
    Tensor *to = straight ? d : step_tensor(c->step, DT_F32, d->ndim, d->dim);
    for (int64_t n = 0; n < d->dim[0]; n++)
        gemm(c->step, c->step->compute, of(c, n, true), of(c, n, false), sample(to, n), NULL,
             straight && !fresh);
    if (straight) return;
    tensor_accumulate(d, to, false);
    step_block_free(c->step, to->data);
}

static Mat of_a(const OpCall *c, int64_t n, bool left) {
    return left ? sample(c->out[0]->grad, n) : mat_transposed(sample(c->in[1], n));
}

static Mat of_b(const OpCall *c, int64_t n, bool left) {
    return left ? mat_transposed(sample(c->in[0], n)) : sample(c->out[0]->grad, n);
}

static void backward_cpu(OpCall *c) {
    product_add(c, 0, of_a);
    product_add(c, 1, of_b);
}
#endif

static const Probe probes[] = {
    {.about = "one sample", .in = {{3, {1, 3, 5}}, {3, {1, 5, 7}}}},
    {.about = "masks of tokens", .in = {{3, {3, 4, 8}}, {3, {3, 8, 35}}}},
    {.about = "constant picture", .in = {{3, {2, 3, 4}}, {3, {2, 4, 6}, .constant = true}}},
};

const Op matmul_row = {
    .name = "matmul",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_cpu), ON_CUDA(matmul_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_cpu), ON_CUDA(matmul_backward_cuda)},
    .needs = NEED_IN(0) | NEED_IN(1),
    .flops = flops,
    .bf16 = true,
    .bf16_with = NEED_IN(1),
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_matmul(Step *s, Tensor *a, Tensor *b) {
    return op_run(s, &matmul_row, &(OpCall){.in = {a, b}});
}
