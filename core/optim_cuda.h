/* optim_cuda: the optimizer's update on the GPU, twin of optim.c, over this rank's parts of the slabs.
 *
 * Slabs are f32 in device memory. Gradients, values, their bf16 copies and averages have the layout of
 * params->grad, and pointers to them are those of the whole slabs: element i of each belongs together.
 * Moments are those of this rank's parts alone (OptimPart.at). One part {0, params->trained, 0} is all.
 *
 * An update is, in this order and all on cuda.stream:
 *
 *     optim_cuda_step      the numbers of this update go to the device: outside of a captured graph
 *     optim_cuda_squares   sum of squares of the gradient -> *squares. Ranks with other parts add theirs up
 *     optim_cuda_judge     norm, factor of clipping, whether all is finite -> *verdict
 *     optim_cuda_norms     LARS alone: sums of squares of each tensor -> norms. Ranks add theirs up
 *     optim_cuda_update    the new moments, values, bf16 copies and averages; nothing if the verdict is no
 *     optim_cuda_average   the averages by themselves, for ranks that learn the values of others after the
 *                          update and gave no average to it
 *
 * All but the first may be captured. Sums are made in a fixed order that does not depend on the GPU. */
#ifndef LETHE_OPTIM_CUDA_H
#define LETHE_OPTIM_CUDA_H

#include "core/optim.h"

/* What changes from update to update. In double, as optim.c has it; kernels round where it rounds. */
typedef struct OptimScalars {
    double lr;
    double bias; /* AdamW: 1 - beta1^t */
    double root; /* AdamW: 1 / sqrt(1 - beta2^t) */
} OptimScalars;

typedef struct OptimVerdict {
    double norm;  /* of the whole gradient, before clipping */
    float scale;  /* what the gradient is multiplied with: torch.nn.utils.clip_grad_norm_ */
    int32_t fine; /* norm and loss are finite: the update is made */
} OptimVerdict;

/* A parameter, and its pieces in the table of chunks: none where all of it is other ranks'. */
typedef struct OptimSpan {
    int64_t chunk, chunks;
    double lr_scale, decay;
    bool adapt; /* LARS: of more than one axis */
} OptimSpan;

/* What one block does at a time: elements from .. from + count - 1 of the slabs, whose moments stand at `at`.
 */
typedef struct OptimChunk {
    int64_t from, at;
    int32_t count, span;
} OptimChunk;

typedef struct OptimCuda {
    OptimSettings set;
    int64_t trained; /* elements of the whole slabs */
    int64_t chunks;
    int32_t spans; /* one a trained parameter */
    /* Device memory: */
    OptimSpan *span;
    OptimChunk *chunk;
    OptimScalars *scalars;
    OptimVerdict *verdict;
    double *squares; /* [1] */
    double *norms;   /* LARS: [spans][2], sums of squares of p and of clipped gradient + decay * p */
    double *partial; /* sums of single chunks */
} OptimCuda;

typedef struct OptimSlabs {
    const float *grad;
    float *value, *first; /* first: momentum for SGD and LARS */
    float *second;        /* AdamW alone */
    bf16 *half;           /* a bf16 copy of value to keep up to date, or NULL */
    float *average;       /* EMA, or NULL */
} OptimSlabs;

C_BEGIN

/* After params_train and layer-wise decay: lr_scale and decay are read now. Of `params` the headers are used,
 * no values. `part` is copied; NULL: all. Ends the program when memory is out. */
void optim_cuda_open(OptimCuda *o, const OptimSettings *set, const Params *params, const OptimPart *part,
                     int parts);
void optim_cuda_close(OptimCuda *o);

/* The numbers of update `step`, which counts from 1. */
OptimScalars optim_cuda_scalars(const OptimSettings *set, int64_t step, double lr);
void optim_cuda_step(const OptimCuda *o, int64_t step, double lr);

void optim_cuda_squares(const OptimCuda *o, const float *grad);
/* loss: a device scalar, or NULL. */
void optim_cuda_judge(const OptimCuda *o, const float *loss);
void optim_cuda_norms(const OptimCuda *o, const OptimSlabs *s);
void optim_cuda_update(const OptimCuda *o, const OptimSlabs *s);
void optim_cuda_average(const OptimCuda *o, const OptimSlabs *s);

C_END

#endif
