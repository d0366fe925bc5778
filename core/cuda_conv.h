/* cuda_conv: the three products of core/conv.h on the GPU, by cuDNN: forward, and its two adjoints. The same
 * bits every time; f32 is multiplied as f32. Plans are made at the first use of a shape and kept; in a shape
 * that cuDNN has no plan for the program ends with a line that says so. Main thread only. */
#ifndef LETHE_CUDA_CONV_H
#define LETHE_CUDA_CONV_H

#include "core/conv.h"

typedef enum { CONV_FORWARD, CONV_DATA, CONV_WEIGHT } ConvWay; /* writes y, x, w; from the other two */

C_BEGIN

/* x, w and y are of `type`, f32 or bf16; what is written is overwritten. */
void cuda_conv(OpCall *c, ConvWay way, DType type, const Conv *v, const void *x, const void *w,
               const void *y);

/* For tests: NULL, or why cuDNN has no plan. */
const char *cuda_conv_why(ConvWay way, DType type, const Conv *v);

C_END

#endif
