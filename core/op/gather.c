/* gather: y[b, t] = x[b, index[b, t]], or fill where the index is -1.
 * x (B or 1, N, D)  index (B, T) i32 in -1 .. N-1  fill (D values) or absent: 0  ->  y (B, T, D) like x.
 * MAE takes visible patches, puts the class token in front (index -1, fill = cls_token), and restores the
 * order with mask tokens with this one op; windows of a padded picture take zeros where the padding is. x
 * with a leading 1 is shared by the batch (position tables, one picture for many prompts).
 *   dx[b, n] = sum of dy[b, t] with index[b, t] = n,  dfill = sum of dy[b, t] with index -1.
 * An index out of range ends the program; on CUDA, where nobody looks, it counts as -1.
 * Backward reads index. */
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
        if (at >= n || at < -1) op_die(c, "index out of range");
    }
#pragma omp parallel for schedule(static)
    for (int64_t bt = 0; bt < batch * t_count; bt++) {
        int64_t from = tensor_i32(c->in[1])[bt], b = x->dim[0] == 1 ? 0 : bt / t_count;
        size_t each = dtype_size(x->dtype);
        if (from >= 0) {
            const uint8_t *row = (const uint8_t *)x->data + (size_t)((b * n + from) * d) * each;
            memcpy((uint8_t *)c->out[0]->data + (size_t)(bt * d) * each, row, (size_t)d * each);
        } else if (!fill) {
            memset((uint8_t *)c->out[0]->data + (size_t)(bt * d) * each, 0, (size_t)d * each);
        } else {
            for (int64_t j = 0; j < d; j++) tensor_put(c->out[0], bt * d + j, tensor_at(fill, j));
        }
    }
}

static void fill_backward(OpCall *c) {
    const Tensor *dy = c->out[0]->grad;
    Tensor *dfill = op_grad(c, 2, NULL);
    int64_t places = tensor_count(c->in[1]), d = c->in[0]->dim[2];
    if (!dfill) return;
#pragma omp parallel for schedule(static)
    for (int64_t part = 0; part < 16; part++)
        for (int64_t bt = 0; bt < places; bt++) {
            if (tensor_i32(c->in[1])[bt] >= 0) continue;
            for (int64_t j = d * part / 16; j < d * (part + 1) / 16; j++)
                tensor_real(dfill)[j] += tensor_at(dy, bt * d + j);
        }
}

/* Which row of x, counted through all samples, place bt of y takes; -1: none. */
static int64_t row_of(const OpCall *c, int64_t bt) {
    int64_t from = tensor_i32(c->in[1])[bt], b = c->in[0]->dim[0] == 1 ? 0 : bt / c->in[1]->dim[1];
    return from < 0 ? -1 : b * c->in[0]->dim[1] + from;
}

static void backward_ref(OpCall *c) {
    const Tensor *dy = c->out[0]->grad;
    Tensor *dx = op_grad(c, 0, NULL);
    int64_t d = c->in[0]->dim[2];
    fill_backward(c);
    for (int64_t bt = 0; bt < tensor_count(c->in[1]) && dx; bt++) {
        int64_t row = row_of(c, bt);
        for (int64_t j = 0; j < d && row >= 0; j++) tensor_add(dx, row * d + j, tensor_at(dy, bt * d + j));
    }
}

/* ---- CPU: the places sorted by the row they take, then each row is summed once ---- */

#ifndef LETHE_DOUBLE
enum { STRIP = 1024 }; /* of a row, for one thread */

/* first[r] .. first[r + 1] - 1: where in `place` those of row r stand, in order. first has rows + 2 numbers.
 */
static void places_sort(const OpCall *c, int64_t rows, int64_t *first, int64_t *place) {
    int64_t places = tensor_count(c->in[1]);
    memset(first, 0, (size_t)(rows + 2) * sizeof *first);
    for (int64_t bt = 0; bt < places; bt++)
        if (row_of(c, bt) >= 0) first[row_of(c, bt) + 2]++;
    for (int64_t r = 1; r < rows + 2; r++) first[r] += first[r - 1];
    for (int64_t bt = 0; bt < places; bt++)
        if (row_of(c, bt) >= 0) place[first[row_of(c, bt) + 1]++] = bt;
}

/* n elements of a row of dx, from `at` on: the sum of those of `count` places, which lie `skip` into dy. */
static void strip_backward(const Tensor *dx, const Tensor *dy, const int64_t *place, int64_t count,
                           int64_t at, int64_t skip, int64_t n, bool fresh) {
    float sum[STRIP] = {0}, room[STRIP];
    if (!fresh) memcpy(sum, tensor_strip(dx, at, n, room), (size_t)n * sizeof *sum);
    for (int64_t k = 0; k < count; k++) {
        const float *from = tensor_strip(dy, place[k] * tensor_last(dy) + skip, n, room);
        for (int64_t j = 0; j < n; j++) sum[j] += from[j];
    }
    tensor_strip_put(dx, at, n, sum);
}

static void backward_cpu(OpCall *c) {
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    fill_backward(c);
    if (!dx) return;
    int64_t rows = tensor_rows(dx), d = tensor_last(dx), strips = (d + STRIP - 1) / STRIP;
    int64_t *first = op_scratch(c, (size_t)(rows + 2) * sizeof *first);
    int64_t *place = op_scratch(c, (size_t)tensor_count(c->in[1]) * sizeof *place);
    places_sort(c, rows, first, place);
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t s = 0; s < strips; s++) {
            int64_t count = first[r + 1] - first[r], skip = s * STRIP;
            int64_t n = skip + STRIP < d ? STRIP : d - skip;
            if (count || fresh)
                strip_backward(dx, c->out[0]->grad, place + first[r], count, r * d + skip, skip, n, fresh);
        }
    op_scratch_free(c, place);
    op_scratch_free(c, first);
}
#endif

/* ---- the row ---- */

static const Probe probes[] = {
    {.about = "take", .in = {{3, {2, 5, 3}}, {2, {2, 4}, .below = 5}}},
    {.about = "take and fill",
     .in = {{3, {2, 4, 18}}, {2, {2, 6}, .below = 4, .least = -1}, {3, {1, 1, 18}}}},
    {.about = "take and zeros", .in = {{3, {2, 4, 16}}, {2, {2, 9}, .below = 4, .least = -1}}},
    {.about = "wide rows, again and again", .in = {{3, {1, 3, 1300}}, {2, {1, 11}, .below = 3, .least = -1}}},
    {.about = "from a shared table", .in = {{3, {1, 6, 4}}, {2, {3, 5}, .below = 6}}},
};

const Op gather_row = {
    .name = "gather",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(gather_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_cpu), ON_CUDA(gather_backward_cuda)},
    .needs = NEED_IN(1),
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_gather(Step *s, Tensor *x, Tensor *index, Tensor *fill) {
    return op_run(s, &gather_row, &(OpCall){.in = {x, index, fill}});
}
