/* unlearn: what a method of unlearning works with. A method knows a model by core/task.h alone, and its data
 * by the sets below; it finds the trained weights in u->task and leaves there the weights that have
 * forgotten.
 *
 * Everything runs on the processor and is the same on any number of ranks: a rank has its part of each batch,
 * losses count by samples, and descent_update adds the gradients up. Functions that return a bool and may
 * fail on one rank alone agree before they do so; all of them are collective. */
#ifndef LETHE_UNLEARN_H
#define LETHE_UNLEARN_H

#include "core/log.h"
#include "core/train.h"

#define UNLEARN_FIELDS(X)                                                                                    \
    X(CHOICE, method, "unlearn.method", "\"salun\"", 0, 0, UNLEARN_METHODS, "how to forget")                 \
    X(INT, seed, "unlearn.seed", "0", 0, 1e9, "", "of what unlearning draws: orders, wrong labels, noise")   \
    X(INT, batch, "unlearn.batch", "0", 0, 1e6, "", "samples a step; 0: train.batch")                        \
    X(INT, forget_batch, "unlearn.forget_batch", "0", 0, 1e6, "", "of the forgotten ones; 0: unlearn.batch") \
    X(BOOL, stop, "unlearn.stop", "false", 0, 0, "",                                                         \
      "methods that make passes end after the one in which the forgotten are known no better than unseen "   \
      "samples, or not at all, where their classes are gone")                                                \
    X(REAL, validation, "unlearn.validation", "0.5", 0, 0.9, "",                                             \
      "share of data.test that a method may look at to know when to stop; audits use the rest alone")        \
    X(TEXT, outside, "unlearn.outside", "\"\"", 0, 0, "",                                                    \
      "a folder of other images, for methods that need some (scar)")                                         \
    X(INT, outside_most, "unlearn.outside_most", "10000", 1, 1e7, "", "no more of them than this")

#define UNLEARN_METHODS                                                                                      \
    "retrain|fine_tune|ascent|neggrad|random_label|bad_teacher|scrub|influence|fisher|scar|scar_self|laf|"   \
    "lcodec|ssd|l1_sparse|prune|salun|boundary_shrink|boundary_expand|duck|slug|i2i"

typedef struct UnlearnSettings {
    RECIPE_MEMBERS(UNLEARN_FIELDS)
} UnlearnSettings;
extern const RecipeTable unlearn_table;

typedef enum {
    SET_RETAIN,
    SET_FORGET,
    SET_VALID, /* unseen samples that a method may look at; of classes that stay */
    SET_TEST,  /* unseen samples that only audits look at; of classes that stay */
    SET_KIN,   /* unseen samples of classes that are forgotten whole: other pictures of a forgotten person */
    SET_OUTSIDE, /* images of something else, without labels */
    SETS
} UnlearnSet;

typedef enum {
    FEED_TRAIN,   /* as in training: augmented, in a new order each pass; no mixup or cutmix, nothing left out
                     but a last batch too small for batch norm (unlearn_least) */
    FEED_RETRAIN, /* as in training, in every respect */
    FEED_PLAIN,   /* every sample once a pass, in order, not augmented; a rank has its part of each batch */
    FEED_WHOLE,   /* the same, but all of it on every rank: for what goes sample by sample */
    FEED_MIXED,   /* as FEED_PLAIN, but in an order that is drawn once: a folder's own goes class by class,
                     where   the first or the last batches, or one of them, are no sample of the whole */
    FEED_MIXED_WHOLE, /* as FEED_WHOLE, in that order */
    FEED_EVAL,        /* what TaskClass.evaluate takes */
} FeedKind;

typedef struct Method Method; /* unlearn/method.h */

