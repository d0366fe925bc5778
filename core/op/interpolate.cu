/* interpolate on CUDA: the tables of weights are made on the GPU at each call, in double as in
 * interpolate.c; then forward is a thread an output and backward a thread an element of x, which asks the
 * outputs that touch it, in order. Both directions sum columns inside rows, so no picture lies between. */
#include "core/cuda.h"
#include "core/ops.h"

#include <math.h>

enum { THREADS = 256 };

/* Output o of one axis is the sum over t of weight[o * taps + t] * input[first[o] + t]. first never falls, so
 * input i is touched by the outputs from[i] .. past[i] - 1. */
typedef struct Axis {
    int64_t in, out, taps;
    int64_t *first, *from, *past;
    float *weight;
} Axis;

__host__ __device__ static bool is_pillow(InterpolateKind kind) {
    return kind == INTERPOLATE_BILINEAR_PILLOW || kind == INTERPOLATE_BICUBIC_PILLOW;
}

/* By how much the kernel is stretched. */
__host__ __device__ static double stretch_of(InterpolateKind kind, int64_t in, int64_t out) {
    return is_pillow(kind) && in > out ? (double)in / (double)out : 1;
}

/* How far, in pixels, the kernel reaches to either side. */
__host__ __device__ static double reach_of(InterpolateKind kind, int64_t in, int64_t out) {
    double reach = kind == INTERPOLATE_BICUBIC_TORCH || kind == INTERPOLATE_BICUBIC_PILLOW ? 2 : 1;
    return reach * stretch_of(kind, in, out);
}

