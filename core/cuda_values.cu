#include "core/cuda_values.h"

#include "core/op/rows.cuh"

enum { THREADS = 256 };

/* ---- conversion and addition ---- */

static Tensor flat(DType type, const void *data, int64_t n) {
    Tensor t = {};
    t.data = (void *)data;
    t.dtype = type;
    t.ndim = 1;
    t.dim[0] = n;
    return t;
}

/* to += from, or to = from when fresh: n values of either float type. */
static void values_add(DType to_type, void *to, DType from_type, const void *from, int64_t n, bool fresh) {
    Tensor a = flat(to_type, to, n), b = flat(from_type, from, n);
    tensor_accumulate_cuda(&a, &b, fresh);
}

Operand operand_open(OpCall *c, const Tensor *t, DType type) {
    if (!t) return {NULL, NULL};
    if (t->dtype == type) return {t->data, NULL};
    const bf16 *kept = type == DT_BF16 ? cuda_half(t) : NULL;
    if (kept) return {kept, NULL};
    int64_t n = tensor_count(t);
    void *to = op_scratch(c, (size_t)n * dtype_size(type));
    values_add(type, to, t->dtype, t->data, n, true);
    return {to, to};
}

void operand_close(OpCall *c, Operand *o) {
    if (o->scratch) op_scratch_free(c, o->scratch);
    *o = {NULL, NULL};
}

Result result_open(OpCall *c, Tensor *to, DType type, bool fresh) {
    Result r = {to, type, fresh, to->data, NULL};
    if (!fresh || to->dtype != type)
        r.data = r.scratch = op_scratch(c, (size_t)tensor_count(to) * dtype_size(type));
    return r;
}

void result_close(OpCall *c, Result *r) {
    if (!r->scratch) return;
    values_add(r->to->dtype, r->to->data, r->type, r->scratch, tensor_count(r->to), r->fresh);
    op_scratch_free(c, r->scratch);
}

void columns_sum(OpCall *c, DType type, const void *x, int64_t rows, int64_t cols, float *sum, bool fresh) {
    Tensor t = flat(type, x, rows * cols);
    with_data(&t, [&](auto *from) {
        fold(c, wide(cols, from, sum), fold_data(from, 0, cols), sum, 1, rows, cols, 1, fresh);
    });
}

/* ---- pictures ---- */

template <class T>
__global__ static void shift_planes(T *x, const float *shift, int64_t n, int64_t planes, int64_t places) {
    FOR_GRID(i, n) store(x + i, load(x + i) + shift[i / places % planes]);
}

/* A block a plane: sample after sample, each thread its places. */
template <class T>
__global__ static void sum_planes(const T *x, int64_t batch, int64_t planes, int64_t places, float *sum,
                                  bool fresh) {
    for (int64_t k = blockIdx.x; k < planes; k += gridDim.x) {
        float v = 0;
        for (int64_t i = threadIdx.x; i < batch * places; i += blockDim.x)
            v += load(x + (i / places * planes + k) * places + i % places);
        v = block_sum(v);
        if (threadIdx.x == 0) sum[k] = fresh ? v : sum[k] + v;
    }
}

static int64_t places_of(const Tensor *x) {
    return tensor_count(x) / (x->dim[0] * x->dim[1]);
}

void planes_shift_cuda(const Tensor *x, const float *shift) {
    int64_t n = tensor_count(x), places = places_of(x);
    if (x->dtype == DT_BF16)
        LAUNCH(shift_planes, cuda_blocks(n, THREADS), THREADS, tensor_bf16(x), shift, n, x->dim[1], places);
    else
        LAUNCH(shift_planes, cuda_blocks(n, THREADS), THREADS, tensor_real(x), shift, n, x->dim[1], places);
}

void planes_sum_cuda(const Tensor *x, float *sum, bool fresh) {
    int64_t batch = x->dim[0], planes = x->dim[1], places = places_of(x);
    if (x->dtype == DT_BF16)
        LAUNCH(sum_planes, cuda_blocks(planes, 1), THREADS, tensor_bf16(x), batch, planes, places, sum,
               fresh);
    else
        LAUNCH(sum_planes, cuda_blocks(planes, 1), THREADS, tensor_real(x), batch, planes, places, sum,
               fresh);
}
