/* mask_overlap: intersection over union of a predicted mask with the true one, row by row.
 * x (N, ..): logits, inside where x > 0  target like x, f32, inside where target > 1/2  ->  y (N) f32:
 *   y = |both inside| / |either inside|, and 1 where both are empty.
 * No derivative. */
#include "core/ops.h"

static void shape(OpCall *c) {
    const Tensor *x = c->in[0], *t = c->in[1];
    if (x->ndim < 1 || !tensor_same_shape(x, t) || t->dtype != DT_F32)
        op_die(c, "x and an f32 target of one shape are wanted");
    op_out(c, 0, DT_F32, 1, x->dim);
}

static void forward_ref(OpCall *c) {
    const Tensor *x = c->in[0], *t = c->in[1];
    int64_t rows = x->dim[0], n = rows ? tensor_count(x) / rows : 0;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        int64_t both = 0, either = 0;
        for (int64_t i = r * n; i < (r + 1) * n; i++) {
            bool a = tensor_at(x, i) > 0, b = tensor_real(t)[i] > (real)0.5;
            both += a && b;
            either += a || b;
        }
        tensor_real(c->out[0])[r] = either ? (real)both / (real)either : 1;
    }
}

static const Probe probes[] = {
    {.about = "rows", .in = {{2, {4, 30}}, {2, {4, 30}, 0, 1}}},
    {.about = "pictures", .in = {{3, {2, 5, 40}}, {3, {2, 5, 40}, 0, 1}}},
    {.about = "empty", .in = {{2, {3, 6}, -2, -1}, {2, {3, 6}, 0, 0.4}}},
};

const Op mask_overlap_row = {
    .name = "mask_overlap",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(mask_overlap_forward_cuda)},
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_mask_overlap(Step *s, Tensor *x, Tensor *target) {
    return op_run(s, &mask_overlap_row, &(OpCall){.in = {x, target}});
}
