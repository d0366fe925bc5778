/* Fisher forgetting (Golatkar et al. 2020): no training. Noise is added to each weight, the more the less it
 * matters for the retained samples: variance alpha min(1 / F, most), F being the diagonal of the Fisher
 * matrix,
 *
 *   F = mean over retained x of sum_y p(y | x) (d CE(x, y))^2
 *
 * The sum over classes is exact, or, with `draws`, taken of so many y drawn from p: K backward passes a
 * sample are out of reach for many classes. As the authors' code and that of Unlearn-Sparse have it: one
 * variance a row (the mean of its weights'), other bounds for the last layer, whose variances are ten times
 * as large, as those of tensors of one axis are; and where classes are forgotten whole, their rows of the
 * last layer are 0 with a variance of 1e-4 before that. With a batch above 1 the square of the batch's mean
 * gradient under its mean p stands for the mean of squares: the speed-up of Unlearn-Sparse, and not F. */
#include "core/comm.h"
#include "core/ops.h"
#include "unlearn/method.h"
#include "unlearn/vector.h"

#include <math.h>
#include <string.h>

#define FISHER_FIELDS(X)                                                                                     \
    X(REAL, alpha, "unlearn.fisher.alpha", "1e-6", 0, 1e3, "", "how much noise")                             \
    X(INT, batch, "unlearn.fisher.batch", "1", 1, 1e6, "",                                                   \
      "samples a gradient; 1: Fisher's information, more: faster, and less like it")                         \
    X(INT, draws, "unlearn.fisher.draws", "0", 0, 1e6, "",                                                   \
      "classes drawn for each sample from what the model says; 0: the exact sum over all")                   \
    X(REAL, most, "unlearn.fisher.most", "1e3", 0, 1e12, "", "bound of 1 / F")                               \
    X(REAL, most_last, "unlearn.fisher.most_last", "1e2", 0, 1e12, "", "bound of 1 / F in the last layer")   \
    X(BOOL, rows, "unlearn.fisher.rows", "true", 0, 0, "", "one variance a row: the mean of its weights'")   \
    X(BOOL, matrices, "unlearn.fisher.matrices", "false", 0, 0, "",                                          \
      "leave norms and biases alone, but the last layer's: transformers do not survive their noise")
typedef struct FisherSettings {
    RECIPE_MEMBERS(FISHER_FIELDS)
} FisherSettings;
RECIPE_TABLE(fisher_table, "Unlearning: Fisher forgetting", FisherSettings, FISHER_FIELDS);

static const double LEAST = 1e-8, GONE = 1e-4, TIMES = 10;

typedef struct Fisher {
    Unlearn *u;
    const FisherSettings *set;
    real *sum;     /* [trained] of p g^2, then the variances */
    double *p;     /* [classes] mean over a batch */
    bool *stays;   /* [classes] a retained sample is of it */
    int32_t *as;   /* [batch] labels that a gradient is taken with */
    double images; /* of all ranks */
} Fisher;

/* What the model says of a batch: k->p becomes the mean over samples. */
static void ask(Fisher *k, const Batch *b) {
    Unlearn *u = k->u;
    int64_t classes = u->task->classes;
    unlearn_forward(u, b, false);
    bool was = step_no_grad(u->step);
    const Tensor *p = op_softmax(u->step, f32_of(u->step, u->task->class->outputs(u->task, u->step, b)));
    step_grad_on(u->step, was);
    for (int64_t c = 0; c < classes; c++) k->p[c] = 0;
    for (int64_t i = 0; i < b->n * classes; i++)
        k->p[i % classes] += (double)tensor_real(p)[i] / (double)b->n;
}

/* Adds `weight` times the square of the batch's mean gradient, as if all were of class y. */
static void square(Fisher *k, const Batch *b, int32_t y, double weight) {
    Params *p = &k->u->task->params;
    Batch as = *b;
    as.label = k->as;
    as.target.data = NULL;
    for (int64_t i = 0; i < b->n; i++) k->as[i] = y;
    unlearn_zero(k->u);
    unlearn_loss(k->u, &as, false, 1);
    params_settle_grad(p);
    vector_add_square(k->sum, p->grad, weight, p->trained);
}

static int32_t draw(const double *p, int64_t classes, double at) {
    int32_t y = 0;
    for (double sum = p[0]; y < classes - 1 && at >= sum; sum += p[y]) y++;
    return y;
}

static void look(Fisher *k, const Batch *b) {
    int64_t classes = k->u->task->classes, draws = k->set->draws;
    ask(k, b);
    for (int32_t y = 0; y < classes && !draws; y++) square(k, b, y, k->p[y] * (double)b->n);
    Rng r = rng_open(k->u->seed, RNG_UNLEARN, 0, (uint64_t)b->id[0]);
    for (int64_t i = 0; i < draws; i++)
        square(k, b, draw(k->p, classes, rng_uniform(&r)), (double)b->n / (double)draws);
}

/* A sample costs so many. */
static double passes_of(const Unlearn *u, const FisherSettings *set) {
    return 1 / 3.0 + (double)(set->draws ? set->draws : u->task->classes);
}

