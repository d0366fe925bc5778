/* buckets: the gradients of all ranks, added up while backward still runs. The slab of gradients is cut into
 * stretches of equal length; backward fills it from the end, and as soon as a stretch is whole it travels (Li
 * et al. 2020, PyTorch Distributed, 3.2.3). They travel from the last to the first on every rank, whatever
 * backward does.
 *
 * With sharding (ZeRO stage 1; Rajbhandari et al. 2020, 5.1) rank r receives the r-th piece of every stretch
 * alone, updates the weights of its pieces, and all ranks then collect the weights. */
#ifndef LETHE_BUCKETS_H
#define LETHE_BUCKETS_H

#include "core/comm.h"
#include "core/optim.h"

typedef struct Bucket {
    int64_t begin, end; /* elements of the slab */
    int waits;          /* parameters in it whose gradient is not whole yet */
    CommWork work;
} Bucket;

typedef struct Buckets {
    Params *params;
    Bucket *list; /* by place */
    int count;
    int next; /* the next to travel; -1: all are under way */
    bool shard;
    OptimPart *part; /* [count]: of this rank; NULL without sharding */
} Buckets;

/* What params_train must round up to, so that stretches divide into pieces. */
int64_t buckets_multiple(void);

/* `bytes`: about as long shall a stretch be. */
bool buckets_open(Buckets *b, Params *params, int64_t bytes, bool shard, Error *e);
void buckets_close(Buckets *b);

/* Before the backward whose gradients shall travel. Nothing may add to gradients after they were told of. */
void buckets_begin(Buckets *b);
/* For Step.written: `self` is the Buckets. */
void buckets_written(void *self, Tensor *param);
/* Collective. After backward: sends what is left, waits for all. Gradients that no rank wrote are zero. */
void buckets_finish(Buckets *b);
/* Collective. After the update: every rank's weights everywhere. Nothing without sharding. */
void buckets_collect(Buckets *b);

/* Collective. Moments of all ranks into `slab` (layout of the gradients; rank 0, else NULL), and back. */
void buckets_gather(const Buckets *b, const real *mine, real *slab);
bool buckets_spread(const Buckets *b, real *mine, const real *slab, Error *e);

#endif
