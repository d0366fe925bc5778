/* cuda_attention: attention in bf16 without a bias, by cuDNN's fused kernels; core/op/attention.cu has the
 * kernels for all else. Plans are made at the first use of a shape and kept. Main thread only. */
#ifndef LETHE_CUDA_ATTENTION_H
#define LETHE_CUDA_ATTENTION_H

#include "core/op.h"

/* Element (sample b, token t, head h, channel j) stands at data[(b * tokens + t) * row + h * d + j]. */
typedef struct AttentionShape {
    int64_t batch, heads, d, n, m; /* n queries, m keys */
    int64_t q_row, k_row;          /* of q, dq; of k, v, dk, dv. Rows of o and dy are heads * d */
    int64_t causal;
} AttentionShape;

typedef struct AttentionData {
    const bf16 *q, *k, *v, *dy;
    bf16 *o, *dq, *dk, *dv; /* all that is written is overwritten */
    float *logs;            /* (batch, heads, n): log of each row's sum of exponents */
} AttentionData;

C_BEGIN

/* True where this shape is known to be taken: to be asked before the two calls. */
bool cuda_attention_takes(const AttentionShape *s, bool backward);

/* q, k, v -> o, logs. */
void cuda_attention_forward(OpCall *c, const AttentionShape *s, const AttentionData *t);
/* q, k, v, o, logs, dy -> dq, dk, dv. The same bits every time when cuda.exact. */
void cuda_attention_backward(OpCall *c, const AttentionShape *s, const AttentionData *t);

/* For tests: why a shape is not taken, and how much scratch memory it wants. */
const char *cuda_attention_why(const AttentionShape *s, bool backward);
int64_t cuda_attention_scratch(const AttentionShape *s, bool backward);

C_END

#endif