/* Whole batches are dealt out to the ranks, so that none depends on how many there are. */
static bool measure(Fisher *k, Error *e) {
    Feed f;
    const Params *p = &k->u->task->params;
    if (!feed_open(&f, k->u, SET_RETAIN, FEED_MIXED_WHOLE, k->set->batch, e)) return false;
    bool fine = true;
    for (int64_t i = 0; i < f.steps && fine; i++) {
        const Batch *b;
        if (!(fine = feed_next(&f, &b, e)) || !b->n) continue;
        for (int64_t j = 0; j < b->n; j++) k->stays[b->label[j]] = true;
        k->images += b->n;
        k->u->passes += b->n * passes_of(k->u, k->set);
        if (i % comm_size() == comm_rank()) look(k, b);
    }
    feed_close(&f);
    if (!fine) return false;
    CommWork w = {.kind = COMM_SUM, .data = k->sum, .n = p->trained, .what = "the Fisher matrix"};
    if (comm_size() > 1) comm_start(&w), comm_finish(&w);
    if (isfinite(vector_norm(k->sum, p->trained)) && k->images > 0) return true;
    return error_set(e, ERROR_NUMERIC, "a gradient of a retained sample is not finite");
}

static bool is_last(const Fisher *k, const Param *q) {
    return q->layer == k->u->task->layers && q->tensor.dim[0] == k->u->task->classes;
}

/* alpha min(1 / F, most), in the place of F. */
static void variances(const Fisher *k, const Tensor *t, bool last, real *v) {
    double most = last ? k->set->most_last : k->set->most;
    for (int64_t i = 0; i < tensor_count(t); i++) {
        double f = (double)v[i] / k->images + LEAST;
        v[i] = (real)(k->set->alpha * (1 / f < most ? 1 / f : most));
    }
}

/* Over axis 1. */
static void variances_mean(const Tensor *t, real *v) {
    int64_t inner = tensor_count(t) / (t->dim[0] * t->dim[1]);
    for (int64_t o = 0; o < t->dim[0]; o++)
        for (int64_t i = 0; i < inner; i++) {
            real *at = v + o * t->dim[1] * inner + i;
            double sum = 0;
            for (int64_t m = 0; m < t->dim[1]; m++) sum += (double)at[m * inner];
            for (int64_t m = 0; m < t->dim[1]; m++) at[m * inner] = (real)(sum / (double)t->dim[1]);
        }
}

/* Rows of classes that are forgotten whole. */
static void rows_clear(const Fisher *k, const Tensor *t, real *v) {
    int64_t wide = tensor_count(t) / t->dim[0];
    for (int64_t c = 0; c < t->dim[0]; c++)
        for (int64_t i = c * wide; i < (c + 1) * wide && !k->stays[c]; i++)
            tensor_real(t)[i] = 0, v[i] = (real)GONE;
}

static void disturb(const Fisher *k, const Param *q) {
    const Tensor *t = &q->tensor;
    bool last = is_last(k, q);
    real *v = k->sum + (tensor_real(t) - k->u->task->params.value);
    variances(k, t, last, v);
    if (t->ndim > 1 && k->set->rows) variances_mean(t, v);
    if (last && k->u->world->whole) rows_clear(k, t, v);
    double times = last || t->ndim == 1 ? TIMES : 1;
    Rng r = rng_open(k->u->seed, RNG_UNLEARN, 1, rng_hash(q->name));
    for (int64_t i = 0; i < tensor_count(t); i++)
        tensor_real(t)[i] += (real)(sqrt(times * (double)v[i]) * rng_normal(&r));
}

static bool run(Unlearn *u, const void *settings, Error *e) {
    const FisherSettings *set = settings;
    Fisher k = {.u = u, .set = set};
    const Params *p = &u->task->params;
    size_t classes = (size_t)u->task->classes;
    k.sum = vector_new(p->trained, e);
    k.p = mem_zero(classes, sizeof *k.p);
    k.stays = mem_zero(classes, sizeof *k.stays);
    k.as = mem_zero((size_t)set->batch, sizeof *k.as);
    bool fine = k.sum && ((k.p && k.stays && k.as) || error_memory(e, classes * sizeof *k.p));
    fine = comm_agree(fine, e) && measure(&k, e);
    for (int i = 0; i < p->count && fine; i++) {
        const Param *q = p->list[i];
        if (q->tensor.grad && (q->decay || is_last(&k, q) || !set->matrices)) disturb(&k, q);
    }
    mem_free(k.sum);
    mem_free(k.p);
    mem_free(k.stays);
    mem_free(k.as);
    return fine;
}

static double cost(const Unlearn *u, const void *settings) {
    return (double)u->world->count[SET_RETAIN] * passes_of(u, settings);
}

const Method method_fisher = {
    .name = "fisher",
    .title = "Fisher forgetting",
    .source = "Golatkar et al. 2020",
    .about = "adds noise to each weight, the more the less it matters for the retained samples",
    .needs = NEEDS_RETAIN | NEEDS_LABELS,
    .claim = CLAIM_HEURISTIC,
    .table = &fisher_table,
    .run = run,
    .cost = cost,
};
