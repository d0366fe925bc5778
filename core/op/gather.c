/* gather: y[b, t] = x[b, index[b, t]], or fill where the index is -1.
 * x (B or 1, N, D)  index (B, T) i32 in -1 .. N-1  fill (D values) or absent  ->  y (B, T, D) like x.
 * MAE takes visible patches, puts the class token in front (index -1, fill = cls_token), and restores the
 * order with mask tokens with this one op. x with a leading 1 is shared by the batch (position tables).
 * dx[b, n] = sum of dy[b, t] with index[b, t] = n,  dfill = sum of dy[b, t] with index -1.
 * An index out of range ends the program; on CUDA, where nobody looks, it counts as -1, or gives zeros where
 * there is no fill. Backward reads index. */
#include "core/op/simd.h"
#include "core/ops.h"

#include <string.h>

static void shape(OpCall *c) {
    const Tensor *x = c->in[0], *index = c->in[1], *fill = c->in[2];
    if (x->ndim != 3 || index->ndim != 2 || index->dtype != DT_I32)
        op_die(c, "x (B, N, D) and index (B, T) are wanted");
    if (x->dim[0] != 1 && x->dim[0] != index->dim[0]) op_die(c, "x and index differ in batch");
    if (fill && (tensor_count(fill) != x->dim[2] || fill->dtype != DT_F32))
        op_die(c, "fill must be f32 of width D");
    int64_t dim[3] = {index->dim[0], index->dim[1], x->dim[2]};
    op_out(c, 0, x->dtype, 3, dim);
}

static void forward_ref(OpCall *c) {
    const Tensor *x = c->in[0], *fill = c->in[2];
    int64_t batch = c->in[1]->dim[0], t_count = c->in[1]->dim[1], n = x->dim[1], d = x->dim[2];
    for (int64_t i = 0; i < batch * t_count; i++) {
        int32_t at = tensor_i32(c->in[1])[i];
        if (at >= n || at < (fill ? -1 : 0)) op_die(c, "index out of range");
    }
#pragma omp parallel for schedule(static)
    for (int64_t bt = 0; bt < batch * t_count; bt++) {
        int64_t from = tensor_i32(c->in[1])[bt], b = x->dim[0] == 1 ? 0 : bt / t_count;
        size_t each = dtype_size(x->dtype);
        if (from >= 0) {
            const uint8_t *row = (const uint8_t *)x->data + (size_t)((b * n + from) * d) * each;
            memcpy((uint8_t *)c->out[0]->data + (size_t)(bt * d) * each, row, (size_t)d * each);
        } else {
            for (int64_t j = 0; j < d; j++) tensor_put(c->out[0], bt * d + j, tensor_at(fill, j));
        }
    }
}

/* One thread a sample: an index that comes twice is summed in order. The fill is summed over samples by one.
 */
static void backward_ref(OpCall *c) {
    const Tensor *dy = c->out[0]->grad;
    Tensor *dx = op_grad(c, 0, NULL), *dfill = op_grad(c, 2, NULL);
    int64_t batch = c->in[1]->dim[0], t_count = c->in[1]->dim[1], n = c->in[0]->dim[1], d = c->in[0]->dim[2];
    bool shared = c->in[0]->dim[0] == 1;
#pragma omp parallel for schedule(static) if (!shared)
    for (int64_t b = 0; b < batch; b++)
        for (int64_t t = 0; t < t_count && dx; t++) {
            int64_t from = tensor_i32(c->in[1])[b * t_count + t];
            if (from < 0) continue;
            int64_t to = ((shared ? 0 : b) * n + from) * d, at = (b * t_count + t) * d;
            for (int64_t j = 0; j < d; j++) tensor_add(dx, to + j, tensor_at(dy, at + j));
        }
    if (!dfill) return;
#pragma omp parallel for schedule(static)
    for (int64_t part = 0; part < 16; part++)
        for (int64_t bt = 0; bt < batch * t_count; bt++) {
            if (tensor_i32(c->in[1])[bt] >= 0) continue;
            for (int64_t j = d * part / 16; j < d * (part + 1) / 16; j++)
                tensor_real(dfill)[j] += tensor_at(dy, bt * d + j);
        }
}

static const Probe probes[] = {
    {.about = "take", .in = {{3, {2, 5, 3}}, {2, {2, 4}, .below = 5}}},
    {.about = "take and fill",
     .in = {{3, {2, 4, 18}}, {2, {2, 6}, .below = 4, .least = -1}, {3, {1, 1, 18}}}},
    {.about = "from a shared table", .in = {{3, {1, 6, 4}}, {2, {3, 5}, .below = 6}}},
};

const Op gather_row = {
    .name = "gather",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(gather_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_ref), ON_CUDA(gather_backward_cuda)},
    .needs = NEED_IN(1),
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_gather(Step *s, Tensor *x, Tensor *index, Tensor *fill) {
    return op_run(s, &gather_row, &(OpCall){.in = {x, index, fill}});
}
