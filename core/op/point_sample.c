/* point_sample: a picture's values at points between its pixels.
 * x (N, C, H, W)  xy (N, P, 2) f32: column and row as shares of the picture, 0 .. 1  ->  y (N, C, P) f32:
 *   y[n, c, p] = sum over pixels (r, k) of t(v - r) t(u - k) x[n, c, r, k],  t(d) = max(0, 1 - |d|),
 *   u = xy[n, p, 0] W - 1/2,  v = xy[n, p, 1] H - 1/2.
 * So bilinear between the four pixels around a point, and what lies outside the picture counts as 0: torch's
 * grid_sample (align_corners=False, zeros) at 2 xy - 1, the point sampling of PointRend (Kirillov et al.
 * 2020).  dx[n, c, r, k] = sum over p of t t dy[n, c, p]; xy has no derivative.  Backward reads xy. */
#include "core/ops.h"

#include <math.h>
#include <omp.h>
#include <string.h>

static void shape(OpCall *c) {
    const Tensor *x = c->in[0], *xy = c->in[1];
    if (x->ndim != 4) op_die(c, "x (N, C, H, W) is wanted");
    if (xy->ndim != 3 || xy->dim[0] != x->dim[0] || xy->dim[2] != 2 || xy->dtype != DT_F32)
        op_die(c, "f32 points (N, P, 2) are wanted");
    int64_t dim[3] = {x->dim[0], x->dim[1], xy->dim[1]};
    op_out(c, 0, DT_F32, 3, dim);
}

/* The pixels that a point touches, inside the picture: rows row .. past_row - 1, columns likewise. */
typedef struct Spot {
    real u, v;
    int64_t row, past_row, col, past_col;
} Spot;

static void stretch_of(real at, int64_t size, int64_t *first, int64_t *past) {
    *first = *past = 0;
    if (!(at > -1 && at < (real)size)) return; /* beyond the picture, or NaN */
    int64_t low = (int64_t)floor((double)at);
    *first = low < 0 ? 0 : low;
    *past = low + 2 > size ? size : low + 2;
}

static Spot spot_of(const OpCall *c, int64_t n, int64_t p) {
    const Tensor *x = c->in[0];
    const real *at = tensor_real(c->in[1]) + 2 * (n * c->in[1]->dim[1] + p);
    Spot s = {.u = at[0] * (real)x->dim[3] - (real)0.5, .v = at[1] * (real)x->dim[2] - (real)0.5};
    stretch_of(s.v, x->dim[2], &s.row, &s.past_row);
    stretch_of(s.u, x->dim[3], &s.col, &s.past_col);
    return s;
}

static real weight_of(const Spot *s, int64_t r, int64_t k) {
    real down = s->v - (real)r, across = s->u - (real)k;
    return (1 - (down < 0 ? -down : down)) * (1 - (across < 0 ? -across : across));
}

static void forward_ref(OpCall *c) {
    const Tensor *x = c->in[0];
    int64_t channels = x->dim[1], wide = x->dim[3], each = x->dim[2] * wide, points = c->in[1]->dim[1];
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t nc = 0; nc < x->dim[0] * channels; nc++)
        for (int64_t p = 0; p < points; p++) {
            Spot s = spot_of(c, nc / channels, p);
            real sum = 0;
            for (int64_t r = s.row; r < s.past_row; r++)
                for (int64_t k = s.col; k < s.past_col; k++)
                    sum += weight_of(&s, r, k) * tensor_at(x, nc * each + r * wide + k);
            tensor_real(c->out[0])[nc * points + p] = sum;
        }
}

/* A thread a plane, which takes the points in order and sums in f32 whatever x is stored as. */
static void backward_ref(OpCall *c) {
    const real *dy = tensor_real(c->out[0]->grad);
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    int64_t channels = dx->dim[1], wide = dx->dim[3], each = dx->dim[2] * wide, points = c->in[1]->dim[1];
    real *rooms = op_scratch(c, (size_t)omp_get_max_threads() * (size_t)each * sizeof *rooms);
#pragma omp parallel for schedule(static)
    for (int64_t nc = 0; nc < dx->dim[0] * channels; nc++) {
        real *room = rooms + omp_get_thread_num() * each;
        memset(room, 0, (size_t)each * sizeof *room);
        for (int64_t p = 0; p < points; p++) {
            Spot s = spot_of(c, nc / channels, p);
            for (int64_t r = s.row; r < s.past_row; r++)
                for (int64_t k = s.col; k < s.past_col; k++)
                    room[r * wide + k] += weight_of(&s, r, k) * dy[nc * points + p];
        }
        for (int64_t i = 0; i < each; i++)
            tensor_put(dx, nc * each + i, fresh ? room[i] : tensor_at(dx, nc * each + i) + room[i]);
    }
    op_scratch_free(c, rooms);
}

static const Probe probes[] = {
    {.about = "inside", .in = {{4, {2, 3, 5, 7}}, {3, {2, 9, 2}, 0.2, 0.8, .constant = true}}},
    {.about = "over the border", .in = {{4, {2, 1, 4, 3}}, {3, {2, 40, 2}, -0.4, 1.4, .constant = true}}},
    {.about = "many on few pixels", .in = {{4, {3, 2, 2, 1}}, {3, {3, 50, 2}, 0, 1, .constant = true}}},
};

const Op point_sample_row = {
    .name = "point_sample",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(point_sample_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_ref), ON_CUDA(point_sample_backward_cuda)},
    .needs = NEED_IN(1),
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_point_sample(Step *s, Tensor *x, Tensor *xy) {
    return op_run(s, &point_sample_row, &(OpCall){.in = {x, xy}});
}
