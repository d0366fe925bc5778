/* conv_transpose2d on CUDA: the convolution that leads from y to x, run the other way by cuDNN. */
#include "core/cuda_conv.h"
#include "core/cuda_values.h"
#include "core/ops.h"

static Conv conv_of(const OpCall *c) {
    const Tensor *x = c->in[0], *w = c->in[1], *y = c->out[0];
    Conv v = {};
    v.batch = x->dim[0], v.groups = c->i[2], v.out = x->dim[1], v.high_out = x->dim[2];
    v.wide_out = x->dim[3], v.in = y->dim[1], v.high = y->dim[2], v.wide = y->dim[3];
    v.k_high = w->dim[2], v.k_wide = w->dim[3], v.stride = c->i[0], v.pad = c->i[1];
    return v;
}

extern "C" void conv_transpose2d_forward_cuda(OpCall *c) {
    Conv v = conv_of(c);
    DType type = c->step->compute;
    Operand x = operand_open(c, c->in[0], type), w = operand_open(c, c->in[1], type);
    cuda_conv(c, CONV_DATA, type, &v, c->out[0]->data, w.data, x.data);
    operand_close(c, &w);
    operand_close(c, &x);
    if (c->in[2]) planes_shift_cuda(c->out[0], tensor_real(c->in[2]));
}

static void backward_weight(OpCall *c, const Conv *v, const Tensor *dy) {
    bool fresh;
    Tensor *dw = op_grad(c, 1, &fresh);
    if (!dw) return;
    Operand x = operand_open(c, c->in[0], dy->dtype);
    Result to = result_open(c, dw, dy->dtype, fresh);
    cuda_conv(c, CONV_WEIGHT, dy->dtype, v, dy->data, to.data, x.data);
    result_close(c, &to);
    operand_close(c, &x);
}

extern "C" void conv_transpose2d_backward_cuda(OpCall *c) {
    Conv v = conv_of(c);
    const Tensor *dy = c->out[0]->grad;
    bool fresh;
    Tensor *db = op_grad(c, 2, &fresh);
    if (db) planes_sum_cuda(dy, tensor_real(db), fresh);
    backward_weight(c, &v, dy);
    Tensor *dx = op_grad(c, 0, &fresh);
    if (!dx) return;
    Operand w = operand_open(c, c->in[1], dy->dtype);
    Result to = result_open(c, dx, dy->dtype, fresh);
    cuda_conv(c, CONV_FORWARD, dy->dtype, &v, dy->data, w.data, to.data);
    result_close(c, &to);
    operand_close(c, &w);
}
