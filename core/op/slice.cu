/* slice on CUDA: forward copies words as long as the rows allow. Backward takes eight elements at a time
 * where it can: a thread a run of x where the zeros outside must be written too, else a run of y. */
#include "core/op/rows.cuh"
#include "core/ops.h"

enum { THREADS = 256 };

/* Row r of y lies in x at r * row + at; `each` elements. */
typedef struct Rows {
    int64_t row, each, at;
} Rows;

/* Counted in words T. */
template <class T> __global__ static void forward(const T *x, T *y, int64_t n, Rows w) {
    FOR_GRID(i, n) {
        int64_t r = quotient(i, w.each);
        y[i] = x[r * w.row + w.at + i - r * w.each];
    }
}

/* Counted in runs of W elements, as is the next. */
template <int W, class T> __global__ static void overwrite(Width<W>, const T *dy, T *dx, int64_t n, Rows w) {
    FOR_GRID(i, n) {
        int64_t r = quotient(i, w.row), j = i - r * w.row - w.at;
        float g[W] = {};
        if (j >= 0 && j < w.each) run_load(dy + (r * w.each + j) * W, g);
        run_store(dx + i * W, g);
    }
}

template <int W, class T> __global__ static void add(Width<W>, const T *dy, T *dx, int64_t n, Rows w) {
    FOR_GRID(i, n) {
        int64_t r = quotient(i, w.each);
        float g[W];
        run_load(dy + i * W, g);
        run_put(dx + (r * w.row + w.at + i - r * w.each) * W, g, false);
    }
}

static Rows rows_of(const OpCall *c) {
    const Tensor *x = c->in[0];
    int64_t inner = 1;
    for (int k = (int)c->i[0] + 1; k < x->ndim; k++) inner *= x->dim[k];
    return {x->dim[c->i[0]] * inner, c->i[2] * inner, c->i[1] * inner};
}

/* False: the rows do not divide into words T. */
template <class T> static bool copy_words(const OpCall *c) {
    const Tensor *x = c->in[0], *y = c->out[0];
    Rows w = rows_of(c);
    const int64_t size = (int64_t)dtype_size(x->dtype), word = sizeof(T);
    int64_t n = tensor_count(y) * size / word;
    if (w.row * size % word || w.each * size % word || w.at * size % word) return false;
    if ((uintptr_t)x->data % sizeof(T) || (uintptr_t)y->data % sizeof(T)) return false;
    w = {w.row * size / word, w.each * size / word, w.at * size / word};
    LAUNCH(forward, cuda_blocks(n, THREADS), THREADS, (const T *)x->data, (T *)y->data, n, w);
    return true;
}

extern "C" void slice_forward_cuda(OpCall *c) {
    copy_words<uint4>(c) || copy_words<uint32_t>(c) || copy_words<uint16_t>(c) || copy_words<uint8_t>(c);
}

extern "C" void slice_backward_cuda(OpCall *c) {
    const Tensor *dy = c->out[0]->grad;
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    Rows w = rows_of(c);
    bool eight = wide(w.each, dy, dx) && w.row % 8 == 0 && w.at % 8 == 0;
    if (eight) w = {w.row / 8, w.each / 8, w.at / 8};
    int64_t n = tensor_count(fresh ? dx : dy) / (eight ? 8 : 1);
    with_data(dy, [&](auto *from) {
        auto *to = (decltype(from))dx->data;
        with_width(eight, [&](auto width) {
            if (fresh)
                LAUNCH(overwrite, cuda_blocks(n, THREADS), THREADS, width, from, to, n, w);
            else
                LAUNCH(add, cuda_blocks(n, THREADS), THREADS, width, from, to, n, w);
        });
    });
}
