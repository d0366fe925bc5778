/* train: the one training loop, for every task. */
#ifndef LETHE_TRAIN_H
#define LETHE_TRAIN_H

#include "core/buckets.h"
#include "core/checkpoint.h"
#include "core/device.h"
#include "core/log.h"
#include "core/optim.h"
#include "core/task.h"

#define RUN_FIELDS(X)                                                                                        \
    X(TEXT, about, "about", "\"\"", 0, 500, "", "a line that says what the recipe is for")                   \
    X(CHOICE, task, "task", "\"mae\"", 0, 0, "mae|classify|segment", "what is trained")                      \
    X(INT, seed, "seed", "0", 0, 9007199254740992, "",                                                       \
      "of weights, order, augmentation, masks: of everything random")                                        \
    X(CHOICE, device, "device", "\"auto\"", 0, 0, "auto|cpu|cuda", "where it runs")                          \
    X(CHOICE, dtype, "dtype", "\"f32\"", 0, 0, "f32|bf16", "of matmuls and activations; weights stay f32")   \
    X(INT, threads, "threads", "0", 0, 4096, "", "OpenMP threads; 0: a thread a core")
typedef struct RunSettings {
    RECIPE_MEMBERS(RUN_FIELDS)
} RunSettings;
extern const RecipeTable run_table;

static inline DType run_dtype(const RunSettings *run) {
    return run->dtype == 1 ? DT_BF16 : DT_F32; /* in the order of the choices above */
}

/* Steps run on the GPU where one was opened. */
static inline Backend run_backend(void) {
    return device_opened() ? BACKEND_CUDA : BACKEND_CPU;
}

#define TRAIN_FIELDS(X)                                                                                      \
    X(INT, batch, "train.batch", "64", 1, 1000000, "", "samples a forward pass, over all ranks")             \
    X(INT, accumulate, "train.accumulate", "1", 1, 100000, "", "forward passes an update")                   \
    X(INT, epochs, "train.epochs", "100", 1, 1000000, "", "passes over the data; the schedule's length")     \
    X(INT, steps, "train.steps", "0", 0, 1e12, "", "stop after so many updates; 0: by epochs alone")         \
    X(INT, log_every, "train.log_every", "10", 1, 1000000, "", "updates between rows of metrics.jsonl")      \
    X(INT, eval_every, "train.eval_every", "1", 0, 1000000, "",                                              \
      "epochs between evaluations; 0: only at the end")                                                      \
    X(INT, checkpoint_every, "train.checkpoint_every", "0", 0, 1e12, "",                                     \
      "updates between checkpoints; 0: one an epoch")                                                        \
    X(CHOICE, shard, "train.shard", "\"none\"", 0, 0, "none|optimizer",                                      \
      "optimizer: each rank keeps its part of the optimizer's state (ZeRO stage 1)")                         \
    X(INT, bucket_mb, "train.bucket_mb", "25", 1, 1024, "",                                                  \
      "megabytes of gradients that travel at a time between ranks")                                          \
    X(REAL, comm_timeout, "train.comm_timeout", "300", 1, 1e6, "",                                           \
      "seconds that ranks wait for each other before the job ends")                                          \
    X(BOOL, deterministic, "train.deterministic", "true", 0, 0, "",                                          \
      "GPU: only kernels that give the same bits every time")                                                \
    X(BOOL, cuda_graph, "train.cuda_graph", "true", 0, 0, "", "GPU: an update runs as one captured graph")   \
    X(INT, keep, "train.keep", "2", 0, 100000, "", "newest checkpoints kept beside the best; 0: all")
typedef struct TrainSettings {
    RECIPE_MEMBERS(TRAIN_FIELDS)
} TrainSettings;
extern const RecipeTable train_table;

/* What a run is made of. All borrowed. */
typedef struct TrainJob {
    Task *task;
    Source *train, *test; /* test: NULL if there is none */
    const RunSettings *run;
    const TrainSettings *train_set;
    const OptimSettings *optim;
    const ScheduleSettings *schedule;
    const char *out;    /* the run's folder */
    const char *recipe; /* complete text */
    bool resume;        /* go on from the last whole checkpoint in `out`, or begin if there is none */
} TrainJob;

/* Runs to the end. A loss or gradient that is not finite ends it with ERROR_NUMERIC before that update is
 * made. */
bool train_run(const TrainJob *job, Error *e);

/* ---- the pieces, for `lethe bench` and tests ---- */

typedef struct Trainer {
    Task *task;
    Source *source;
    Step *step;
    Optim optim;
    Buckets buckets;
    struct TrainerCuda *gpu; /* NULL: on the processor */
    char bad[160]; /* the first tensor of an update that was not finite, where Step.check looks for it */
    const TrainSettings *set;
    const ScheduleSettings *schedule;
    double lr; /* peak */
} Trainer;

typedef struct TrainResult {
    double loss, lr, grad_norm, epoch; /* epoch: passes done after this update */
    int64_t images;                    /* of all ranks */
    bool stop;                         /* some rank was asked to stop (core/stop.h) */
} TrainResult;

bool trainer_open(Trainer *t, const TrainJob *job, Error *e); /* Collective. */
void trainer_close(Trainer *t);
/* Collective. Update number `index`, from 0: forward and backward of each batch, then the optimizer. */
bool trainer_update(Trainer *t, int64_t index, TrainResult *out, Error *e);
int64_t trainer_updates(const Trainer *t); /* of the whole run */
/* The averaged weights in the model's place, and back. Nothing without an EMA. */
void trainer_swap_average(Trainer *t);

/* `--init`: takes from a checkpoint or .safetensors file what fits, by name; the task may adapt shapes.
 * Writes to `note` what was taken, what the file lacks and what was left out. An error if nothing fits. */
bool task_init_from(Task *task, const char *path, char *note, size_t note_size, Error *e);

/* Fills all parameters from a checkpoint, strictly. */
bool task_load(Task *task, const Checkpoint *c, Error *e);

#endif
