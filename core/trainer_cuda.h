/* trainer_cuda: an update of the training loop on the GPU. Weights, gradients and moments live there; each
 * update sends the batch, runs forward, backward, reduction and optimizer as one captured graph, and reads
 * back three numbers while the next batch is fetched. Inside of core/trainer.c. */
#ifndef LETHE_TRAINER_CUDA_H
#define LETHE_TRAINER_CUDA_H

#include "core/train.h"

/* Collective, all. `t` has its parameters, buckets and step; moves the parameters to the device. */
bool trainer_cuda_open(Trainer *t, const TrainJob *job, const OptimPart *part, int parts, Error *e);
void trainer_cuda_close(Trainer *t);
bool trainer_cuda_update(Trainer *t, int64_t index, TrainResult *out, Error *e);
void trainer_cuda_swap_average(Trainer *t);
/* Of core/trainer.c: what this rank's part of a batch counts for in the gradient of an update; */
double trainer_share(const Trainer *t, const Batch *batch);
/* collective: the error about an update whose loss or gradient (`what`) is not finite. */
bool trainer_blame(Trainer *t, int64_t index, const char *what, Error *e);

/* Weights to Params.value, moments and average (those that there are) to slab[0..2] in the layout of the
 * gradients; slab NULL on ranks but the first. And back, from rank 0's. */
bool trainer_cuda_fetch(Trainer *t, real *const slab[3], Error *e);
bool trainer_cuda_put(Trainer *t, real *const slab[3], bool moments, Error *e);

#endif
