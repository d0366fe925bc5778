/* linear on CUDA: the products are cuBLASLt's, with bias, GELU and the gradient of the bias in them where it
 * has kernels for that; kernels of our own do what it does not.
 * cuBLASLt's GELU is the tanh form: within 5e-4 of the exact one, for most values less than bf16 rounds by.
 * It is used in bf16 alone; f32 has the exact one, and so has the derivative in both. */
#include "core/cuda.h"
#include "core/cuda_gemm.h"
#include "core/cuda_values.h"
#include "core/ops.h"

enum { THREADS = 256, PACK = 8 };

/* ---- activations ---- */

__device__ static float activated(float h, int64_t kind) {
    if (kind == ACT_GELU) return 0.5f * h * (1 + erff(h * 0.70710678118f));
    if (kind == ACT_RELU) return h > 0 ? h : 0;
    return h;
}

__device__ static float slope(float h, int64_t kind) {
    if (kind == ACT_RELU) return h > 0 ? 1 : 0;
    return 0.5f * (1 + erff(h * 0.70710678118f)) + h * 0.39894228040f * expf(-0.5f * h * h);
}

/* h += bias (none: NULL), y = act(h). y may be h: then h is not kept. */
template <class T>
__global__ static void finish(T *h, const T *bias, T *y, int64_t total, int64_t n, int64_t kind) {
    FOR_GRID(i, total) {
        float v = load(h + i);
        if (bias) v += load(bias + i % n);
        if (bias && y != h) store(h + i, v);
        store(y + i, activated(v, kind));
    }
}

/* PACK values in one go: 16 bytes of bf16. */
template <class T> struct alignas(16) Pack { T v[PACK]; };

/* dh = dy act'(h); dh may be dy. */
template <class T> __global__ static void turn_back(const T *h, const T *dy, T *dh, int64_t n, int64_t kind) {
    FOR_GRID(i, n / PACK) {
        Pack<T> x = ((const Pack<T> *)h)[i], g = ((const Pack<T> *)dy)[i];
        for (int j = 0; j < PACK; j++) store(&g.v[j], load(&g.v[j]) * slope(load(&x.v[j]), kind));
        ((Pack<T> *)dh)[i] = g;
    }
    FOR_GRID(j, n % PACK) {
        int64_t i = n / PACK * PACK + j;
        store(dh + i, load(dy + i) * slope(load(h + i), kind));
    }
}

/* ---- forward ---- */

static Mat rows_first(const void *data, DType type, int64_t rows, int64_t cols) {
    return {(void *)data, type, rows, cols, cols, 1};
}

template <class T> static void run_finish(OpCall *c, void *h, const void *bias) {
    int64_t n = c->in[1]->dim[0], total = tensor_count(c->out[0]);
    LAUNCH(finish, cuda_blocks(total, THREADS), THREADS, (T *)h, (const T *)bias, (T *)c->out[0]->data, total,
           n, c->i[0]);
}

/* All in one call, in bf16 with GELU. */
static bool forward_whole(OpCall *c, Mat x, Mat w, Mat y, const void *bias) {
    if (c->i[0] != ACT_GELU || y.dtype != DT_BF16) return false;
    GemmMore more = {};
    more.bias = bias;
    more.gelu = true;
    more.pre = c->save[0] ? c->save[0]->data : NULL;
    return cuda_gemm(x, w, y, &more, false);
}

static void forward_parts(OpCall *c, Mat x, Mat w, Mat h, const void *bias) {
    GemmMore more = {};
    more.bias = bias;
    if (bias && cuda_gemm(x, w, h, &more, false))
        bias = NULL;
    else
        cuda_gemm(x, w, h, NULL, false);
    if (bias || c->i[0] != ACT_NONE)
        h.dtype == DT_BF16 ? run_finish<bf16>(c, h.data, bias) : run_finish<float>(c, h.data, bias);
}

