/* click: the next click of a user who sees the mask and the truth, drawn (SAM's interactive training).
 * x (N, H, W): logits, inside where x > 0  target like x, f32, inside where target > 1/2
 * uniform (N) f32 in 0 .. 1  ->  point (N, 3) f32 = ((column + 1/2) / W, (row + 1/2) / H, 1), label (N) i32.
 * The pixel is number floor(uniform m) in row-major order of the m pixels where mask and target differ; where
 * none does, of those inside the target. label is 1 if the pixel is inside the target (it was missed), 0 if
 * not (a false alarm). Where the target is empty too: (1/2, 1/2, 1), label 0. No derivative. */
#include "core/ops.h"

static void shape(OpCall *c) {
    const Tensor *x = c->in[0], *t = c->in[1], *u = c->in[2];
    if (x->ndim != 3 || !tensor_same_shape(x, t) || t->dtype != DT_F32)
        op_die(c, "x (N, H, W) and an f32 target like it are wanted");
    if (tensor_count(u) != x->dim[0] || u->dtype != DT_F32) op_die(c, "one f32 draw a picture is wanted");
    int64_t dim[2] = {x->dim[0], 3};
    op_out(c, 0, DT_F32, 2, dim);
    op_out(c, 1, DT_I32, 1, dim);
}

static bool inside(const OpCall *c, int64_t i) {
    return tensor_real(c->in[1])[i] > (real)0.5;
}

static bool differs(const OpCall *c, int64_t i) {
    return (tensor_at(c->in[0], i) > 0) != inside(c, i);
}

/* Which pixel of picture r; -1: none. */
static int64_t pick(const OpCall *c, int64_t r, int64_t n) {
    int64_t wrong = 0, target = 0;
    for (int64_t i = r * n; i < (r + 1) * n; i++) {
        wrong += differs(c, i);
        target += inside(c, i);
    }
    int64_t count = wrong ? wrong : target,
            left = (int64_t)((double)tensor_real(c->in[2])[r] * (double)count);
    if (left > count - 1) left = count - 1;
    for (int64_t i = 0; i < n; i++)
        if ((wrong ? differs(c, r * n + i) : inside(c, r * n + i)) && left-- == 0) return i;
    return -1;
}

static void forward_ref(OpCall *c) {
    int64_t rows = c->in[0]->dim[0], high = c->in[0]->dim[1], wide = c->in[0]->dim[2];
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        int64_t i = pick(c, r, high * wide);
        real *point = tensor_real(c->out[0]) + 3 * r;
        point[0] = i < 0 ? (real)0.5 : ((real)(i % wide) + (real)0.5) / (real)wide;
        point[1] = i < 0 ? (real)0.5 : ((real)(i / wide) + (real)0.5) / (real)high;
        point[2] = 1;
        tensor_i32(c->out[1])[r] = i >= 0 && inside(c, r * high * wide + i);
    }
}

static const Probe probes[] = {
    {.about = "misses and false alarms", .in = {{3, {6, 5, 7}}, {3, {6, 5, 7}, 0, 1}, {1, {6}, 0, 1}}},
    {.about = "misses", .in = {{3, {3, 4, 9}, -2, -1}, {3, {3, 4, 9}, 0, 1}, {1, {3}, 0, 1}}},
    {.about = "all right", .in = {{3, {3, 4, 9}, 1, 2}, {3, {3, 4, 9}, 0.6, 1}, {1, {3}, 0, 1}}},
    {.about = "nothing there", .in = {{3, {2, 4, 9}, -2, -1}, {3, {2, 4, 9}, 0, 0.4}, {1, {2}, 0, 1}}},
};

const Op click_row = {
    .name = "click",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(click_forward_cuda)},
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_click(Step *s, Tensor *x, Tensor *target, Tensor *uniform, Tensor **label) {
    OpCall c = {.in = {x, target, uniform}};
    op_run(s, &click_row, &c);
    if (label) *label = c.out[1];
    return c.out[0];
}
