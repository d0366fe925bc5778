/* add: y = a + b, b repeated over leading axes of a.
 * a (.., S)  b (S), or (1, .., S)  ->  y like a; f32 unless both are bf16.
 * da = dy,  db = dy summed over the repeats.  Backward reads nothing. */
#include "core/op/simd.h"
#include "core/ops.h"

static void shape(OpCall *c) {
    const Tensor *a = c->in[0], *b = c->in[1];
    int skip = 0; /* b's leading axes of length 1 */
    while (skip < b->ndim && b->dim[skip] == 1) skip++;
    for (int k = b->ndim - 1, j = a->ndim - 1; k >= skip; k--, j--)
        if (j < 0 || a->dim[j] != b->dim[k]) op_die(c, "b must repeat over leading axes of a");
    op_out(c, 0, a->dtype == DT_BF16 && b->dtype == DT_BF16 ? DT_BF16 : DT_F32, a->ndim, a->dim);
}

static void forward_ref(OpCall *c) {
    int64_t n = tensor_count(c->in[0]), m = tensor_count(c->in[1]);
    for (int64_t i = 0; i < n; i++)
        tensor_put(c->out[0], i, tensor_at(c->in[0], i) + tensor_at(c->in[1], i % m));
}

/* b first: a may take over the gradient's memory and is free to be added into from then on. */
static void backward_ref(OpCall *c) {
    Tensor *dy = c->out[0]->grad, *db = op_grad(c, 1, NULL);
    int64_t n = tensor_count(dy), m = tensor_count(c->in[1]);
    for (int64_t i = 0; db && i < n; i++) tensor_add(db, i % m, tensor_at(dy, i));
    op_grad_pass(c, 0, dy);
}

#ifndef LETHE_DOUBLE
enum { STRIP = 1024 };

static void forward_cpu(OpCall *c) {
    const Tensor *a = c->in[0], *b = c->in[1];
    int64_t m = tensor_count(b), repeats = tensor_count(a) / m, strips = (m + STRIP - 1) / STRIP;
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t r = 0; r < repeats; r++)
        for (int64_t p = 0; p < strips; p++) {
            float room_a[STRIP], room_b[STRIP], sum[STRIP];
            int64_t at = p * STRIP, n = m - at < STRIP ? m - at : STRIP;
            const float *x = tensor_strip(a, r * m + at, n, room_a), *y = tensor_strip(b, at, n, room_b);
#pragma omp simd
            for (int64_t i = 0; i < n; i++) sum[i] = x[i] + y[i];
            tensor_strip_put(c->out[0], r * m + at, n, sum);
        }
}

static void backward_cpu(OpCall *c) {
    Tensor *dy = c->out[0]->grad;
    int64_t m = tensor_count(c->in[1]), repeats = tensor_count(dy) / m;
    if (repeats == 1) {
        bool fresh;
        Tensor *db = op_grad(c, 1, &fresh);
        if (db) tensor_accumulate(db, dy, fresh);
    } else {
        Tensor *db = op_grad(c, 1, NULL);
        if (db && db->dtype == DT_F32)
            columns_add(c, dy, repeats, m, tensor_real(db));
        else if (db)
            op_die(c, "a repeated b must be f32");
    }
    op_grad_pass(c, 0, dy);
}
#endif

static const Probe probes[] = {
    {.about = "same shape", .in = {{3, {2, 3, 4}}, {3, {2, 3, 4}}}},
    {.about = "positions over a batch", .in = {{3, {3, 4, 5}}, {3, {1, 4, 5}, .constant = false}}},
    {.about = "a row", .in = {{2, {7, 6}}, {1, {6}}}},
};

const Op add_row = {
    .name = "add",
    .passes = NEED_IN(0),
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_cpu), ON_CUDA(add_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_cpu), ON_CUDA(add_backward_cuda)},
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_add(Step *s, Tensor *a, Tensor *b) {
    return op_run(s, &add_row, &(OpCall){.in = {a, b}});
}

Tensor *f32_of(Step *s, Tensor *x) {
    return op_add(s, x, step_zeros(s, DT_F32, 1, (int64_t[]){1})); /* a sum of two types is f32 */
}
