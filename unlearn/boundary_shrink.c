/* Boundary Shrink (Chen et al. 2023, 3.2): each forgotten sample gets the label of the nearest other class,
 * which is where one step along the sign of the loss's gradient by the image leads (FGSM, on the model as it
 * came in), and is learnt with it. No retained sample is needed. Where the step does not leave the class, the
 * authors' code learns the right label again; here the second best class is taken. */
#include "core/comm.h"
#include "core/ops.h"
#include "unlearn/method.h"

#include <math.h>
#include <string.h>

#define BOUNDARY_SHRINK_FIELDS(X)                                                                            \
    DESCENT_FIELDS(X, "boundary_shrink", "10", "sgd", "1e-5", "0.9", "0")                                    \
    X(REAL, epsilon, "unlearn.boundary_shrink.epsilon", "0.1", 0, 1, "",                                     \
      "how far a pixel of 0 .. 1 moves to find the neighbour")
typedef struct ShrinkSettings {
    RECIPE_MEMBERS(BOUNDARY_SHRINK_FIELDS)
} ShrinkSettings;
RECIPE_TABLE(boundary_shrink_table, "Unlearning: Boundary Shrink", ShrinkSettings, BOUNDARY_SHRINK_FIELDS);

/* image + epsilon sign(gradient), in pixels of whole 255ths between black and white, normalised again. */
static void step_along(const Task *task, const Batch *b, const Tensor *gradient, double epsilon, real *out) {
    int64_t plane = b->image.dim[2] * b->image.dim[3], channels = b->image.dim[1];
    const real *x = tensor_real(&b->image);
    for (int64_t i = 0; i < (int64_t)b->n * channels * plane; i++) {
        int64_t c = i / plane % channels;
        double g = (double)tensor_at(gradient, i);
        double v = (double)x[i] * task->std[c] + task->mean[c] + epsilon * ((g > 0) - (g < 0));
        v = round(fmin(fmax(v, 0), 1) * 255) / 255;
        out[i] = (real)((v - task->mean[c]) / task->std[c]);
    }
}

static int32_t nearest(const Tensor *logits, int64_t row, int32_t label) {
    int64_t classes = logits->dim[1];
    int32_t best = -1;
    for (int32_t k = 0; k < classes; k++)
        if (k != label &&
            (best < 0 || tensor_at(logits, row * classes + k) > tensor_at(logits, row * classes + best)))
            best = k;
    return best;
}

/* The neighbours of a batch, by `teacher`; `image` and `label` have room for it. */
static void neighbours(Unlearn *u, Task *teacher, const Batch *b, double epsilon, real *image,
                       int32_t *label) {
    Step *s = u->step;
    step_begin(s);
    params_begin(&teacher->params);
    s->training = false;
    s->sample = b->id;
    s->batch = b;
    s->recording = s->want_image = true;
    tape_backward(s, teacher->class->loss(teacher, s, b, NULL), 1);
    s->want_image = false;
    step_along(u->task, b, s->image->grad, epsilon, image);
    Batch moved = *b;
    moved.image.data = image;
    step_begin(s);
    s->recording = false;
    Tensor *logits = teacher->class->outputs(teacher, s, &moved);
    for (int64_t i = 0; i < b->n; i++) label[i] = nearest(logits, i, b->label[i]);
    s->recording = true;
}

static bool one(Unlearn *u, Task *teacher, Feed *f, const ShrinkSettings *set, Descent *d, real **image,
                Error *e) {
    const Batch *b;
    if (!feed_next(f, &b, e)) return false;
    size_t pixels = (size_t)tensor_count(&b->image),
           room = pixels * sizeof(real) + (size_t)b->n * sizeof(int32_t);
    real *grown = mem_resize(*image, room + 1);
    if (grown) *image = grown;
    if (!comm_agree(grown ? true : error_memory(e, room), e)) return false;
    unlearn_zero(u);
    if (b->n) {
        int32_t *label = (int32_t *)(void *)(grown + pixels);
        neighbours(u, teacher, b, set->epsilon, grown, label);
        Batch near = *b;
        near.label = label;
        near.target.data = NULL;
        unlearn_loss(u, &near, true, 1);
    } else {
        unlearn_loss(u, b, true, 1);
    }
    return descent_update(d, e);
}

static bool run(Unlearn *u, const void *settings, Error *e) {
    const ShrinkSettings *set = settings;
    Task teacher = {0};
    Feed f = {0};
    Descent d = {0};
    real *image = NULL;
    bool fine = unlearn_teacher(u, &teacher, e) && feed_open(&f, u, SET_FORGET, FEED_TRAIN, 0, e) &&
                descent_open(&d, u, DESCENT_OF(set), f.steps * set->epochs, e);
    bool done = false;
    for (int64_t i = 0; i < f.steps * set->epochs && fine && !done; i++)
        fine = one(u, &teacher, &f, set, &d, &image, e) && ((i + 1) % f.steps || unlearn_stop(u, &done, e));
    mem_free(image);
    descent_close(&d);
    feed_close(&f);
    task_close(&teacher);
    return fine;
}

static double cost(const Unlearn *u, const void *settings) {
    const ShrinkSettings *set = settings;
    return 7 / 3.0 * (double)set->epochs * (double)u->world->count[SET_FORGET];
}

const Method method_boundary_shrink = {
    .name = "boundary_shrink",
    .title = "Boundary Shrink",
    .source = "Chen et al. 2023",
    .about = "learns the nearest other class for each forgotten sample; needs no retained ones",
    .needs = NEEDS_FORGET | NEEDS_LABELS,
    .claim = CLAIM_HEURISTIC,
    .table = &boundary_shrink_table,
    .run = run,
    .cost = cost,
};
