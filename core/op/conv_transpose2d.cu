/* conv_transpose2d on CUDA: the convolution that leads from y to x, run the other way by cuDNN. */
#include "core/op/conv_run.cuh"
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
    conv_run_forward(c, &v, true);
}

extern "C" void conv_transpose2d_backward_cuda(OpCall *c) {
    Conv v = conv_of(c);
    conv_run_backward(c, &v, true);
}
