/* ops: the calls a model is written with. See core/ops.def and the banners in core/op/. */
#ifndef LETHE_OPS_H
#define LETHE_OPS_H

#include "core/step.h"

typedef enum { ACT_NONE, ACT_GELU, ACT_RELU } Activation; /* GELU: exact, 0.5 x (1 + erf(x / sqrt 2)) */

typedef enum {
    PATCH_CHANNEL_FIRST, /* (channel, row, column): the layout of a convolution's weight */
    PATCH_CHANNEL_LAST,  /* (row, column, channel): MAE's target */
} PatchOrder;

typedef enum { POINT_SIGMOID, POINT_TANH, POINT_EXP, POINT_LOG, POINT_GELU, POINT_RELU } PointKind;
typedef enum { ARITH_SUB, ARITH_MUL, ARITH_DIV } ArithKind;
typedef enum { REDUCE_SUM, REDUCE_MEAN } ReduceKind;
typedef enum { LOSS_L1, LOSS_SMOOTH_L1, LOSS_BCE } PointLoss;
typedef enum { MASK_BCE, MASK_FOCAL, MASK_DICE } MaskLoss;
typedef enum { TOP_LEAST, TOP_GREATEST, TOP_NEAR_ZERO } TopKind;
enum { ATTENTION_WIDEST = 512 }; /* the widest head of op_attention */

typedef enum { POOL_MAX, POOL_MEAN } PoolKind;

typedef enum {
    INTERPOLATE_NEAREST,          /* torch's "nearest" */
    INTERPOLATE_BILINEAR,         /* torch's "bilinear", align_corners=False */
    INTERPOLATE_BILINEAR_CORNERS, /* the same with align_corners=True */
    INTERPOLATE_BICUBIC_TORCH,    /* torch's "bicubic": a = -0.75, the border repeated, no antialiasing */
    INTERPOLATE_BILINEAR_PILLOW,  /* Pillow's and torch's antialias=True: the support grows when shrinking */
    INTERPOLATE_BICUBIC_PILLOW,   /* the same with a = -0.5 */
} InterpolateKind;

C_BEGIN

#define OP(name, arguments)                                                                                  \
    Tensor *op_##name arguments;                                                                             \
    extern const Op name##_row;
#include "core/ops.def"
#undef OP

/* x in f32, whichever real type the step computes in. */
Tensor *f32_of(Step *s, Tensor *x);

/* The CUDA twins, in core/op/NAME.cu; a row names those that exist, by ON_CUDA. */
#ifdef LETHE_CUDA
#define OP(name, arguments)                                                                                  \
    void name##_forward_cuda(OpCall *c);                                                                     \
    void name##_backward_cuda(OpCall *c);
#include "core/ops.def"
#undef OP
#endif

C_END

#endif
