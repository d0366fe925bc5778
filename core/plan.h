/* plan: what an update will need and how long it will take, from shapes alone. FLOPs and step memory come
 * from a dry step (core/step.h): the code that trains, the counts that `lethe bench` shows. Time is a model
 * of four rates; docs/performance.md says what it leaves out. */
#ifndef LETHE_PLAN_H
#define LETHE_PLAN_H

#include "core/train.h"

/* What is planned. Borrowed. */
typedef struct PlanJob {
    Task *task; /* of task_open_dry */
    DType dtype;
    const TrainSettings *train;
    const OptimSettings *optim;
    bool floats; /* batches come to the GPU as numbers, not as bytes: images are mixed or erased */
} PlanJob;

/* What one process needs for the forward and backward of one batch. */
typedef struct PlanNeed {
    int64_t batch;
    double flops;
    int64_t kept, peak; /* bytes of step memory: what backward reads again, and the most in use */
} PlanNeed;

/* Bytes of one process. */
typedef struct PlanMemory {
    int64_t weights, gradients, moments, average, step, images, program, all;
} PlanMemory;

/* A GPU and what joins it to others; in FLOP and bytes a second. */
typedef struct PlanMachine {
    double rate;            /* that a large product of matrices reaches */
    double fraction;        /* of it that training reaches */
    double bandwidth;       /* of the GPU's memory */
    double inside, between; /* links: "bus bandwidth" of nccl-tests, in a machine and beyond */
    int machine;            /* GPUs in a machine */
} PlanMachine;

/* Seconds of one update on some GPUs. */
typedef struct PlanTime {
    double compute, optimizer;
    double reduce, collect; /* gradients and, with sharding, weights on their way */
    double exposed;         /* of both: what nothing hides */
    double step, images_per_second;
    double efficiency; /* images a second beside so many GPUs that need not speak to each other */
} PlanTime;

/* Once, before plan_need: lays out the gradients. */
bool plan_open(const PlanJob *job, Error *e);
bool plan_need(PlanNeed *out, const PlanJob *job, int64_t batch, Error *e);

/* One process on the processor, of which the program itself takes `program` bytes. */
PlanMemory plan_on_cpu(const PlanJob *job, const PlanNeed *need, int64_t program);
/* One of `gpus`, whose moments are divided if `shard`. */
PlanMemory plan_on_gpu(const PlanJob *job, const PlanNeed *need, int64_t gpus, bool shard);
PlanTime plan_time(const PlanJob *job, const PlanNeed *need, const PlanMachine *m, int64_t gpus, bool shard);

#endif