/* Where models and data come from: the command line's, or a test's. */
typedef struct UnlearnWorld {
    void *self;
    int64_t count[SETS]; /* samples; 0: there is no such set */
    bool whole; /* no retained sample is of a class that a forgotten one has, and the model answers with
                   classes */
    /* Batches of a set. */
    bool (*source)(void *self, UnlearnSet set, FeedKind kind, int64_t batch, uint64_t seed, Source *out,
                   Error *e);
    /* Another model of the same recipe, with fresh weights, and `more` classes more. */
    bool (*model)(void *self, int more, uint64_t seed, Task *out, Error *e);
    /* A method's settings; for those that run another one. */
    const void *(*settings)(void *self, const Method *method);
    const RunSettings *run; /* of the training, as are these */
    const TrainSettings *train;
    const OptimSettings *optim;
    const ScheduleSettings *schedule;
} UnlearnWorld;

typedef struct Unlearn {
    Task *task;
    const UnlearnWorld *world;
    const UnlearnSettings *set;
    Step *step;
    real *origin;    /* [params.values] the weights that came in: never written */
    real *keep;      /* [params.trained] 1, or 0 where a weight stays 0 (pruned); NULL: none is */
    uint64_t seed;   /* of the run and of unlearn.seed */
    Log *log;        /* may be NULL */
    int64_t index;   /* steps so far: keys drop path */
    int64_t updates; /* made, by all descents; planned below, for the progress bar */
    int64_t planned;
    double loss;    /* since the last update, of this rank */
    int64_t images; /* since then */
    double passes;  /* samples that went forward and backward so far, of all ranks */
} Unlearn;

/* `task` holds the trained weights. Gradients are made for all that is not frozen. */
bool unlearn_open(Unlearn *u, Task *task, const UnlearnWorld *world, const UnlearnSettings *set, Error *e);
void unlearn_close(Unlearn *u);

/* Makes normalisation statistics anew, of retained samples alone. Nothing where the model has none. */
bool unlearn_refresh(Unlearn *u, Error *e);

/* ---- batches ---- */

typedef struct Feed {
    Unlearn *u;
    Source source;
    int64_t next, steps; /* steps: batches a pass */
} Feed;

/* Samples that all ranks together must have in a training step (Task.least_batch, sums_ranks). */
int64_t unlearn_least(const Unlearn *u);

/* batch 0: unlearn.batch, or unlearn.forget_batch of the forgotten; never more than the set has. */
bool feed_open(Feed *f, Unlearn *u, UnlearnSet set, FeedKind kind, int64_t batch, Error *e);
void feed_close(Feed *f); /* a zeroed one is fine */
/* The next batch, for ever: pass follows pass. It is valid until the next call. n may be 0 on a rank. */
bool feed_next(Feed *f, const Batch **out, Error *e);

/* ---- one step: zero, then any number of forward and backward passes, then an update or a look ---- */

void unlearn_zero(Unlearn *u);
/* Begins a forward pass of u->task on a batch, training (drop path) or not. */
void unlearn_forward(Unlearn *u, const Batch *b, bool training);
/* Backward, `weight` times; a rank's loss counts by its share of the batch. */
void unlearn_backward(Unlearn *u, Tensor *loss, double weight, const Batch *b);
/* The three of them, for the task's own loss. Nothing on a rank that has no sample. */
void unlearn_loss(Unlearn *u, const Batch *b, bool training, double weight);
/* Gradients of all ranks added up; params.grad then has them everywhere. An error if one is not finite. */
bool unlearn_sum(Unlearn *u, Error *e);

/* The mean gradient of the task's loss over one pass of a set, batches counting by their samples, into out
 * [params.trained]; not training. For other reductions, `each` is called with every batch's own mean
 * gradient, and `out` may be NULL. */
typedef void (*GradientFn)(void *self, const real *grad, double samples);
bool unlearn_gradient(Unlearn *u, UnlearnSet set, FeedKind kind, int64_t batch, real *out, GradientFn each,
                      void *self, Error *e);

/* TaskClass.evaluate's first metric on a set: more_is_better, and in percent where it is a share. */
typedef struct UnlearnScore {
    const char *name;
    double value;
    bool more_is_better;
} UnlearnScore;
bool unlearn_score(Unlearn *u, UnlearnSet set, UnlearnScore *out, Error *e);
/* The score that forgotten samples are to have: 0 where their classes are forgotten whole, since a model that
 * never saw one does not answer with it; else that of unseen samples, by the model as it stands. An error,
 * which speaks of `who`, where there are none to look at; unlearn_has_aim asks that alone, before work is
 * done. */
