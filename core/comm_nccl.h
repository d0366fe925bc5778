/* comm_nccl: what ranks with a GPU each send each other, by NCCL: gradients and weights. Its communicator is
 * made with MPI's help and never blocks: every call is looked after until it is done or the time is over.
 * Work goes to DEVICE_REDUCE and is part of a captured step. In a build without CUDA nothing may call these.
 */
#ifndef LETHE_COMM_NCCL_H
#define LETHE_COMM_NCCL_H

#include "core/comm.h"

C_BEGIN

/* Collective. After device_open. */
bool nccl_open(Error *e);
void nccl_close(void);

/* Begins when the work that is now on DEVICE_STEP is done. */
void nccl_start(const CommWork *w);
/* DEVICE_STEP goes on when all that was begun is done. */
void nccl_join(void);

/* Sums over the ranks of n device values, on DEVICE_STEP's way. */
void nccl_sum_double(double *p, int n);
void nccl_sum_float(float *p, int n);

/* Has the network, or another rank, broken the communicator? Then a line about it. */
bool nccl_broken(char *text, size_t size);

C_END

#endif
