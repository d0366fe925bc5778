/* I2I (Li et al. 2024): for models that encode and decode. The encoder alone moves: on retained images what
 * it hands to the decoder stays, on forgotten ones it becomes what the old encoder makes of noise. The mask
 * of an image and of its noise is the same one, so that the mean squares compare like with like. */
#include "core/comm.h"
#include "core/ops.h"
#include "unlearn/method.h"
#include "unlearn/vector.h"

#include <math.h>
#include <string.h>

#define I2I_FIELDS(X)                                                                                        \
    DESCENT_FIELDS(X, "i2i", "6", "adamw", "1e-4", "0.9", "0.05")                                            \
    X(REAL, alpha, "unlearn.i2i.alpha", "0.2", 0, 1000, "", "weight of the forgotten images")                \
    X(CHOICE, target, "unlearn.i2i.target", "\"noise\"", 0, 0, "noise|mean",                                 \
      "what forgotten images are to look like: noise with the image's own mean and deviation, or its mean")
typedef struct I2iSettings {
    RECIPE_MEMBERS(I2I_FIELDS)
} I2iSettings;
RECIPE_TABLE(i2i_table, "Unlearning: I2I", I2iSettings, I2I_FIELDS);

typedef struct I2i {
    Unlearn *u;
    const I2iSettings *set;
    Task teacher;
    Feed retain, forget;
    Descent d;
    real *mask; /* the encoder's weights: 1 */
} I2i;

/* Each channel of each image drawn anew, keyed by pass and sample: within black and white. */
static void noise_make(const I2i *x, const Batch *b, uint32_t round, real *out) {
    const Task *task = x->u->task;
    int64_t plane = b->image.dim[2] * b->image.dim[3], channels = b->image.dim[1];
    for (int64_t i = 0; i < b->n * channels; i++) {
        const real *from = tensor_real(&b->image) + i * plane;
        int64_t c = i % channels;
        double mean = 0, square = 0, lo = -task->mean[c] / task->std[c],
               hi = (1 - task->mean[c]) / task->std[c];
        for (int64_t k = 0; k < plane; k++) mean += (double)from[k] / (double)plane;
        for (int64_t k = 0; k < plane; k++) square += pow((double)from[k] - mean, 2) / (double)plane;
        Rng r = rng_sub(rng_open(x->u->seed, RNG_UNLEARN, round, (uint64_t)b->id[i / channels]), (uint32_t)c);
        for (int64_t k = 0; k < plane; k++) {
            double v = x->set->target == 0 ? mean + sqrt(square) * rng_normal(&r) : mean;
            out[i * plane + k] = (real)fmin(fmax(v, lo), hi);
        }
    }
}

/* Mean square between what the encoder hands on of `b` and what the old one does of `of`. */
static void draw_near(I2i *x, const Batch *b, const Batch *of, double weight) {
    Unlearn *u = x->u;
    Step *s = u->step;
    bool was = step_no_grad(s), training = s->training;
    s->training = false;
    Tensor *to = f32_of(s, x->teacher.class->latent(&x->teacher, s, of));
    s->training = training;
    step_grad_on(s, was);
    unlearn_backward(u, op_mse(s, u->task->class->latent(u->task, s, b), to, NULL, NULL), weight, b);
}

/* What the first gradient does not reach is the decoder's: it stays as it is. A rank that had no sample takes
 * the others' word. */
static bool mask_make(I2i *x, Error *e) {
    const Params *p = &x->u->task->params;
    size_t bytes = (size_t)p->count * sizeof(double);
    double *reached = mem_get(bytes);
    if (!comm_agree(reached ? true : error_memory(e, bytes), e)) {
        mem_free(reached);
        return false;
    }
    for (int i = 0; i < p->count; i++) reached[i] = p->list[i]->tensor.grad && !p->list[i]->tensor.grad_fresh;
    comm_most(reached, p->count);
    for (int i = 0; i < p->count; i++) {
        const Tensor *t = &p->list[i]->tensor;
        for (int64_t k = 0; k < tensor_count(t) && reached[i] > 0; k++)
            x->mask[tensor_real(t) - p->value + k] = 1;
    }
    mem_free(reached);
    return true;
}

static bool update(I2i *x, uint32_t round, Error *e) {
    Unlearn *u = x->u;
    const Batch *r, *f;
    if (!feed_next(&x->retain, &r, e) || !feed_next(&x->forget, &f, e)) return false;
    unlearn_zero(u);
    unlearn_forward(u, r, true);
    if (r->n) draw_near(x, r, r, 1);
    unlearn_forward(u, f, true);
    if (f->n) {
        Batch noise = *f;
        noise.image.data = step_tensor(u->step, DT_F32, 4, f->image.dim)->data;
        noise_make(x, f, round, noise.image.data);
        draw_near(x, f, &noise, x->set->alpha);
    }
    return (x->d.done || mask_make(x, e)) && descent_update(&x->d, e);
}

static bool run(Unlearn *u, const void *settings, Error *e) {
    I2i x = {.u = u, .set = settings};
    const I2iSettings *set = settings;
    x.mask = vector_new(u->task->params.trained, e);
    bool fine = comm_agree(x.mask != NULL, e) && unlearn_teacher(u, &x.teacher, e) &&
                feed_open(&x.retain, u, SET_RETAIN, FEED_TRAIN, 0, e) &&
                feed_open(&x.forget, u, SET_FORGET, FEED_TRAIN, 0, e);
    int64_t pass = x.retain.steps > x.forget.steps ? x.retain.steps : x.forget.steps;
    fine = fine && descent_open(&x.d, u, DESCENT_OF(set), pass * set->epochs, e);
    x.d.mask = x.mask;
    bool done = false;
    for (int64_t i = 0; i < pass * set->epochs && fine && !done; i++)
        fine = update(&x, (uint32_t)(i / pass), e) && ((i + 1) % pass || unlearn_stop(u, &done, e));
    descent_close(&x.d);
    feed_close(&x.forget);
    feed_close(&x.retain);
    task_close(&x.teacher);
    mem_free(x.mask);
    return fine;
}

static double cost(const Unlearn *u, const void *settings) {
    return 8 / 3.0 * (double)((const I2iSettings *)settings)->epochs * (double)u->world->count[SET_RETAIN];
}

const Method method_i2i = {
    .name = "i2i",
    .title = "I2I",
    .source = "Li et al. 2024",
    .about = "the encoder makes of forgotten images what it made of noise; the decoder stays as it is",
    .needs = NEEDS_RETAIN | NEEDS_FORGET | NEEDS_DECODER,
    .claim = CLAIM_HEURISTIC,
    .table = &i2i_table,
    .run = run,
    .cost = cost,
};
