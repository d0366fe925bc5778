/* task: the one door to a model. The training loop, evaluation, pictures and unlearning ask a model nothing
 * that does not stand here. MAE, classification and segmentation fill it in; detection will. */
#ifndef LETHE_TASK_H
#define LETHE_TASK_H

#include "core/batch.h"
#include "core/params.h"
#include "core/recipe.h"
#include "core/step.h"
#include "core/weights.h"

typedef struct Metric {
    const char *name; /* static */
    double value;
    bool more_is_better;
} Metric;

enum { TASK_METRICS = 8, TASK_NOTE = 1600 };

/* What a task draws: RGB, 8 bits, rows top down. mem_free(pixel). */
typedef struct Picture {
    int width, height;
    uint8_t *pixel; /* [height, width, 3] */
} Picture;

typedef struct Task Task;

typedef enum { ADAPT_TAKEN, ADAPT_LEFT /* the parameter begins anew */, ADAPT_REFUSED } Adapt;

/* What a file of weights turned out to be. An empty recipe: it is known, but Lethe has no such model. */
typedef struct TaskGuess {
    char what[160];    /* for people: "SAM ViT-B", "MAE ViT-L/16 with its decoder" */
    char recipe[1024]; /* JSON of the keys that make this model: {"task": "segment", "model": {"size":
                          "base"}} */
} TaskGuess;

/* Which wrong targets relabel draws: keyed by seed, round and sample id, whatever the batch. */
typedef struct TaskRelabel {
    uint64_t seed;
    uint32_t round;
    bool any; /* the right one may be drawn, too */
} TaskRelabel;

typedef struct TaskClass {
    const char *name;             /* the recipe's "task" */
    const RecipeTable *tables[4]; /* model.* fields; NULL-terminated */
    /* Fills task->self and declares the parameters. `classes`: of the data set, 0 where it has none. */
    bool (*create)(Task *task, Recipe *recipe, int classes, Error *e);
    void (*destroy)(Task *task);
    /* After params_build, with the weights of --init in place or not (`initialised`): tables, heads,
     * freezing. */
    void (*prepare)(Task *task, bool initialised);
    /* --init: takes this tensor of a file into that parameter, if it can be used. Position tables are
     * interpolated, heads of other sizes left as they are. */
    Adapt (*adapt)(Task *task, const char *name, const Tensor *from, Param *to);
    /* --init from a model of another kind: the name under which its file has this parameter; false: it has
     * none. NULL: no other kind is of use. */
    bool (*foreign)(const char *name, char other[96]);
    /* Are these weights of a model of this task, by their names and shapes? NULL: never. */
    bool (*recognise)(const Weights *w, TaskGuess *out);
    /* Mean loss over the batch, on the tape; `each` (may be NULL) receives f32 [B], the samples' own. */
    Tensor *(*loss)(Task *task, Step *s, const Batch *batch, Tensor **each);
    /* What the model says: [B, K] f32 or bf16 (logits; reconstructed patches in order). */
    Tensor *(*outputs)(Task *task, Step *s, const Batch *batch);
    /* One vector a sample, [B, D]: the encoder's representation. */
    Tensor *(*features)(Task *task, Step *s, const Batch *batch);
    /* What the encoder hands to the decoder, [B, ..] flat: drawn masks as in loss. NULL: there is no decoder.
     */
    Tensor *(*latent)(Task *task, Step *s, const Batch *batch);
    /* How far outputs x [B, K] are from those in `to`, through which no gradient passes: the mean over
     * samples, on the tape, 0 where they are equal; `each` (may be NULL) receives [B]. Classes: KL(softmax(to
     * / T) || softmax(x / T)) T^2 (Hinton et al. 2015); masks: that of each pixel's two classes, their mean;
     * pictures: the mean square, T unused. */
    Tensor *(*distance)(Task *task, Step *s, Tensor *x, Tensor *to, double temperature, Tensor **each);
    /* Wrong targets that are still legal for the task: *out becomes `batch` with others, in memory of the
     * step. Other classes; noise to reconstruct; masks of the same shape elsewhere. On the processor. */
    void (*relabel)(Task *task, Step *s, const Batch *batch, const TaskRelabel *draw, Batch *out);
    /* Collective. Over a whole source (one pass, nothing twice), of which each rank has its part. metric[0]
     * decides which checkpoint is best. */
    bool (*evaluate)(Task *task, Step *s, Source *source, Metric metric[TASK_METRICS], int *count, Error *e);
    bool reads_pixels; /* the loss compares with them: they stay f32 where the GPU normalises for a bf16 model
                        */
    bool wants_masks;  /* Batch.mask in training, Batch.truth in evaluation */
    bool draws_each;   /* draw is worth a picture an image, not one for all */
    /* One picture of the batch. For each sample `note` receives what is found about it, as the inside of a
     * JSON object: "\"psnr\": 21.3". NULL: not wanted. */
    bool (*draw)(Task *task, Step *s, const Batch *batch, Picture *out, char (*note)[TASK_NOTE], Error *e);
} TaskClass;

struct Task {
    const TaskClass *class;
    void *self;
    Params params;
    int layers;              /* the last layer's number, for layer-wise decay; 0: has none */
    int least_batch;         /* samples that a training step must have at least (batch norm of vectors: 2) */
    bool sums_ranks;         /* batch norm adds up over ranks in the forward pass: each must have a sample */
    int image_size;          /* side of the square the batches must have */
    int classes;             /* of the model's outputs; 0: has none */
    int masks;               /* an image, that a plan counts on where a batch has none */
    bool varies;             /* steps differ in their shapes: none is captured as a graph */
    char *const *class_name; /* [names]; borrowed */
    int names; /* of classes; 0: the data has none. The model may have more classes than names */
    const double *mean, *std; /* of the normalisation, per channel: to draw and to undo it */
};

/* Creates the model a recipe asks for, with fresh weights. */
bool task_open(Task *task, const TaskClass *class, Recipe *recipe, int classes, uint64_t seed, Error *e);
/* The same without weights, for dry steps: it costs next to no memory, whatever the model's size. */
bool task_open_dry(Task *task, const TaskClass *class, Recipe *recipe, int classes, Error *e);
void task_close(Task *task);

/* The batch's images as the step has them: where a task's forward begins. */
Tensor *task_image(Step *s, const Batch *batch);
/* TaskClass.distance of logits [B, K]. */
Tensor *task_distance_classes(Step *s, Tensor *x, Tensor *to, double temperature, Tensor **each);

/* Layer-wise decay (MAE util/lr_decay.py): the rate of layer i is times decay^(layers - i); the head's is
 * whole. */
void task_layer_decay(Task *task, double decay);

#endif
