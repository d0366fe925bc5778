#include "core/cuda_values.h"

#include "core/cuda.h"

enum { THREADS = 256 };

/* ---- conversion and addition ---- */

/* Values are moved PACK at a time where they can be: 16 bytes of bf16. Tensors and scratch begin at multiples
 * of 64 bytes. */
enum { PACK = 8 };
template <class T> struct alignas(16) Pack { T v[PACK]; };

template <class To, class From> __global__ static void add(To *to, const From *from, int64_t n, bool fresh) {
    FOR_GRID(i, n / PACK) {
        Pack<From> x = ((const Pack<From> *)from)[i];
        Pack<To> y;
        if (!fresh) y = ((const Pack<To> *)to)[i];
        for (int j = 0; j < PACK; j++) {
            float v = load(&x.v[j]);
            store(&y.v[j], fresh ? v : load(&y.v[j]) + v);
        }
        ((Pack<To> *)to)[i] = y;
    }
    FOR_GRID(j, n % PACK) {
        int64_t i = n / PACK * PACK + j;
        float v = load(from + i);
        store(to + i, fresh ? v : load(to + i) + v);
    }
}

template <class To, class From> static void run_add(void *to, const void *from, int64_t n, bool fresh) {
    LAUNCH(add, cuda_blocks(n / PACK + 1, THREADS), THREADS, (To *)to, (const From *)from, n, fresh);
}

void values_add(DType to_type, void *to, DType from_type, const void *from, int64_t n, bool fresh) {
    if (to_type == DT_BF16)
        from_type == DT_BF16 ? run_add<bf16, bf16>(to, from, n, fresh)
                             : run_add<bf16, float>(to, from, n, fresh);
    else
        from_type == DT_BF16 ? run_add<float, bf16>(to, from, n, fresh)
                             : run_add<float, float>(to, from, n, fresh);
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

/* ---- sums over rows ---- */

/* Rows are cut into stripes, by their number alone: a block sums 32 columns of one stripe, and a second
 * kernel sums the stripes. Both go through their parts in order. */
enum { COLS = 32, WARPS = 8, STRIPES = 128, STRIPE_LEAST = 64 };

static int stripes_of(int64_t rows) {
    int64_t stripes = (rows + STRIPE_LEAST - 1) / STRIPE_LEAST;
    if (stripes > STRIPES) return STRIPES;
    return stripes < 1 ? 1 : (int)stripes;
}

template <class T>
__global__ static void stripe_sums(const T *x, int64_t rows, int64_t cols, int64_t each, float *part) {
    __shared__ float sum[WARPS][COLS];
    int lane = threadIdx.x % COLS, warp = threadIdx.x / COLS;
    int64_t col = (int64_t)blockIdx.x * COLS + lane, from = blockIdx.y * each;
    int64_t to = from + each < rows ? from + each : rows;
    float v = 0;
    for (int64_t r = from + warp; col < cols && r < to; r += WARPS) v += load(x + r * cols + col);
    sum[warp][lane] = v;
    __syncthreads();
    if (warp || col >= cols) return;
    for (int w = 1; w < WARPS; w++) v += sum[w][lane];
    part[blockIdx.y * cols + col] = v;
}

__global__ static void stripes_join(const float *part, int stripes, int64_t cols, float *sum, bool fresh) {
    FOR_GRID(col, cols) {
        float v = 0;
        for (int s = 0; s < stripes; s++) v += part[s * cols + col];
        sum[col] = fresh ? v : sum[col] + v;
    }
}

void columns_sum(OpCall *c, DType type, const void *x, int64_t rows, int64_t cols, float *sum, bool fresh) {
    int stripes = stripes_of(rows);
    int64_t each = (rows + stripes - 1) / stripes;
    float *part = (float *)op_scratch(c, (size_t)(stripes * cols) * sizeof *part);
    dim3 blocks((unsigned)((cols + COLS - 1) / COLS), (unsigned)stripes);
    if (type == DT_BF16)
        LAUNCH(stripe_sums, blocks, COLS * WARPS, (const bf16 *)x, rows, cols, each, part);
    else
        LAUNCH(stripe_sums, blocks, COLS * WARPS, (const float *)x, rows, cols, each, part);
    LAUNCH(stripes_join, cuda_blocks(cols, THREADS), THREADS, part, stripes, cols, sum, fresh);
    op_scratch_free(c, part);
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