__device__ static double cubic(double a, double x) {
    x = fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

__device__ static double kernel_at(InterpolateKind kind, double x) {
    if (kind == INTERPOLATE_BICUBIC_TORCH) return cubic(-0.75, x);
    if (kind == INTERPOLATE_BICUBIC_PILLOW) return cubic(-0.5, x);
    return fabs(x) < 1 ? 1 - fabs(x) : 0;
}

/* Where output o lies between the pixels of the input. */
__device__ static double place_of(InterpolateKind kind, const Axis &a, int64_t o) {
    double scale = (double)a.in / (double)a.out;
    if (kind == INTERPOLATE_NEAREST) return floor((double)o * scale);
    if (kind == INTERPOLATE_BILINEAR_CORNERS)
        return a.out > 1 ? (double)o * (double)(a.in - 1) / (double)(a.out - 1) : 0;
    return ((double)o + 0.5) * scale - 0.5;
}

__device__ static int64_t clamp(int64_t i, int64_t lo, int64_t hi) {
    return i < lo ? lo : i > hi ? hi : i;
}

__global__ static void make_weights(Axis a, InterpolateKind kind) {
    double reach = reach_of(kind, a.in, a.out), stretch = stretch_of(kind, a.in, a.out);
    FOR_GRID(o, a.out) {
        double place = place_of(kind, a, o), sum = 0;
        int64_t from = (int64_t)floor(place) + 1 - (int64_t)reach, past = from + 2 * (int64_t)reach;
        if (is_pillow(kind)) { /* pixels whose centres are within reach, rounded as Pillow rounds them */
            from = clamp((int64_t)floor(place - reach + 1), 0, a.in - 1);
            past = clamp((int64_t)floor(place + reach + 1), from + 1, a.in);
        }
        float *weight = a.weight + o * a.taps;
        int64_t first = clamp(from, 0, a.in - a.taps);
        a.first[o] = first;
        for (int64_t t = 0; t < a.taps; t++) weight[t] = 0;
        for (int64_t i = from; i < past; i++) {
            double w = kernel_at(kind, ((double)i - place) / stretch);
            weight[clamp(i, 0, a.in - 1) - first] += (float)w;
            sum += w;
        }
        for (int64_t t = 0; is_pillow(kind) && t < a.taps; t++) weight[t] = (float)(weight[t] / sum);
    }
}

/* The first output whose `first` is at least i. */
__device__ static int64_t first_at(const Axis &a, int64_t i) {
    int64_t lo = 0, hi = a.out;
    while (lo < hi) {
        int64_t mid = (lo + hi) / 2;
        if (a.first[mid] < i)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

__global__ static void make_ranges(Axis a) {
    FOR_GRID(i, a.in) {
        a.from[i] = first_at(a, i - a.taps + 1);
        a.past[i] = first_at(a, i + 1);
    }
}

template <class T> __global__ static void forward(const T *x, T *y, int64_t n, Axis rows, Axis cols) {
    FOR_GRID(i, n) {
        int64_t rest = i / cols.out, col = i - rest * cols.out, plane = rest / rows.out;
        int64_t row = rest - plane * rows.out;
        const float *down = rows.weight + row * rows.taps, *across = cols.weight + col * cols.taps;
        const T *from = x + (plane * rows.in + rows.first[row]) * cols.in + cols.first[col];
        float sum = 0;
        for (int64_t t = 0; t < rows.taps; t++) {
            float line = 0;
            for (int64_t u = 0; u < cols.taps; u++) line += across[u] * load(from + t * cols.in + u);
            sum += down[t] * line;
        }
        store(y + i, sum);
    }
}

template <class T>
__global__ static void backward(const T *dy, T *dx, int64_t n, Axis rows, Axis cols, bool fresh) {
    FOR_GRID(i, n) {
        int64_t rest = i / cols.in, col = i - rest * cols.in, plane = rest / rows.in;
        int64_t row = rest - plane * rows.in;
        const T *from = dy + plane * rows.out * cols.out;
        float sum = 0;
        for (int64_t j = cols.from[col]; j < cols.past[col]; j++) {
            float line = 0;
            for (int64_t o = rows.from[row]; o < rows.past[row]; o++)
                line += rows.weight[o * rows.taps + row - rows.first[o]] * load(from + o * cols.out + j);
            sum += cols.weight[j * cols.taps + col - cols.first[j]] * line;
        }
        store(dx + i, fresh ? sum : load(dx + i) + sum);
    }
}

/* One block of scratch an axis: the three lists of places, then the weights. */
static Axis axis_open(OpCall *c, int64_t in, int64_t out, bool ranges) {
    InterpolateKind kind = (InterpolateKind)c->i[0];
    Axis a = {};
    a.in = in;
    a.out = out;
    a.taps = 2 * (int64_t)ceil(reach_of(kind, in, out)) + (is_pillow(kind) ? 1 : 0);
    if (a.taps > in) a.taps = in;
    size_t places = (size_t)(out + 2 * in) * sizeof *a.first;
    a.first = (int64_t *)op_scratch(c, places + (size_t)(out * a.taps) * sizeof *a.weight);
    a.from = a.first + out;
    a.past = a.from + in;
    a.weight = (float *)(a.past + in);
    LAUNCH(make_weights, cuda_blocks(out, 64), 64, a, kind);
    if (ranges) LAUNCH(make_ranges, cuda_blocks(in, 64), 64, a);
    return a;
}

template <class T> static void run_forward(OpCall *c) {
    const Tensor *x = c->in[0], *y = c->out[0];
    int64_t n = tensor_count(y);
    Axis rows = axis_open(c, x->dim[2], y->dim[2], false), cols = axis_open(c, x->dim[3], y->dim[3], false);
    LAUNCH(forward, cuda_blocks(n, THREADS), THREADS, (const T *)x->data, (T *)y->data, n, rows, cols);
    op_scratch_free(c, cols.first);
    op_scratch_free(c, rows.first);
}

template <class T> static void run_backward(OpCall *c) {
    const Tensor *dy = c->out[0]->grad;
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    int64_t n = tensor_count(dx);
    Axis rows = axis_open(c, dx->dim[2], dy->dim[2], true), cols = axis_open(c, dx->dim[3], dy->dim[3], true);
    LAUNCH(backward, cuda_blocks(n, THREADS), THREADS, (const T *)dy->data, (T *)dx->data, n, rows, cols,
           fresh);
    op_scratch_free(c, cols.first);
    op_scratch_free(c, rows.first);
}

extern "C" void interpolate_forward_cuda(OpCall *c) {
    c->in[0]->dtype == DT_BF16 ? run_forward<bf16>(c) : run_forward<float>(c);
}

extern "C" void interpolate_backward_cuda(OpCall *c) {
    c->in[0]->dtype == DT_BF16 ? run_backward<bf16>(c) : run_backward<float>(c);
}
