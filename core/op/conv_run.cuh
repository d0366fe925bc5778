/* conv_run: conv2d and conv_transpose2d on CUDA, which are one convolution v run either way: turned, the op's
 * input is what v writes, and its output what v reads. Products are cuDNN's; the bias is added, and its
 * gradient summed, by own kernels. */
#ifndef LETHE_OP_CONV_RUN_CUH
#define LETHE_OP_CONV_RUN_CUH

#include "core/cuda_conv.h"
#include "core/cuda_values.h"

/* cuda_conv with what the op calls input and output. */
static void conv_product(OpCall *c, ConvWay way, DType type, const Conv *v, bool turned, const void *in,
                         const void *w, const void *out) {
    cuda_conv(c, way, type, v, turned ? out : in, w, turned ? in : out);
}

static void conv_run_forward(OpCall *c, const Conv *v, bool turned) {
    DType type = c->step->compute;
    Operand x = operand_open(c, c->in[0], type), w = operand_open(c, c->in[1], type);
    conv_product(c, turned ? CONV_DATA : CONV_FORWARD, type, v, turned, x.data, w.data, c->out[0]->data);
    operand_close(c, &w);
    operand_close(c, &x);
    if (c->in[2]) planes_shift_cuda(c->out[0], tensor_real(c->in[2]));
}

static void conv_run_weight(OpCall *c, const Conv *v, bool turned, const Tensor *dy) {
    bool fresh;
    Tensor *dw = op_grad(c, 1, &fresh);
    if (!dw) return;
    Operand x = operand_open(c, c->in[0], dy->dtype);
    Result to = result_open(c, dw, dy->dtype, fresh);
    conv_product(c, CONV_WEIGHT, dy->dtype, v, turned, x.data, to.data, dy->data);
    result_close(c, &to);
    operand_close(c, &x);
}

static void conv_run_backward(OpCall *c, const Conv *v, bool turned) {
    const Tensor *dy = c->out[0]->grad;
    bool fresh;
    Tensor *db = op_grad(c, 2, &fresh);
    if (db) planes_sum_cuda(dy, tensor_real(db), fresh);
    conv_run_weight(c, v, turned, dy);
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    Operand w = operand_open(c, c->in[1], dy->dtype);
    Result to = result_open(c, dx, dy->dtype, fresh);
    conv_product(c, turned ? CONV_FORWARD : CONV_DATA, dy->dtype, v, turned, to.data, w.data, dy->data);
    result_close(c, &to);
    operand_close(c, &w);
}

#endif