bool unlearn_has_aim(const Unlearn *u, const char *who, Error *e);
bool unlearn_aim(Unlearn *u, const char *who, UnlearnScore *out, Error *e);
/* Is `now` as far from knowing as `aim`, or farther? */
bool unlearn_reached(const UnlearnScore *now, const UnlearnScore *aim);

/* After a pass: is it enough, if unlearn.stop is set? `done` is left false where it is not. */
bool unlearn_stop(Unlearn *u, bool *done, Error *e);

/* ---- other models ---- */

/* The model as it came in, to compare with. task_close. */
bool unlearn_teacher(Unlearn *u, Task *out, Error *e);
/* Weights between two models of one recipe, whose slabs may be in different orders; a tensor of `to` may have
 * more rows or fewer (classes), of which those that both have are taken. `from` NULL: the weights that came
 * in. */
void unlearn_copy(const Unlearn *u, Task *to, const Task *from);
/* Puts the weights that came in back. */
void unlearn_restore(Unlearn *u);
/* Outputs of another model on the step's batch: off the tape, not training. */
Tensor *unlearn_outputs_of(Unlearn *u, Task *other, const Batch *b);
Tensor *unlearn_features_of(Unlearn *u, Task *other, const Batch *b);

/* ---- descent ---- */

/* What most methods have in common. `name` is a string literal; the settings struct gets these members first.
 */
#define DESCENT_FIELDS(X, name, passes, which, rate, heavy, decay)                                           \
    X(INT, epochs, "unlearn." name ".epochs", passes, 0, 100000, "", "passes")                               \
    X(CHOICE, optimizer, "unlearn." name ".optimizer", "\"" which "\"", 0, 0, "sgd|adamw", "the optimizer")  \
    X(REAL, lr, "unlearn." name ".lr", rate, 0, 1e3, "", "learning rate")                                    \
    X(REAL, momentum, "unlearn." name ".momentum", heavy, 0, 0.99999, "", "SGD's; AdamW has 0.9 and 0.999")  \
    X(REAL, weight_decay, "unlearn." name ".weight_decay", decay, 0, 10, "", "on matrices")                  \
    X(REAL, clip, "unlearn." name ".clip", "0", 0, 1e9, "", "largest norm of the gradient; 0: not clipped")  \
    X(CHOICE, schedule, "unlearn." name ".schedule", "\"constant\"", 0, 0, "constant|cosine",                \
      "cosine: the rate falls to 0")

typedef struct DescentSettings {
    int64_t epochs;
    int optimizer; /* 0: sgd */
    double lr, momentum, weight_decay, clip;
    int schedule; /* 0: constant */
} DescentSettings;
/* Of a settings struct that has those members. */
#define DESCENT_OF(set)                                                                                      \
    &(const DescentSettings) {                                                                               \
        (set)->epochs, (set)->optimizer, (set)->lr, (set)->momentum, (set)->weight_decay, (set)->clip,       \
            (set)->schedule                                                                                  \
    }

typedef struct Descent {
    Unlearn *u;
    DescentSettings set;
    OptimSettings optim_set;
    Optim optim;
    int64_t done, updates; /* updates: of all, for the schedule */
    double factor;         /* of the rate; 1 at first (SCRUB's drops) */
    const real *mask; /* [trained] 1: moves; 0: stays as it came in, to the bit. NULL: all move. Borrowed */
} Descent;

bool descent_open(Descent *d, Unlearn *u, const DescentSettings *set, int64_t updates, Error *e);
void descent_close(Descent *d); /* a zeroed one is fine */
/* Adds the gradients of all ranks up and moves the weights. */
bool descent_update(Descent *d, Error *e);

/* set->epochs passes over the retained samples, down the task's own loss. mask: as in Descent. `each` (may be
 * NULL) is called before every update, when this rank's gradients are there, with the number of the pass. */
typedef void (*DescentEach)(void *self, int64_t epoch);
bool descent_retain(Unlearn *u, const DescentSettings *set, const real *mask, DescentEach each, void *self,
                    Error *e);

#endif
