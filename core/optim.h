/* optim: AdamW, SGD with momentum and LARS over a parameter store, the learning-rate schedule, and the weight
 * average (EMA). Settings as in the recipe; formulas as in torch.optim and MAE's util/lars.py. */
#ifndef LETHE_OPTIM_H
#define LETHE_OPTIM_H

#include "core/params.h"
#include "core/recipe.h"

typedef enum { OPTIM_ADAMW, OPTIM_SGD, OPTIM_LARS } OptimKind;
typedef enum { SCHEDULE_COSINE, SCHEDULE_CONSTANT, SCHEDULE_STEP } ScheduleKind;

#define OPTIM_FIELDS(X)                                                                                      \
    X(CHOICE, kind, "optim.name", "\"adamw\"", 0, 0, "adamw|sgd|lars", "the optimizer")                      \
    X(REAL, blr, "optim.blr", "0.00015", 0, 1e3, "",                                                         \
      "base learning rate: lr = blr * batch * accumulate / 256")                                             \
    X(REAL, lr, "optim.lr", "0", 0, 1e3, "", "the learning rate itself; 0: from optim.blr")                  \
    X(REAL, weight_decay, "optim.weight_decay", "0.05", 0, 10, "",                                           \
      "AdamW: decoupled; not on biases and norms")                                                           \
    X(REAL, beta1, "optim.beta1", "0.9", 0, 0.99999, "", "AdamW: decay of the first moment")                 \
    X(REAL, beta2, "optim.beta2", "0.95", 0, 0.999999, "", "AdamW: decay of the second moment")              \
    X(REAL, eps, "optim.eps", "1e-8", 0, 1, "", "AdamW: added to the root of the second moment")             \
    X(REAL, momentum, "optim.momentum", "0.9", 0, 0.99999, "", "SGD and LARS")                               \
    X(REAL, trust, "optim.trust", "0.001", 0, 1, "", "LARS: trust coefficient")                              \
    X(REAL, layer_decay, "optim.layer_decay", "1", 0.01, 1, "",                                              \
      "learning rate of layer i is times decay^(depth + 1 - i)")                                             \
    X(REAL, clip, "optim.clip", "0", 0, 1e9, "", "largest norm of the whole gradient; 0: not clipped")       \
    X(REAL, ema, "optim.ema", "0", 0, 0.999999, "",                                                          \
      "decay of a running average of the weights, used by evaluation; 0: none")
typedef struct OptimSettings {
    RECIPE_MEMBERS(OPTIM_FIELDS)
} OptimSettings;
extern const RecipeTable optim_table;

#define SCHEDULE_FIELDS(X)                                                                                   \
    X(CHOICE, kind, "schedule.name", "\"cosine\"", 0, 0, "cosine|constant|step", "shape after the warm-up")  \
    X(REAL, warmup, "schedule.warmup_epochs", "0", 0, 1e6, "", "epochs of linear warm-up from 0")            \
    X(REAL, min_lr, "schedule.min_lr", "0", 0, 1e3, "", "where the cosine ends")                             \
    X(REAL3, drops, "schedule.drops", "[0, 0, 0]", 0, 1e6, "",                                               \
      "step: epochs from which on the rate is less; 0: none")                                                \
    X(REAL, drop_factor, "schedule.drop_factor", "0.1", 0, 1, "", "step: times this, each time")
typedef struct ScheduleSettings {
    RECIPE_MEMBERS(SCHEDULE_FIELDS)
} ScheduleSettings;
extern const RecipeTable schedule_table;

/* The learning rate at a fractional epoch: MAE's util/lr_sched.py. The very first step has lr 0 under
 * warm-up. */
double schedule_lr(const ScheduleSettings *s, double lr, double epoch, double epochs);

/* A stretch of the slabs of trained parameters that this rank updates: elements begin .. end - 1; its moments
 * stand from `at` on. Without sharding there is one: all. */
typedef struct OptimPart {
    int64_t begin, end, at;
} OptimPart;

typedef struct Optim {
    const OptimSettings *set;
    Params *params;
    int64_t steps; /* updates made */
    OptimPart *part;
    int parts;
    bool sharded;         /* other ranks have other parts (ZeRO stage 1; Rajbhandari et al. 2020) */
    real *first, *second; /* AdamW: moments; SGD, LARS: first = momentum, no second. Of this rank's parts */
    real *average;        /* EMA of the trained parameters, in the layout of params->grad, or NULL */
    double *partial;      /* of the norm: one sum a stretch */
    int64_t stretches;
} Optim;

/* How many elements they hold together. */
int64_t optim_elements(const OptimPart *part, int parts);

/* `part` NULL: all of it. Copied. */
bool optim_open(Optim *o, const OptimSettings *set, Params *params, const OptimPart *part, int parts,
                Error *e);
void optim_close(Optim *o);
/* Settings alone: the state is the GPU's (core/optim_cuda.h). Never fails. */
bool optim_settings(Optim *o, const OptimSettings *set, Params *params, bool sharded);

/* Square root of the sum of squares of all gradients, summed in a fixed order. Not finite if any is not.
 * Collective where sharded. */
double optim_norm(Optim *o);
/* One update of this rank's parts with the gradients times `scale` (clipping). */
void optim_update(Optim *o, double lr, double scale);
/* Moves the average towards the weights, when all of them are updated. */
void optim_average(Optim *o);
/* Puts the averaged weights in the model's place, and back: swaps. Does nothing without an EMA. */
void optim_swap_average(Optim *o);
/* The optimizer's tensors for a checkpoint: kind 0 "m.NAME", 1 "v.NAME", 2 "ema.NAME". i < params->count;
 * NULL where parameter i has none. The header is written to *room; its data lies in `slab`, which has the
 * layout of params->grad. */
Tensor *optim_tensor(const Optim *o, int kind, int i, real *slab, Tensor *room);

#endif
