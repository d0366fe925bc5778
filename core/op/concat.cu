/* concat on CUDA: a launch an input, a thread a run of its elements. Forward copies words as long as the rows
 * allow; backward takes eight elements at a time where it can. */
#include "core/op/rows.cuh"
#include "core/ops.h"

enum { THREADS = 256 };

/* Row r of input k is elements r * row + at .. r * row + at + each - 1 of y. */
static int64_t row_of(const OpCall *c, const Tensor *t) {
    int64_t n = 1;
    for (int k = (int)c->i[0]; k < t->ndim; k++) n *= t->dim[k];
    return n;
}

/* Counted in words T. */
template <class T> __global__ static void forward(const T *x, T *y, int64_t n, int64_t each, int64_t row) {
    FOR_GRID(i, n) {
        int64_t r = quotient(i, each);
        y[r * row + i - r * each] = x[i];
    }
}

/* Counted in runs of W elements. */
template <int W, class T>
__global__ static void backward(Width<W>, const T *dy, T *dx, int64_t n, int64_t each, int64_t row,
                                bool fresh) {
    FOR_GRID(i, n) {
        int64_t r = quotient(i, each);
        float g[W];
        run_load(dy + (r * row + i - r * each) * W, g);
        run_put(dx + i * W, g, fresh);
    }
}

/* Copies `bytes` that come in rows of `each` to every `row` bytes; false: they do not divide into words T. */
template <class T>
static bool copy_words(const void *x, const void *y, int64_t bytes, int64_t each, int64_t row) {
    const int64_t size = sizeof(T);
    if (each % size || row % size || (uintptr_t)x % sizeof(T) || (uintptr_t)y % sizeof(T)) return false;
    LAUNCH(forward, cuda_blocks(bytes / size, THREADS), THREADS, (const T *)x, (T *)y, bytes / size,
           each / size, row / size);
    return true;
}

extern "C" void concat_forward_cuda(OpCall *c) {
    const Tensor *y = c->out[0];
    int64_t size = (int64_t)dtype_size(y->dtype), row = row_of(c, y) * size;
    char *to = (char *)y->data;
    for (int k = 0; k < OP_IN; k++) {
        const Tensor *x = c->in[k];
        if (!x) continue;
        int64_t bytes = tensor_count(x) * size, each = row_of(c, x) * size;
        copy_words<uint4>(x->data, to, bytes, each, row) ||
            copy_words<uint32_t>(x->data, to, bytes, each, row) ||
            copy_words<uint16_t>(x->data, to, bytes, each, row) ||
            copy_words<uint8_t>(x->data, to, bytes, each, row);
        to += each;
    }
}

/* dx = or += its rows of dy, which begin at element `at`. */
static void run_backward(const OpCall *c, const Tensor *dy, const Tensor *dx, int64_t at, bool fresh) {
    int64_t n = tensor_count(dx), each = row_of(c, dx), row = row_of(c, dy);
    with_data(dy, [&](auto *data) {
        auto *from = data + at;
        bool eight = wide(each, from, dx) && row % 8 == 0;
        with_width(eight, [&](auto w) {
            int64_t by = eight ? 8 : 1;
            LAUNCH(backward, cuda_blocks(n / by, THREADS), THREADS, w, from, (decltype(from))dx->data, n / by,
                   each / by, row / by, fresh);
        });
    });
}

extern "C" void concat_backward_cuda(OpCall *c) {
    const Tensor *dy = c->out[0]->grad;
    int64_t at = 0;
    for (int k = 0; k < OP_IN; k++) {
        if (!c->in[k]) continue;
        bool fresh;
        Tensor *dx = op_grad(c, k, &fresh);
        if (dx) run_backward(c, dy, dx, at, fresh);
        at += row_of(c, c->in[k]);
    }
}
