/* pool2d on CUDA: forward a thread an output; backward a thread an element of x, which asks the windows that
 * reach it, in order. */
#include "core/cuda.h"
#include "core/ops.h"

enum { THREADS = 256 };

typedef struct Pool {
    int64_t high, wide, high_out, wide_out, size, stride, pad;
} Pool;

/* Where window o begins and ends along an axis of n pixels. */
__device__ static int64_t window_begin(const Pool &p, int64_t o) {
    int64_t at = o * p.stride - p.pad;
    return at < 0 ? 0 : at;
}
__device__ static int64_t window_end(const Pool &p, int64_t o, int64_t n) {
    int64_t at = o * p.stride - p.pad + p.size;
    return at < n ? at : n;
}

/* The windows that reach pixel i: from the first to before the one past the last, of n windows. */
__device__ static int64_t reached_from(const Pool &p, int64_t i) {
    int64_t behind = i + p.pad - p.size + 1;
    return behind <= 0 ? 0 : (behind + p.stride - 1) / p.stride;
}
__device__ static int64_t reached_past(const Pool &p, int64_t i, int64_t n) {
    int64_t past = (i + p.pad) / p.stride + 1;
    return past < n ? past : n;
}

/* best: where the maxima lay, or NULL for the mean. */
template <class T> __global__ static void forward(const T *x, T *y, int32_t *best, int64_t n, Pool p) {
    FOR_GRID(i, n) {
        int64_t rest = i / p.wide_out, col = i - rest * p.wide_out, row = rest % p.high_out;
        const T *from = x + rest / p.high_out * p.high * p.wide;
        int64_t top = window_begin(p, row), bottom = window_end(p, row, p.high);
        int64_t left = window_begin(p, col), right = window_end(p, col, p.wide);
        int64_t most = top * p.wide + left;
        float sum = 0, high = load(from + most);
        for (int64_t r = top; r < bottom; r++)
            for (int64_t q = left; q < right; q++) {
                float v = load(from + r * p.wide + q);
                sum += v;
                if (v <= high) continue; /* a NaN is taken */
                high = v;
                most = r * p.wide + q;
            }
        if (best) best[i] = (int32_t)most;
        store(y + i, best ? high : sum / (float)(p.size * p.size));
    }
}

template <class T>
__global__ static void backward(const T *dy, const int32_t *best, T *dx, int64_t n, Pool p, bool fresh) {
    FOR_GRID(i, n) {
        int64_t rest = i / p.wide, col = i - rest * p.wide, plane = rest / p.high;
        int64_t row = rest - plane * p.high, place = row * p.wide + col;
        int64_t bottom = reached_past(p, row, p.high_out), right = reached_past(p, col, p.wide_out);
        float sum = 0;
        for (int64_t r = reached_from(p, row); r < bottom; r++)
            for (int64_t q = reached_from(p, col); q < right; q++) {
                int64_t at = (plane * p.high_out + r) * p.wide_out + q;
                if (!best || best[at] == place) sum += load(dy + at);
            }
        if (!best) sum /= (float)(p.size * p.size);
        store(dx + i, fresh ? sum : load(dx + i) + sum);
    }
}

static Pool pool_of(const OpCall *c) {
    const Tensor *x = c->in[0], *y = c->out[0];
    return {x->dim[2], x->dim[3], y->dim[2], y->dim[3], c->i[1], c->i[2], c->i[3]};
}

static int32_t *best_of(const OpCall *c) {
    return c->save[0] ? tensor_i32(c->save[0]) : NULL;
}

template <class T> static void run_forward(OpCall *c) {
    int64_t n = tensor_count(c->out[0]);
    LAUNCH(forward, cuda_blocks(n, THREADS), THREADS, (const T *)c->in[0]->data, (T *)c->out[0]->data,
           best_of(c), n, pool_of(c));
}

template <class T> static void run_backward(OpCall *c) {
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    int64_t n = tensor_count(dx);
    LAUNCH(backward, cuda_blocks(n, THREADS), THREADS, (const T *)c->out[0]->grad->data,
           (const int32_t *)best_of(c), (T *)dx->data, n, pool_of(c), fresh);
}

extern "C" void pool2d_forward_cuda(OpCall *c) {
    c->in[0]->dtype == DT_BF16 ? run_forward<bf16>(c) : run_forward<float>(c);
}

extern "C" void pool2d_backward_cuda(OpCall *c) {
    c->in[0]->dtype == DT_BF16 ? run_backward<bf16>(c) : run_backward<float>(c);
}
