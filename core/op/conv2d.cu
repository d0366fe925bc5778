/* conv2d on CUDA. */
#include "core/op/conv_run.cuh"
#include "core/ops.h"

static Conv conv_of(const OpCall *c) {
    const Tensor *x = c->in[0], *w = c->in[1], *y = c->out[0];
    Conv v = {};
    v.batch = x->dim[0], v.groups = c->i[2], v.in = x->dim[1], v.high = x->dim[2], v.wide = x->dim[3];
    v.out = w->dim[0], v.k_high = w->dim[2], v.k_wide = w->dim[3];
    v.high_out = y->dim[2], v.wide_out = y->dim[3], v.stride = c->i[0], v.pad = c->i[1];
    return v;
}

extern "C" void conv2d_forward_cuda(OpCall *c) {
    Conv v = conv_of(c);
    conv_run_forward(c, &v, false);
}

extern "C" void conv2d_backward_cuda(OpCall *c) {
    Conv v = conv_of(c);
    conv_run_backward(c, &v, false);
}
