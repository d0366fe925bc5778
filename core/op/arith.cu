/* arith on CUDA: as add, a thread holds a run of b and takes it through the repeats; where b is so short that
 * few threads would have work, a thread takes an element. db is a sum over the repeats. */
#include "core/op/rows.cuh"
#include "core/ops.h"

enum { THREADS = 128, SHORT = 64 };

__device__ static float value(float a, float b, int64_t kind) {
    return kind == ARITH_SUB ? a - b : kind == ARITH_MUL ? a * b : a / b;
}

/* The gradient of a, and of b, from g = dy. */
__device__ static float slope_a(float g, float b, int64_t kind) {
    return kind == ARITH_SUB ? g : kind == ARITH_MUL ? g * b : g / b;
}
__device__ static float slope_b(float g, float a, float b, int64_t kind) {
    return kind == ARITH_SUB ? -g : kind == ARITH_MUL ? g * a : -g * a / (b * b);
}

/* y = a op b, or with `back` y (+)= da from a = dy. */
template <int W, class A, class B, class Y>
__global__ static void apply(Width<W>, const A *a, const B *b, Y *y, int64_t repeats, int64_t m, int64_t kind,
                             bool back, bool fresh) {
    FOR_GRID(i, m / W) {
        float own[W], v[W];
        run_load(b + i * W, own);
        for (int64_t r = blockIdx.y; r < repeats; r += gridDim.y) {
            run_load(a + r * m + i * W, v);
#pragma unroll
            for (int k = 0; k < W; k++) v[k] = back ? slope_a(v[k], own[k], kind) : value(v[k], own[k], kind);
            run_put(y + r * m + i * W, v, fresh);
        }
    }
}

template <class A, class B, class Y>
__global__ static void apply_short(const A *a, const B *b, Y *y, int64_t n, int64_t m, int64_t kind,
                                   bool back, bool fresh) {
    FOR_GRID(i, n) {
        float own = load(b + (i - quotient(i, m) * m)), x = load(a + i);
        float v[1] = {back ? slope_a(x, own, kind) : value(x, own, kind)};
        run_put(y + i, v, fresh);
    }
}

static void run(const OpCall *c, const Tensor *a, const Tensor *y, bool back, bool fresh) {
    const Tensor *b = c->in[1];
    int64_t n = tensor_count(a), m = tensor_count(b), kind = c->i[0];
    bool eight = wide(m, a, b, y);
    with_data(a, [&](auto *pa) {
        with_data(b, [&](auto *pb) {
            with_data(y, [&](auto *py) {
                if ((eight ? m / 8 : m) < SHORT)
                    LAUNCH(apply_short, cuda_blocks(n, THREADS), THREADS, pa, pb, py, n, m, kind, back,
                           fresh);
                else
                    with_width(eight, [&](auto w) {
                        LAUNCH(apply, cuda_grid(eight ? m / 8 : m, n / m, THREADS), THREADS, w, pa, pb, py,
                               n / m, m, kind, back, fresh);
                    });
            });
        });
    });
}

extern "C" void arith_forward_cuda(OpCall *c) {
    run(c, c->in[0], c->out[0], false, true);
}

/* What db sums: repeats are the middle axis. */
template <class A, class B, class Y> struct SlopeB {
    const Y *dy;
    const A *a;
    const B *b;
    int64_t m, kind;
    template <int W> __device__ void operator()(int64_t, int64_t r, int64_t i, float (&v)[W]) const {
        float x[W], z[W];
        run_load(dy + r * m + i, v);
        run_load(a + r * m + i, x);
        run_load(b + i, z);
#pragma unroll
        for (int k = 0; k < W; k++) v[k] = slope_b(v[k], x[k], z[k], kind);
    }
};

template <class A, class B, class Y>
static SlopeB<A, B, Y> slope_of(const Y *dy, const A *a, const B *b, int64_t m, int64_t kind) {
    return {dy, a, b, m, kind};
}

extern "C" void arith_backward_cuda(OpCall *c) {
    const Tensor *a = c->in[0], *b = c->in[1], *dy = c->out[0]->grad;
    int64_t m = tensor_count(b), repeats = tensor_count(a) / m;
    bool fresh;
    Tensor *da = op_grad(c, 0, &fresh);
    if (da) run(c, dy, da, true, fresh);
    Tensor *db = op_grad(c, 1, &fresh);
    if (!db) return;
    bool eight = wide(m, dy, a, b, db);
    with_data(a, [&](auto *pa) {
        with_data(b, [&](auto *pb) {
            with_data(dy, [&](auto *py) {
                fold(c, eight, slope_of(py, pa, pb, m, c->i[0]), (decltype(pb))db->data, 1, repeats, m, 1,
                     fresh);
            });
        });
    });
}
