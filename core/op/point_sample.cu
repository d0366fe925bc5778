/* point_sample on CUDA: forward is a thread an output. For backward the points of each picture are sorted by
 * the cell between four pixels that they lie in; then a thread an element of x looks up the four cells around
 * it and adds their points in order. */
#include "core/op/order.cuh"
#include "core/op/rows.cuh"
#include "core/ops.h"

enum { THREADS = 256 };

/* The points of a call, between the pixels of pictures high x wide. */
typedef struct Field {
    const float *xy;
    int64_t points, high, wide;
} Field;

typedef struct Spot {
    float u, v;
} Spot;

__device__ static Spot spot_of(const Field &f, int64_t n, int64_t p) {
    const float *at = f.xy + 2 * (n * f.points + p);
    return {at[0] * (float)f.wide - 0.5f, at[1] * (float)f.high - 0.5f};
}

__device__ static bool touches(const Field &f, const Spot &s) {
    return s.v > -1 && s.v < (float)f.high && s.u > -1 && s.u < (float)f.wide;
}

__device__ static float weight_of(const Spot &s, int64_t r, int64_t k) {
    return fmaxf(0, 1 - fabsf(s.v - (float)r)) * fmaxf(0, 1 - fabsf(s.u - (float)k));
}

template <class T>
__global__ static void forward(const T *x, Field f, float *y, int64_t planes, int64_t channels) {
    FOR_GRID(i, planes * f.points) {
        int64_t plane = quotient(i, f.points), p = i - plane * f.points;
        Spot s = spot_of(f, quotient(plane, channels), p);
        float sum = 0;
        if (touches(f, s)) {
            int64_t row = (int64_t)floorf(s.v), col = (int64_t)floorf(s.u);
            for (int64_t r = row < 0 ? 0 : row; r < row + 2 && r < f.high; r++)
                for (int64_t k = col < 0 ? 0 : col; k < col + 2 && k < f.wide; k++)
                    sum += weight_of(s, r, k) * load(x + (plane * f.high + r) * f.wide + k);
        }
        y[i] = sum;
    }
}

/* Cell (i, j) lies above and left of pixel (i, j); there is one more than pixels either way. Points that
 * touch no pixel come after all cells. */
__host__ __device__ static int64_t cells_of(const Field &f) {
    return (f.high + 1) * (f.wide + 1);
}
typedef struct CellOf {
    Field f;
    __device__ uint32_t operator()(int64_t n, int64_t p) const {
        Spot s = spot_of(f, n, p);
        if (!touches(f, s)) return (uint32_t)cells_of(f);
        int64_t i = (int64_t)floorf(s.v) + 1, j = (int64_t)floorf(s.u) + 1;
        return (uint32_t)(i * (f.wide + 1) + j);
    }
} CellOf;

template <class T>
__global__ static void backward(const float *dy, const uint64_t *sorted, Field f, T *dx, int64_t planes,
                                int64_t channels, bool fresh) {
    int64_t each = f.high * f.wide;
    FOR_GRID(at, planes * each) {
        int64_t plane = quotient(at, each), n = quotient(plane, channels);
        int64_t r = quotient(at - plane * each, f.wide), k = at - plane * each - r * f.wide;
        const uint64_t *row = sorted + n * f.points;
        float sum = 0;
        for (int64_t i = r; i < r + 2; i++) { /* two cells of a row stand side by side */
            uint32_t cell = (uint32_t)(i * (f.wide + 1) + k);
            for (int64_t a = sorted_find(row, f.points, cell); a < f.points; a++) {
                if (sorted_key(row[a]) > cell + 1) break;
                int64_t p = sorted_place(row[a]);
                sum += weight_of(spot_of(f, n, p), r, k) * dy[plane * f.points + p];
            }
        }
        float v[1] = {sum};
        run_put(dx + at, v, fresh);
    }
}

static Field field_of(const OpCall *c) {
    const Tensor *x = c->in[0], *xy = c->in[1];
    return {tensor_real(xy), xy->dim[1], x->dim[2], x->dim[3]};
}

extern "C" void point_sample_forward_cuda(OpCall *c) {
    const Tensor *x = c->in[0];
    int64_t planes = x->dim[0] * x->dim[1];
    Field f = field_of(c);
    with_data(x, [&](auto *from) {
        LAUNCH(forward, cuda_blocks(planes * f.points, THREADS), THREADS, from, f, tensor_real(c->out[0]),
               planes, x->dim[1]);
    });
}

extern "C" void point_sample_backward_cuda(OpCall *c) {
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    int64_t pictures = dx->dim[0], planes = pictures * dx->dim[1];
    Field f = field_of(c);
    uint64_t *sorted = (uint64_t *)op_scratch(c, (size_t)(pictures * f.points) * sizeof *sorted);
    sort(c, CellOf{f}, sorted, pictures, f.points, cells_of(f) + 1);
    with_data(dx, [&](auto *to) {
        LAUNCH(backward, cuda_blocks(planes * f.high * f.wide, THREADS), THREADS,
               tensor_real(c->out[0]->grad), sorted, f, to, planes, dx->dim[1], fresh);
    });
    op_scratch_free(c, sorted);
}
