/* mask_loss on CUDA: rows are folded; backward is a thread an element. */
#include "core/op/rows.cuh"
#include "core/ops.h"

enum { THREADS = 256 };

typedef struct Loss {
    MaskLoss kind;
    float alpha, gamma;
} Loss;

/* What an element says: p, 1 - p (neither loses digits) and its cross entropy. */
typedef struct Said {
    float p, rest, h;
} Said;

__device__ static Said said_of(float x, float t) {
    float e = expf(-fabsf(x)), big = 1 / (1 + e);
    return {x < 0 ? e * big : big, x < 0 ? big : e * big, fmaxf(x, 0) - x * t + log1pf(e)};
}

/* a q^gamma, with the part that is wrong, q, in *wrong. */
__device__ static float focus(const Loss &l, const Said &s, float t, float *wrong) {
    *wrong = s.p * (1 - t) + s.rest * t;
    float a = l.alpha < 0 ? 1 : l.alpha * t + (1 - l.alpha) * (1 - t);
    return a * powf(*wrong, l.gamma);
}

/* What is summed over the n elements of a row; for Dice, p t or, with `second`, p + t. */
template <class T> struct Summand {
    const T *x;
    const float *target;
    int64_t n;
    Loss l;
    bool second;
    template <int W> __device__ void operator()(int64_t r, int64_t at, int64_t, float (&v)[W]) const {
        float t = target[r * n + at], q;
        Said s = said_of(load(x + r * n + at), t);
        if (l.kind == MASK_DICE)
            v[0] = second ? s.p + t : s.p * t;
        else
            v[0] = l.kind == MASK_FOCAL ? focus(l, s, t, &q) * s.h : s.h;
    }
};

__global__ static void dice(const float *both, const float *all, float *loss, int64_t rows) {
    FOR_GRID(r, rows) loss[r] = 1 - (2 * both[r] + 1) / (all[r] + 1);
}

/* dloss / dx; both and all are the sums of the row, for Dice. */
__device__ static float slope(const Loss &l, float x, float t, int64_t n, float both, float all) {
    Said s = said_of(x, t);
    if (l.kind == MASK_DICE) return -s.p * s.rest * (2 * t - (2 * both + 1) / (all + 1)) / (all + 1);
    if (l.kind == MASK_BCE) return (s.p - t) / (float)n;
    float q, factor = focus(l, s, t, &q), ratio = q > 0 ? s.p * s.rest / q : 0;
    return factor * (s.p - t - l.gamma * s.h * (2 * t - 1) * ratio) / (float)n;
}

template <class T>
__global__ static void backward(const T *x, const float *target, Loss l, const float *both, const float *all,
                                const float *dloss, T *dx, int64_t rows, int64_t n, bool fresh) {
    FOR_GRID(i, rows * n) {
        int64_t r = quotient(i, n);
        float g = dloss[r] * slope(l, load(x + i), target[i], n, both ? both[r] : 0, all ? all[r] : 0);
        store(dx + i, fresh ? g : load(dx + i) + g);
    }
}

static Loss loss_of(const OpCall *c) {
    return {(MaskLoss)c->i[0], (float)c->f[0], (float)c->f[1]};
}

template <class T> static void run_forward(OpCall *c, const T *x) {
    int64_t rows = c->in[0]->dim[0], n = rows ? tensor_count(c->in[0]) / rows : 0;
    float *loss = tensor_real(c->out[0]);
    Summand<T> summand = {x, tensor_real(c->in[1]), n, loss_of(c), false};
    if (c->i[0] != MASK_DICE) {
        fold(c, false, summand, loss, rows, n, 1, 1 / (double)n, true);
        return;
    }
    float *both = tensor_real(c->save[0]), *all = tensor_real(c->save[1]);
    fold(c, false, summand, both, rows, n, 1, 1, true);
    summand.second = true;
    fold(c, false, summand, all, rows, n, 1, 1, true);
    LAUNCH(dice, cuda_blocks(rows, THREADS), THREADS, both, all, loss, rows);
}

extern "C" void mask_loss_forward_cuda(OpCall *c) {
    with_data(c->in[0], [&](auto *x) { run_forward(c, x); });
}

extern "C" void mask_loss_backward_cuda(OpCall *c) {
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    int64_t rows = dx->dim[0], n = rows ? tensor_count(dx) / rows : 0;
    const float *both = c->save[0] ? tensor_real(c->save[0]) : nullptr;
    const float *all = c->save[1] ? tensor_real(c->save[1]) : nullptr;
    with_data(c->in[0], [&](auto *x) {
        LAUNCH(backward, cuda_blocks(rows * n, THREADS), THREADS, x, tensor_real(c->in[1]), loss_of(c), both,
               all, tensor_real(c->out[0]->grad), (decltype(x))dx->data, rows, n, fresh);
    });
}
