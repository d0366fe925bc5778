/* permute on CUDA: both directions move elements between two orders of the same axes. Axes of length 1 go and
 * neighbours that stay neighbours become one; where the fastest axes of both sides are still different and
 * long, squares of them pass through shared memory, so that reads and writes both run along memory. */
#include "core/cuda.h"
#include "core/ops.h"

enum { THREADS = 256, SIDE = 32, WORTHWHILE = 8 };

/* Axes in the order of `to`, the last the fastest; how far each moves in either. */
template <class I> struct Axes {
    int n;
    I dim[TENSOR_MAX_DIM], from[TENSOR_MAX_DIM], to[TENSOR_MAX_DIM];
};

template <class T> __device__ static void put(T *to, float v, bool fresh) {
    store(to, fresh ? v : load(to) + v);
}

template <class T, class I>
__global__ static void move_plain(const T *from, T *to, int64_t n, Axes<I> a, bool fresh) {
    FOR_GRID(i, n) {
        I rest = (I)i, at = 0;
        for (int k = a.n - 1; k > 0; k--) {
            I above = rest / a.dim[k];
            at += (rest - above * a.dim[k]) * a.from[k];
            rest = above;
        }
        put(to + i, load(from + at + rest * a.from[0]), fresh);
    }
}

/* The last axis is the fastest of `to`, the one before it the fastest of `from`. */
template <class T, class I>
__global__ static void move_squares(const T *from, T *to, int64_t squares, Axes<I> a, bool fresh) {
    __shared__ float square[SIDE][SIDE + 1];
    I high = a.dim[a.n - 2], wide = a.dim[a.n - 1], across = (wide + SIDE - 1) / SIDE;
    I down = (high + SIDE - 1) / SIDE;
    int x = threadIdx.x % SIDE, y = threadIdx.x / SIDE;
    for (int64_t s = blockIdx.x; s < squares; s += gridDim.x) {
        I rest = (I)s / across, left = ((I)s - rest * across) * SIDE;
        I top = rest % down * SIDE, in = 0, out = 0;
        rest /= down;
        for (int k = a.n - 3; k >= 0; k--) {
            I above = rest / a.dim[k], j = rest - above * a.dim[k];
            in += j * a.from[k];
            out += j * a.to[k];
            rest = above;
        }
        for (int j = y; j < SIDE; j += THREADS / SIDE)
            if (left + j < wide && top + x < high)
                square[j][x] = load(from + in + (left + j) * a.from[a.n - 1] + top + x);
        __syncthreads();
        for (int j = y; j < SIDE; j += THREADS / SIDE)
            if (left + x < wide && top + j < high)
                put(to + out + (top + j) * a.to[a.n - 2] + left + x, square[x][j], fresh);
        __syncthreads();
    }
}

/* dim and from: of the axes of `to`, the last the fastest. */
template <class I> static Axes<I> axes_of(int ndim, const int64_t *dim, const int64_t *from) {
    Axes<I> a = {};
    for (int k = 0; k < ndim; k++) {
        if (dim[k] == 1 && (a.n || k < ndim - 1)) continue;
        bool same = a.n && (int64_t)a.from[a.n - 1] == from[k] * dim[k];
        if (!same) a.dim[a.n++] = 1;
        a.dim[a.n - 1] *= (I)dim[k];
        a.from[a.n - 1] = (I)from[k];
    }
    I step = 1;
    for (int k = a.n - 1; k >= 0; k--) {
        a.to[k] = step;
        step *= a.dim[k];
    }
    return a;
}

/* Puts the fastest axis of `from` last but one. False: that is the last itself, or one of them is short. */
template <class I> static bool axes_for_squares(Axes<I> *a) {
    int fast = 0;
    while (fast < a->n && a->from[fast] != 1) fast++;
    if (fast >= a->n - 1 || a->dim[fast] < WORTHWHILE || a->dim[a->n - 1] < WORTHWHILE) return false;
    Axes<I> was = *a;
    for (int k = fast; k < a->n - 1; k++) {
        int source = k < a->n - 2 ? k + 1 : fast;
        a->dim[k] = was.dim[source];
        a->from[k] = was.from[source];
        a->to[k] = was.to[source];
    }
    return true;
}

template <class T, class I>
static void run(const Tensor *from, const Tensor *to, const int64_t *step, bool fresh) {
    int64_t n = tensor_count(to);
    Axes<I> a = axes_of<I>(to->ndim, to->dim, step);
    if (!axes_for_squares(&a)) {
        LAUNCH(move_plain, cuda_blocks(n, THREADS), THREADS, (const T *)from->data, (T *)to->data, n, a,
               fresh);
        return;
    }
    int64_t high = a.dim[a.n - 2], wide = a.dim[a.n - 1];
    int64_t squares = n / (high * wide) * ((high + SIDE - 1) / SIDE) * ((wide + SIDE - 1) / SIDE);
    LAUNCH(move_squares, cuda_blocks(squares, 1), THREADS, (const T *)from->data, (T *)to->data, squares, a,
           fresh);
}

static void run_as(const Tensor *from, const Tensor *to, const int64_t *step, bool fresh) {
    bool is_short = tensor_count(to) <= INT32_MAX;
    if (to->dtype == DT_BF16)
        is_short ? run<bf16, uint32_t>(from, to, step, fresh) : run<bf16, int64_t>(from, to, step, fresh);
    else
        is_short ? run<float, uint32_t>(from, to, step, fresh) : run<float, int64_t>(from, to, step, fresh);
}

/* How far t moves when its axis k grows by one. */
static int64_t stride_of(const Tensor *t, int k) {
    int64_t stride = 1;
    for (int a = k + 1; a < t->ndim; a++) stride *= t->dim[a];
    return stride;
}

extern "C" void permute_forward_cuda(OpCall *c) {
    const Tensor *x = c->in[0];
    int64_t step[TENSOR_MAX_DIM];
    for (int k = 0; k < x->ndim; k++) step[k] = stride_of(x, (int)c->i[k]);
    run_as(x, c->out[0], step, true);
}

extern "C" void permute_backward_cuda(OpCall *c) {
    const Tensor *dy = c->out[0]->grad;
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    int64_t step[TENSOR_MAX_DIM];
    for (int k = 0; k < dy->ndim; k++) step[c->i[k]] = stride_of(dy, k);
    run_as(dy, dx, step, fresh);
}
