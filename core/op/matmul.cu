/* matmul on CUDA: cuBLASLt, one product after the other. */
#include "core/cuda_gemm.h"
#include "core/cuda_values.h"
#include "core/ops.h"

/* Sample n of values shaped like the last two axes of `like`. */
static Mat sample(const Tensor *like, const void *data, DType type, int64_t n) {
    int64_t rows = like->dim[1], cols = like->dim[2];
    return {(char *)data + (size_t)(n * rows * cols) * dtype_size(type), type, rows, cols, cols, 1};
}

extern "C" void matmul_forward_cuda(OpCall *c) {
    DType type = c->step->compute;
    Tensor *y = c->out[0];
    Operand a = operand_open(c, c->in[0], type), b = operand_open(c, c->in[1], type);
    for (int64_t n = 0; n < y->dim[0]; n++)
        cuda_gemm(sample(c->in[0], a.data, type, n), sample(c->in[1], b.data, type, n),
                  sample(y, y->data, DT_F32, n), NULL, false);
    operand_close(c, &b);
    operand_close(c, &a);
}

extern "C" void matmul_backward_cuda(OpCall *c) {
    DType type = c->step->compute;
    Tensor *dy = c->out[0]->grad;
    bool da_fresh, db_fresh;
    Tensor *da = op_grad(c, 0, &da_fresh), *db = op_grad(c, 1, &db_fresh);
    Operand g = operand_open(c, dy, type), a = {}, b = {};
    if (da) b = operand_open(c, c->in[1], type);
    if (db) a = operand_open(c, c->in[0], type);
    for (int64_t n = 0; n < dy->dim[0]; n++) {
        Mat gn = sample(dy, g.data, type, n);
        if (da)
            cuda_gemm(gn, mat_transposed(sample(c->in[1], b.data, type, n)),
                      sample(da, da->data, da->dtype, n), NULL, !da_fresh);
        if (db)
            cuda_gemm(mat_transposed(sample(c->in[0], a.data, type, n)), gn,
                      sample(db, db->data, db->dtype, n), NULL, !db_fresh);
    }
    operand_close(c, &a);
    operand_close(c, &b);
    operand_close(c, &g);
}
