/* ops: the calls a model is written with. See core/ops.def and the banners in core/op/. */
#ifndef LETHE_OPS_H
#define LETHE_OPS_H

#include "core/step.h"

typedef enum { ACT_NONE, ACT_GELU, ACT_RELU } Activation; /* GELU: exact, 0.5 x (1 + erf(x / sqrt 2)) */

typedef enum {
    PATCH_CHANNEL_FIRST, /* (channel, row, column): the layout of a convolution's weight */
    PATCH_CHANNEL_LAST,  /* (row, column, channel): MAE's target */
} PatchOrder;

#define OP(name, arguments)                                                                                  \
    Tensor *op_##name arguments;                                                                             \
    extern const Op name##_row;
#include "core/ops.def"
#undef OP

#endif
