/* slice on CUDA: forward a thread an element of y; backward a thread an element of x where it must write the
 * zeros outside too, else an element of y. Indices are divided in 32 bits where x can be counted in them. */
#include "core/cuda.h"
#include "core/ops.h"

enum { THREADS = 256 };

/* Row r of y lies in x at r * row + at; `each` elements. */
template <class I> struct Rows { I row, each, at; };

/* T: any type of the elements' size. */
template <class T, class I> __global__ static void forward(const T *x, T *y, int64_t n, Rows<I> w) {
    FOR_GRID(i, n) {
        I r = (I)i / w.each, j = (I)i - r * w.each;
        y[i] = x[r * w.row + w.at + j];
    }
}

template <class T, class I> __global__ static void overwrite(const T *dy, T *dx, int64_t n, Rows<I> w) {
    FOR_GRID(i, n) {
        I r = (I)i / w.row, j = (I)i - r * w.row;
        bool inside = j >= w.at && j - w.at < w.each;
        store(dx + i, inside ? load(dy + r * w.each + (j - w.at)) : 0.0f);
    }
}

template <class T, class I> __global__ static void add(const T *dy, T *dx, int64_t n, Rows<I> w) {
    FOR_GRID(i, n) {
        I r = (I)i / w.each, j = (I)i - r * w.each;
        T *to = dx + r * w.row + w.at + j;
        store(to, load(to) + load(dy + i));
    }
}

template <class I> static Rows<I> rows_of(const OpCall *c) {
    const Tensor *x = c->in[0];
    int64_t inner = 1;
    for (int k = (int)c->i[0] + 1; k < x->ndim; k++) inner *= x->dim[k];
    return {(I)(x->dim[c->i[0]] * inner), (I)(c->i[2] * inner), (I)(c->i[1] * inner)};
}

template <class T, class I> static void run_forward(OpCall *c) {
    int64_t n = tensor_count(c->out[0]);
    LAUNCH(forward, cuda_blocks(n, THREADS), THREADS, (const T *)c->in[0]->data, (T *)c->out[0]->data, n,
           rows_of<I>(c));
}

template <class T, class I> static void run_backward(OpCall *c) {
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    const T *dy = (const T *)c->out[0]->grad->data;
    int64_t n = tensor_count(fresh ? dx : c->out[0]);
    if (fresh)
        LAUNCH(overwrite, cuda_blocks(n, THREADS), THREADS, dy, (T *)dx->data, n, rows_of<I>(c));
    else
        LAUNCH(add, cuda_blocks(n, THREADS), THREADS, dy, (T *)dx->data, n, rows_of<I>(c));
}

static bool is_short(const OpCall *c) {
    return tensor_count(c->in[0]) <= UINT32_MAX;
}

template <class T> static void copy_out(OpCall *c) {
    is_short(c) ? run_forward<T, uint32_t>(c) : run_forward<T, int64_t>(c);
}

template <class T> static void put_back(OpCall *c) {
    is_short(c) ? run_backward<T, uint32_t>(c) : run_backward<T, int64_t>(c);
}

extern "C" void slice_forward_cuda(OpCall *c) {
    size_t size = dtype_size(c->in[0]->dtype);
    size == 4 ? copy_out<uint32_t>(c) : size == 2 ? copy_out<uint16_t>(c) : copy_out<uint8_t>(c);
}

extern "C" void slice_backward_cuda(OpCall *c) {
    c->in[0]->dtype == DT_BF16 ? put_back<bf16>(c) : put_back<float>(c);
}
