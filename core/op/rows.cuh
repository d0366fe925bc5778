/* rows: what CUDA kernels over rows share, as simd.h does for the processor. Runs of eight elements in one
 * load of 16 bytes (bf16) or two (f32), calls by the tensors' types, and sums over an axis.
 *
 * A kernel that works on runs takes a Width: 8 where `wide` says that rows and pointers allow it, else 1, and
 * is written once for both. */
#ifndef LETHE_OP_ROWS_CUH
#define LETHE_OP_ROWS_CUH

#include "core/cuda.h"
#include "core/op.h"

template <int W> struct Width {};

/* ---- runs of W elements ---- */

template <class T> __device__ static inline void run_load(const T *p, float (&v)[1]) {
    v[0] = load(p);
}
__device__ static inline void run_load(const float *p, float (&v)[8]) {
    const float4 a = ((const float4 *)p)[0], b = ((const float4 *)p)[1];
    v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
}
__device__ static inline void run_load(const bf16 *p, float (&v)[8]) {
    const uint4 a = *(const uint4 *)p;
    const unsigned word[4] = {a.x, a.y, a.z, a.w};
#pragma unroll
    for (int k = 0; k < 4; k++) {
        v[2 * k] = __uint_as_float(word[k] << 16);
        v[2 * k + 1] = __uint_as_float(word[k] & 0xFFFF0000u);
    }
}

template <class T> __device__ static inline void run_store(T *p, const float (&v)[1]) {
    store(p, v[0]);
}
__device__ static inline void run_store(float *p, const float (&v)[8]) {
    ((float4 *)p)[0] = make_float4(v[0], v[1], v[2], v[3]);
    ((float4 *)p)[1] = make_float4(v[4], v[5], v[6], v[7]);
}
__device__ static inline void run_store(bf16 *p, const float (&v)[8]) {
    unsigned word[4];
#pragma unroll
    for (int k = 0; k < 4; k++) {
        bf16 low, high;
        store(&low, v[2 * k]);
        store(&high, v[2 * k + 1]);
        word[k] = (unsigned)low | (unsigned)high << 16;
    }
    *(uint4 *)p = make_uint4(word[0], word[1], word[2], word[3]);
}

/* p = v when fresh, else p += v. */
template <int W, class T> __device__ static inline void run_put(T *p, const float (&v)[W], bool fresh) {
    if (fresh) {
        run_store(p, v);
        return;
    }
    float sum[W];
    run_load(p, sum);
#pragma unroll
    for (int k = 0; k < W; k++) sum[k] += v[k];
    run_store(p, sum);
}

/* a / b, which is quick where both fit 32 bits. */
__device__ static inline int64_t quotient(int64_t a, int64_t b) {
    return (a | b) >> 32 ? a / b : (int64_t)((uint32_t)a / (uint32_t)b);
}

/* ---- calls by type and width ---- */

static inline bool row_fits(const void *p) {
    return (uintptr_t)p % 16 == 0;
}
static inline bool row_fits(const Tensor *t) {
    return !t || (uintptr_t)t->data % 16 == 0;
}
template <class... P> static inline bool wide(int64_t width, P... p) {
    return width % 8 == 0 && (row_fits(p) && ...);
}

template <class F> static inline void with_width(bool wide, F f) {
    wide ? f(Width<8>()) : f(Width<1>());
}
/* f(the tensor's data), as float or bf16. */
template <class F> static inline void with_data(const Tensor *t, F f) {
    t->dtype == DT_BF16 ? f((bf16 *)t->data) : f((float *)t->data);
}

/* Blocks for `rows` rows (y) of n runs each (x), capped as by cuda_blocks: kernels stride over both. */
static inline dim3 cuda_grid(int64_t n, int64_t rows, int threads) {
    int64_t across = cuda_blocks(n, threads), most = (int64_t)cuda.processors * 64 / across + 1;
    if (most > 65535) most = 65535;
    return dim3((unsigned)across, (unsigned)(rows < most ? rows : most));
}
/* Blocks of `threads` for a warp a row. */
static inline int cuda_warps(int64_t rows, int threads) {
    return cuda_blocks(rows * 32, threads);
}

#define FOR_WARPS(r, rows)                                                                                   \
    for (int64_t r = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) / 32; r < (rows);                      \
         r += (int64_t)gridDim.x * blockDim.x / 32)

/* ---- sums over the middle axis of (outer, middle, inner) ---- */

typedef struct Fold {
    int64_t outer, middle, inner;
    int64_t parts, length; /* middle is cut into `parts` stretches of `length`, the last may be shorter */
    float factor;          /* of the sum */
} Fold;

enum { FOLD_LANES = 32, FOLD_ROOM = 2048, FOLD_SHORT = 2048, FOLD_PIECES = 1024 };

/* A block sums 32 runs of W neighbours of inner; its rows of threads take the stretch in turn and are added
 * in order. What is summed comes from f(o, m, i, v): W values from i on. */