extern "C" void linear_forward_cuda(OpCall *c) {
    DType type = c->step->compute;
    int64_t m = tensor_rows(c->in[0]), k = tensor_last(c->in[0]), n = c->in[1]->dim[0];
    Operand x = operand_open(c, c->in[0], type), w = operand_open(c, c->in[1], type);
    Operand b = operand_open(c, c->in[2], type);
    Mat left = rows_first(x.data, type, m, k), right = mat_transposed(rows_first(w.data, type, n, k));
    Mat y = rows_first(c->out[0]->data, type, m, n), h = y;
    if (c->save[0]) h.data = c->save[0]->data;
    if (!forward_whole(c, left, right, y, b.data)) forward_parts(c, left, right, h, b.data);
    operand_close(c, &b);
    operand_close(c, &w);
    operand_close(c, &x);
}

/* ---- backward ---- */

template <class T> static void run_turn_back(OpCall *c, const Tensor *dy, void *dh) {
    int64_t total = tensor_count(dy);
    LAUNCH(turn_back, cuda_blocks(total / PACK + 1, THREADS), THREADS, (const T *)c->save[0]->data,
           (const T *)dy->data, (T *)dh, total, c->i[0]);
}

/* dh in the memory of dy, which nobody reads again, or in *room when somebody asked to keep it. */
static Mat gradient_inside(OpCall *c, void **room) {
    const Tensor *dy = c->out[0]->grad;
    Mat dh = rows_first(dy->data, dy->dtype, tensor_rows(dy), tensor_last(dy));
    if (!c->save[0]) return dh;
    if (dy->keep_grad) dh.data = *room = op_scratch(c, tensor_bytes(dy));
    dy->dtype == DT_BF16 ? run_turn_back<bf16>(c, dy, dh.data) : run_turn_back<float>(c, dy, dh.data);
    return dh;
}

/* dw and db in one product: false where cuBLASLt cannot. */
static bool gradients_together(OpCall *c, Mat dh, Mat x, Mat dw, bool dw_fresh, Tensor *db, bool db_fresh) {
    Result sum = result_open(c, db, DT_F32, db_fresh);
    GemmMore more = {};
    more.row_sum = sum.data;
    bool done = cuda_gemm(mat_transposed(dh), x, dw, &more, !dw_fresh);
    if (done)
        result_close(c, &sum);
    else if (sum.scratch)
        op_scratch_free(c, sum.scratch);
    return done;
}

static void backward_parameters(OpCall *c, Mat dh) {
    bool dw_fresh, db_fresh;
    Tensor *db = op_grad(c, 2, &db_fresh), *dw = op_grad(c, 1, &dw_fresh);
    int64_t k = tensor_last(c->in[0]);
    if (dw) {
        Operand x = operand_open(c, c->in[0], dh.dtype);
        Mat given = rows_first(x.data, dh.dtype, dh.rows, k);
        Mat to = rows_first(dw->data, DT_F32, dh.cols, k);
        if (db && gradients_together(c, dh, given, to, dw_fresh, db, db_fresh))
            db = NULL;
        else
            cuda_gemm(mat_transposed(dh), given, to, NULL, !dw_fresh);
        operand_close(c, &x);
    }
    if (db) columns_sum(c, dh.dtype, dh.data, dh.rows, dh.cols, tensor_real(db), db_fresh);
}

extern "C" void linear_backward_cuda(OpCall *c) {
    void *room = NULL;
    Mat dh = gradient_inside(c, &room);
    backward_parameters(c, dh);
    bool fresh;
    Tensor *dx = op_grad(c, 0, &fresh);
    if (dx) {
        Operand w = operand_open(c, c->in[1], dh.dtype);
        int64_t k = tensor_last(dx);
        cuda_gemm(dh, rows_first(w.data, dh.dtype, dh.cols, k), rows_first(dx->data, dx->dtype, dh.rows, k),
                  NULL, !fresh);
        operand_close(c, &w);
    }
    if (room) op_scratch_free(c, room);
}
