/* fourier: the positional encoding of points by random Fourier features (Tancik et al. 2020), as SAM has it.
 * xyw (.., 3) f32: column and row as shares of the picture, 0 .. 1, and a weight
 * g (2, F) f32  ->  y (.., 2F) f32:
 *   y = w [sin t, cos t],  t_f = 2 pi ((2x - 1) g[0, f] + (2y - 1) g[1, f]).
 * The weight is 0 for a place of the list that holds no point. Whole turns are taken off in double before the
 * sine, so that wide frequencies cost no digits. No derivative. */
#include "core/ops.h"

#include <math.h>

static const double TURN = 6.283185307179586;

static void shape(OpCall *c) {
    const Tensor *x = c->in[0], *g = c->in[1];
    if (x->ndim < 1 || tensor_last(x) != 3 || x->dtype != DT_F32) op_die(c, "f32 points (.., 3) are wanted");
    if (g->ndim != 2 || g->dim[0] != 2 || g->dtype != DT_F32) op_die(c, "f32 frequencies (2, F) are wanted");
    int64_t dim[TENSOR_MAX_DIM];
    for (int k = 0; k < x->ndim; k++) dim[k] = x->dim[k];
    dim[x->ndim - 1] = 2 * g->dim[1];
    op_out(c, 0, DT_F32, x->ndim, dim);
}

static void forward_ref(OpCall *c) {
    const real *xyw = tensor_real(c->in[0]), *g = tensor_real(c->in[1]);
    int64_t points = tensor_rows(c->in[0]), f = c->in[1]->dim[1];
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t p = 0; p < points; p++)
        for (int64_t j = 0; j < f; j++) {
            const real *at = xyw + 3 * p;
            double turns =
                (2 * (double)at[0] - 1) * (double)g[j] + (2 * (double)at[1] - 1) * (double)g[f + j];
            double t = TURN * (turns - rint(turns));
            real *y = tensor_real(c->out[0]) + p * 2 * f + j;
            y[0] = at[2] * (real)sin(t);
            y[f] = at[2] * (real)cos(t);
        }
}

static const Probe probes[] = {
    {.about = "points", .in = {{3, {2, 5, 3}, 0, 1}, {2, {2, 16}, -3, 3}}},
    {.about = "one point, one frequency", .in = {{1, {3}, -1, 2}, {2, {2, 1}, -20, 20}}},
};

const Op fourier_row = {
    .name = "fourier",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(fourier_forward_cuda)},
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_fourier(Step *s, Tensor *xyw, Tensor *g) {
    return op_run(s, &fourier_row, &(OpCall){.in = {xyw, g}});
}