template <int W, class F, class U>
__global__ static void fold_columns(Width<W>, F f, U *y, Fold d, bool fresh) {
    __shared__ float room[FOLD_ROOM];
    int lane = threadIdx.x % FOLD_LANES, row = threadIdx.x / FOLD_LANES, rows = blockDim.x / FOLD_LANES;
    int64_t i = ((int64_t)blockIdx.x * FOLD_LANES + lane) * W;
    for (int64_t op = blockIdx.y; op < d.outer * d.parts; op += gridDim.y) {
        int64_t o = quotient(op, d.parts), first = (op - o * d.parts) * d.length;
        int64_t past = first + d.length < d.middle ? first + d.length : d.middle;
        float sum[W] = {};
        if (i < d.inner) {
#pragma unroll 4
            for (int64_t m = first + row; m < past; m += rows) {
                float v[W];
                f(o, m, i, v);
#pragma unroll
                for (int k = 0; k < W; k++) sum[k] += v[k];
            }
        }
        __syncthreads(); /* room may still be read */
#pragma unroll
        for (int k = 0; k < W; k++) room[(row * W + k) * FOLD_LANES + lane] = sum[k];
        __syncthreads();
        if (row > 0 || i >= d.inner) continue;
        for (int r = 1; r < rows; r++)
#pragma unroll
            for (int k = 0; k < W; k++) sum[k] += room[(r * W + k) * FOLD_LANES + lane];
#pragma unroll
        for (int k = 0; k < W; k++) sum[k] *= d.factor;
        run_put(y + op * d.inner + i, sum, fresh);
    }
}

/* inner is 1: a block a stretch. */
template <class F, class U> __global__ static void fold_rows(F f, U *y, Fold d, bool fresh) {
    for (int64_t op = blockIdx.x; op < d.outer * d.parts; op += gridDim.x) {
        int64_t o = quotient(op, d.parts), first = (op - o * d.parts) * d.length;
        int64_t past = first + d.length < d.middle ? first + d.length : d.middle;
        float sum[1] = {};
        for (int64_t m = first + threadIdx.x; m < past; m += blockDim.x) {
            float v[1];
            f(o, m, 0, v);
            sum[0] += v[0];
        }
        sum[0] = block_sum(sum[0]) * d.factor;
        if (threadIdx.x == 0) run_put(y + op, sum, fresh);
    }
}

/* A power of two of rows of threads that a stretch can use. */
static inline int fold_width(int64_t length, int most) {
    int n = 1;
    while (n < most && n < length) n *= 2;
    return n;
}

template <int W, class F, class U> static void fold_launch(Width<W> w, F f, U *y, const Fold &d, bool fresh) {
    int64_t rows = d.outer * d.parts, across = (d.inner / W + FOLD_LANES - 1) / FOLD_LANES;
    int tall = fold_width(d.length, FOLD_ROOM / FOLD_LANES / W > 32 ? 32 : FOLD_ROOM / FOLD_LANES / W);
    dim3 blocks((unsigned)across, (unsigned)(rows < 65535 ? rows : 65535));
    LAUNCH(fold_columns, blocks, FOLD_LANES * tall, w, f, y, d, fresh);
}

template <class F, class U> static void fold_pass(bool wide, F f, U *y, const Fold &d, bool fresh) {
    int64_t rows = d.outer * d.parts;
    if (d.inner == 1)
        LAUNCH(fold_rows, (unsigned)(rows < 1 << 20 ? rows : 1 << 20), 32 * fold_width(d.length / 32, 16), f,
               y, d, fresh);
    else
        with_width(wide, [&](auto w) { fold_launch(w, f, y, d, fresh); });
}

/* Summands that stand in memory, `stride` apart along outer and `step` along middle. */
template <class T> struct FoldData {
    const T *x;
    int64_t stride, step;
    template <int W> __device__ void operator()(int64_t o, int64_t m, int64_t i, float (&v)[W]) const {
        run_load(x + o * stride + m * step + i, v);
    }
};
template <class T> static inline FoldData<T> fold_data(const T *x, int64_t stride, int64_t step) {
    return {x, stride, step};
}

/* y (outer, inner) = factor * the sums of f over middle, added to y without `fresh`. `wide`: f may be asked
 * for eight values, and y takes them. Stretches depend on the shape alone: so do the bits. */
template <class F, class U>
static void fold(OpCall *c, bool wide, F f, U *y, int64_t outer, int64_t middle, int64_t inner, double factor,
                 bool fresh) {
    Fold d = {outer, middle, inner, 1, middle, (float)factor};
    int64_t pieces = outer * ((inner / (wide ? 8 : 1) + FOLD_LANES - 1) / FOLD_LANES);
    if (middle < FOLD_SHORT || pieces >= FOLD_PIECES / 2) {
        fold_pass(wide, f, y, d, fresh);
        return;
    }
    int64_t parts = FOLD_PIECES / pieces < middle / 64 ? FOLD_PIECES / pieces : middle / 64;
    d.length = (middle + parts - 1) / parts;
    d.parts = (middle + d.length - 1) / d.length;
    d.factor = 1;
    float *part = (float *)op_scratch(c, (size_t)(outer * d.parts * inner) * sizeof(float));
    fold_pass(wide, f, part, d, true);
    Fold last = {outer, d.parts, inner, 1, d.parts, (float)factor};
    fold_pass(false, fold_data((const float *)part, d.parts * inner, inner), y, last, fresh);
    op_scratch_free(c, part);
}

/* to += from, or to = from when fresh, on the device; either may be bf16. Same count. */
extern "C" void tensor_accumulate_cuda(const Tensor *to, const Tensor *from, bool fresh);

#endif
