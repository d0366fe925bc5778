/* patchify: an image as rows of patches, in row-major order of the grid.
 * image (B, C, H, W), index (B, T) i32 or absent  ->  y (B, T or L, p p C) in the image's type, L =
 * (H/p)(W/p). i[0] = p, i[1] = order inside a patch: (channel, row, column), the layout of a convolution's
 * weight, so that patch embedding is this op and a linear; or (row, column, channel), MAE's target (He et al.
 * 2021, 3). With an index only those patches are written, in its order; one out of range ends the program, on
 * CUDA, where nobody looks, its patch is zeros.   dimage is the way back; reads index. */
#include "core/ops.h"

static void shape(OpCall *c) {
    const Tensor *x = c->in[0], *index = c->in[1];
    int64_t p = c->i[0];
    if (x->ndim != 4 || p < 1 || x->dim[2] % p || x->dim[3] % p)
        op_die(c, "image (B, C, H, W) with sides that patches divide is wanted");
    int64_t count = (x->dim[2] / p) * (x->dim[3] / p);
    if (index && (index->ndim != 2 || index->dim[0] != x->dim[0] || index->dtype != DT_I32))
        op_die(c, "index (B, T) i32 is wanted");
    int64_t dim[3] = {x->dim[0], index ? index->dim[1] : count, p * p * x->dim[1]};
    op_out(c, 0, x->dtype, 3, dim);
}

/* Walks one patch: for each of its elements f(place in the image, place in the patch). */
#define PATCH_WALK(body)                                                                                     \
    const Tensor *image = c->in[0], *index = c->in[1];                                                       \
    int64_t p = c->i[0], channels = image->dim[1], high = image->dim[2], wide = image->dim[3];               \
    int64_t each = p * p * channels, patches = c->out[0]->dim[1];                                            \
    for (int64_t t = 0; t < patches; t++) {                                                                  \
        int64_t at = index ? tensor_i32(index)[b * patches + t] : t;                                         \
        int64_t top = at / (wide / p) * p, left = at % (wide / p) * p, row0 = (b * patches + t) * each;      \
        for (int64_t ch = 0; ch < channels; ch++)                                                            \
            for (int64_t y = 0; y < p; y++)                                                                  \
                for (int64_t x = 0; x < p; x++) {                                                            \
                    int64_t pixel = ((b * channels + ch) * high + top + y) * wide + left + x;                \
                    int64_t place = row0 + (c->i[1] == PATCH_CHANNEL_FIRST ? (ch * p + y) * p + x            \
                                                                           : (y * p + x) * channels + ch);   \
                    body;                                                                                    \
                }                                                                                            \
    }

static void forward_ref(OpCall *c) {
    const Tensor *chosen = c->in[1];
    int64_t grid = tensor_count(c->in[0]) / (c->in[0]->dim[0] * c->out[0]->dim[2]);
    for (int64_t i = 0; chosen && i < tensor_count(chosen); i++)
        if (tensor_i32(chosen)[i] < 0 || tensor_i32(chosen)[i] >= grid) op_die(c, "index out of range");
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < c->in[0]->dim[0]; b++) {
        PATCH_WALK(tensor_put(c->out[0], place, tensor_at(image, pixel)))
    }
}

static void backward_ref(OpCall *c) {
    const Tensor *dy = c->out[0]->grad;
    Tensor *dx = op_grad(c, 0, NULL);
    if (!dx) return;
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < c->in[0]->dim[0]; b++) { PATCH_WALK(tensor_add(dx, pixel, tensor_at(dy, place))) }
}

static const Probe probes[] = {
    {.about = "channel first", .in = {{4, {2, 3, 4, 6}}}, .i = {2, PATCH_CHANNEL_FIRST}},
    {.about = "channel last", .in = {{4, {1, 3, 4, 4}}}, .i = {2, PATCH_CHANNEL_LAST}},
    {.about = "some", .in = {{4, {2, 2, 4, 4}}, {2, {2, 3}, .below = 4}}, .i = {2, PATCH_CHANNEL_FIRST}},
};

const Op patchify_row = {
    .name = "patchify",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(patchify_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_ref), ON_CUDA(patchify_backward_cuda)},
    .needs = NEED_IN(1),
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_patchify(Step *s, Tensor *image, Tensor *index, int patch, PatchOrder order) {
    return op_run(s, &patchify_row, &(OpCall){.in = {image, index}, .i = {patch, order}});
}
