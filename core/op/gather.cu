/* gather on CUDA: a warp a piece of a row. Backward looks for each row of x through the indices of its
 * sample, in order; the samples that share a table are cut into fixed stretches, summed by themselves and
 * then in order. */
#include "core/op/rows.cuh"
#include "core/ops.h"

enum { THREADS = 256, STRETCHES = 16, LANE = 32, PIECE = 32 * LANE }; /* LANE: a lane's elements of a piece */

static int64_t pieces_of(int64_t d) {
    return (d + PIECE - 1) / PIECE;
}

__device__ static bool is_row(int32_t at, int64_t n) {
    return at >= 0 && at < n;
}

template <int W, class T>
__global__ static void forward(Width<W>, const T *x, const int32_t *index, const float *fill, T *y,
                               int64_t rows, int64_t t_count, int64_t n, int64_t d, int64_t pieces,
                               bool shared) {
    FOR_WARPS(i, rows * pieces) {
        int64_t bt = quotient(i, pieces), first = (i - bt * pieces) * PIECE;
        int64_t b = shared ? 0 : quotient(bt, t_count), past = first + PIECE < d ? first + PIECE : d;
        int32_t at = index[bt];
        for (int64_t j = first + threadIdx.x % 32 * W; j < past; j += 32 * W) {
            float v[W] = {};
            if (is_row(at, n))
                run_load(x + (b * n + at) * d + j, v);
            else if (fill)
                run_load(fill + j, v);
            run_store(y + bt * d + j, v);
        }
    }
}

extern "C" void gather_forward_cuda(OpCall *c) {
    const Tensor *x = c->in[0], *index = c->in[1], *fill = c->in[2], *y = c->out[0];
    int64_t d = x->dim[2], rows = tensor_count(index);
    with_data(x, [&](auto *from) {
        with_width(wide(d, x, fill, y), [&](auto w) {
            LAUNCH(forward, cuda_warps(rows * pieces_of(d), THREADS), THREADS, w, from, tensor_i32(index),
                   fill ? tensor_real(fill) : nullptr, (decltype(from))y->data, rows, index->dim[1],
                   x->dim[1], d, pieces_of(d), x->dim[0] == 1);
        });
    });
}

/* Row n of group g gets the dy of all places in the samples of the group that name it. Lanes look at 32
 * places at once; those that fit are added from the first to the last. */
template <int W, class T, class U>
__global__ static void backward(Width<W>, const T *dy, const int32_t *index, U *dx, int64_t groups,
                                int64_t places, int64_t most, int64_t n, int64_t d, int64_t pieces,
                                bool fresh) {
    int lane = threadIdx.x % 32;
    FOR_WARPS(i, groups * n * pieces) {
        int64_t gn = quotient(i, pieces), g = quotient(gn, n), row = gn - g * n, first = g * places;
        int64_t past = first + places < most ? first + places : most;
        int64_t j0 = (i - gn * pieces) * PIECE + lane * W;
        float sum[LANE / W][W] = {};
        for (int64_t t0 = first; t0 < past; t0 += 32) {
            bool mine = t0 + lane < past && index[t0 + lane] == row;
            for (unsigned left = __ballot_sync(0xFFFFFFFFu, mine); left; left &= left - 1) {
                int64_t t = t0 + __ffs((int)left) - 1;
#pragma unroll
                for (int m = 0; m < LANE / W; m++) {
                    int64_t j = j0 + m * 32 * W;
                    float v[W];
                    if (j >= d) break;
                    run_load(dy + t * d + j, v);
#pragma unroll
                    for (int k = 0; k < W; k++) sum[m][k] += v[k];
                }
            }
        }
#pragma unroll
        for (int m = 0; m < LANE / W; m++)
            if (j0 + m * 32 * W < d) run_put(dx + gn * d + j0 + m * 32 * W, sum[m], fresh);
    }
}

template <class T, class U>
static void scatter(const OpCall *c, bool eight, const T *dy, U *dx, int64_t groups, int64_t samples,
                    bool fresh) {
    const Tensor *x = c->in[0], *index = c->in[1];
    int64_t n = x->dim[1], d = x->dim[2];
    with_width(eight, [&](auto w) {
        LAUNCH(backward, cuda_warps(groups * n * pieces_of(d), THREADS), THREADS, w, dy, tensor_i32(index),
               dx, groups, samples * index->dim[1], tensor_count(index), n, d, pieces_of(d), fresh);
    });
}

template <class T> static void rows_backward(OpCall *c, const T *dy, const Tensor *dx, bool fresh) {
    int64_t batch = c->in[1]->dim[0], n = dx->dim[1], d = dx->dim[2];
    bool eight = wide(d, dy, dx);
    if (dx->dim[0] == batch) {
        scatter(c, eight, dy, (T *)dx->data, batch, 1, fresh);
        return;
    }
    int64_t samples = (batch + STRETCHES - 1) / STRETCHES, groups = (batch + samples - 1) / samples;
    float *part = (float *)op_scratch(c, (size_t)(groups * n * d) * sizeof(float));
    scatter(c, eight, dy, part, groups, samples, true);
    fold(c, eight, fold_data((const float *)part, 0, n * d), (T *)dx->data, 1, groups, n * d, 1, fresh);
    op_scratch_free(c, part);
}

/* What dfill sums: the dy of places that name no row. */
template <class T> struct Filled {
    const T *dy;
    const int32_t *index;
    int64_t n, d;
    template <int W> __device__ void operator()(int64_t, int64_t bt, int64_t j, float (&v)[W]) const {
        if (is_row(index[bt], n)) {
#pragma unroll
            for (int k = 0; k < W; k++) v[k] = 0;
        } else {
            run_load(dy + bt * d + j, v);
        }
    }
};

extern "C" void gather_backward_cuda(OpCall *c) {
    const Tensor *x = c->in[0], *index = c->in[1], *dy = c->out[0]->grad;
    bool fresh, fresh_fill;
    Tensor *dx = op_grad(c, 0, &fresh), *dfill = op_grad(c, 2, &fresh_fill);
    int64_t d = x->dim[2];
    with_data(dy, [&](auto *from) {
        if (dx) rows_backward(c, from, dx, fresh);
        if (!dfill) return;
        Filled<std::remove_pointer_t<decltype(from)>> filled = {from, tensor_i32(index), x->dim[1], d};
        fold(c, wide(d, dy, dfill), filled, tensor_real(dfill), 1, tensor_count(index), d, 1, fresh_fill);
    });
}
