/* concat on CUDA: a launch an input, a thread an element of it. Indices are divided in 32 bits where all of y
 * can be counted in them. */
#include "core/cuda.h"
#include "core/ops.h"

enum { THREADS = 256 };

/* Row r of input k is elements r * row + at .. r * row + at + each - 1 of y. */
static int64_t row_of(const OpCall *c, const Tensor *t) {
    int64_t n = 1;
    for (int k = (int)c->i[0]; k < t->ndim; k++) n *= t->dim[k];
    return n;
}

/* T: any type of the elements' size. */
template <class T, class I> __global__ static void forward(const T *x, T *y, I n, I each, I row, I at) {
    FOR_GRID(i, (int64_t)n) {
        I r = (I)i / each, j = (I)i - r * each;
        y[r * row + at + j] = x[i];
    }
}

template <class T, class I>
__global__ static void backward(const T *dy, T *dx, I n, I each, I row, I at, bool fresh) {
    FOR_GRID(i, (int64_t)n) {
        I r = (I)i / each, j = (I)i - r * each;
        float g = load(dy + r * row + at + j);
        store(dx + i, fresh ? g : load(dx + i) + g);
    }
}

template <class T, class I> static void run_forward(OpCall *c) {
    const Tensor *y = c->out[0];
    int64_t at = 0;
    for (int k = 0; k < OP_IN; k++) {
        const Tensor *x = c->in[k];
        if (!x) continue;
        int64_t n = tensor_count(x), each = row_of(c, x);
        LAUNCH(forward, cuda_blocks(n, THREADS), THREADS, (const T *)x->data, (T *)y->data, (I)n, (I)each,
               (I)row_of(c, y), (I)at);
        at += each;
    }
}

template <class T, class I> static void run_backward(OpCall *c) {
    const Tensor *dy = c->out[0]->grad;
    int64_t at = 0;
    for (int k = 0; k < OP_IN; k++) {
        if (!c->in[k]) continue;
        int64_t n = tensor_count(c->in[k]), each = row_of(c, c->in[k]);
        bool fresh;
        Tensor *dx = op_grad(c, k, &fresh);
        if (dx)
            LAUNCH(backward, cuda_blocks(n, THREADS), THREADS, (const T *)dy->data, (T *)dx->data, (I)n,
                   (I)each, (I)row_of(c, dy), (I)at, fresh);
        at += each;
    }
}

static bool is_short(const OpCall *c) {
    return tensor_count(c->out[0]) <= UINT32_MAX;
}

template <class T> static void copy_in(OpCall *c) {
    is_short(c) ? run_forward<T, uint32_t>(c) : run_forward<T, int64_t>(c);
}

template <class T> static void add_back(OpCall *c) {
    is_short(c) ? run_backward<T, uint32_t>(c) : run_backward<T, int64_t>(c);
}

extern "C" void concat_forward_cuda(OpCall *c) {
    size_t size = dtype_size(c->out[0]->dtype);
    size == 4 ? copy_in<uint32_t>(c) : size == 2 ? copy_in<uint16_t>(c) : copy_in<uint8_t>(c);
}

extern "C" void concat_backward_cuda(OpCall *c) {
    c->out[0]->dtype == DT_BF16 ? add_back<bf16>(c) : add_back<float>(c);
}
