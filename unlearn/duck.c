/* DUCK (Cotogni et al. 2023): the features of each forgotten sample are drawn to the nearest centroid, by
 * cosine, of another class's retained features, while retained samples keep their classes: lambda1 (1 - cos)
 * + lambda2 CE of logits / T. Each sample's centroid is chosen once, from the model as it came in, and kept
 * by the sample's id (the authors' code goes by places in a list, which later passes shuffle). It ends when
 * the forgotten samples are known as little as they should be; then a recovery phase, in batches like those
 * before (the authors' code has batches of its own there). */
#include "core/comm.h"
#include "core/ops.h"
#include "unlearn/by_id.h"
#include "unlearn/cosine.h"
#include "unlearn/method.h"
#include "unlearn/vector.h"

#include <stdlib.h>
#include <string.h>

#define DUCK_FIELDS(X)                                                                                       \
    DESCENT_FIELDS(X, "duck", "30", "adamw", "4e-4", "0.9", "0")                                             \
    X(REAL, forget_weight, "unlearn.duck.lambda1", "1", 0, 1000, "", "weight of the forgotten samples")      \
    X(REAL, retain_weight, "unlearn.duck.lambda2", "1.4", 0, 1000, "", "weight of the retained samples")     \
    X(REAL, temperature, "unlearn.duck.temperature", "2", 0.01, 1000, "", "T of the retained logits")        \
    X(INT, ratio, "unlearn.duck.retain_batches", "5", 1, 100000, "", "retained batches to a forgotten one")  \
    X(INT, centroids, "unlearn.duck.centroid_batches", "50", 1, 1e6, "",                                     \
      "retained batches that centroids are of")                                                              \
    X(REAL, margin, "unlearn.duck.margin", "0", -100, 100, "",                                               \
      "end this much above the score that the forgotten are to have")                                        \
    X(INT, recovery, "unlearn.duck.recovery_epochs", "2", 0, 1000, "",                                       \
      "passes of recovery: lambda1 / 10, lambda2 1")                                                         \
    X(REAL, recovery_lr, "unlearn.duck.recovery_lr", "1e-4", 0, 1000, "", "learning rate of recovery")
typedef struct DuckSettings {
    RECIPE_MEMBERS(DUCK_FIELDS)
} DuckSettings;
RECIPE_TABLE(duck_table, "Unlearning: DUCK", DuckSettings, DUCK_FIELDS);

/* A forgotten sample and the class it is drawn to. */
typedef struct Goal {
    int64_t id;
    int32_t to;
} Goal;

typedef struct Duck {
    Unlearn *u;
    const DuckSettings *set;
    int64_t dim, classes;
    real *centroid; /* [classes, dim], of length 1; zeros where no retained sample was seen */
    Goal *goal;     /* [count of the forgotten], by id */
    int64_t goals;
    Feed retain, forget;
    int64_t ratio; /* retained batches to a forgotten one: no more than there are */
    Descent d;
} Duck;

/* Features of a batch by the model as it stands, f32 [B, D] in the step. */
static Tensor *features_now(Duck *k, const Batch *b) {
    Unlearn *u = k->u;
    unlearn_forward(u, b, false);
    bool was = step_no_grad(u->step);
    Tensor *x = f32_of(u->step, u->task->class->features(u->task, u->step, b));
    step_grad_on(u->step, was);
    return x;
}

/* Sums by class, over all ranks; lengths do not matter to a cosine, so that sums do as means. */
static bool centroids_make(Duck *k, Error *e) {
    Feed f;
    double *sum = NULL;
    int64_t n = 0;
    bool fine = feed_open(&f, k->u, SET_RETAIN, FEED_MIXED_WHOLE, 0, e);
    for (int64_t i = 0; i < f.steps && i < k->set->centroids && fine; i++) {
        const Batch *b;
        if (!(fine = feed_next(&f, &b, e)) || !b->n) continue;
        const Tensor *x = features_now(k, b);
        if (!sum) {
            k->dim = x->dim[1];
            n = k->classes * k->dim;
            sum = mem_zero((size_t)n, sizeof *sum);
            if (!(fine = comm_agree(sum ? true : error_memory(e, (size_t)n * sizeof *sum), e))) break;
        }
        for (int64_t j = 0; j < (int64_t)b->n * k->dim; j++)
            sum[b->label[j / k->dim] * k->dim + j % k->dim] += (double)tensor_real(x)[j];
    }
    feed_close(&f);
    fine = fine && comm_agree((k->centroid = vector_new(n, e)) != NULL, e);
    if (fine) {
        for (int64_t j = 0; j < n; j++) k->centroid[j] = (real)sum[j];
        cosine_unit(k->centroid, k->classes, k->dim);
    }
    mem_free(sum);
    return fine;
}

/* The nearest centroid of another class; -1: there is none. */
static int32_t nearest(const Duck *k, const real *x, int32_t label) {
    int32_t best = -1;
    double most = 0;
    for (int32_t c = 0; c < k->classes; c++) {
        const real *to = k->centroid + c * k->dim;
        if (c == label || vector_norm(to, k->dim) == 0) continue;
        double cosine = vector_dot(x, to, k->dim);
        if (best < 0 || cosine > most) best = c, most = cosine;
    }
    return best;
}

static bool goals_choose(Duck *k, Error *e) {
    Feed f;
    size_t bytes = (size_t)k->u->world->count[SET_FORGET] * sizeof *k->goal;
    k->goal = mem_get(bytes);
    if (!comm_agree(k->goal ? true : error_memory(e, bytes), e)) return false;
    bool fine = feed_open(&f, k->u, SET_FORGET, FEED_WHOLE, 0, e);
    for (int64_t i = 0; i < f.steps && fine; i++) {
        const Batch *b;
        if (!(fine = feed_next(&f, &b, e)) || !b->n) continue;
        const Tensor *x = features_now(k, b);
        for (int64_t j = 0; j < b->n; j++) {
            int32_t to = nearest(k, tensor_real(x) + j * k->dim, b->label[j]);
            if (to < 0) fine = error_set(e, ERROR_VALUE, "no retained sample of another class was seen");
            k->goal[k->goals++] = (Goal){b->id[j], to};
        }
    }
    feed_close(&f);
    qsort(k->goal, (size_t)k->goals, sizeof *k->goal, by_id);
    return fine;
}

/* [B, D]: the centroid each sample is drawn to. */
static Tensor *goals_of(Duck *k, const Batch *b) {
    Tensor *to = step_tensor(k->u->step, DT_F32, 2, (int64_t[]){b->n, k->dim});
    for (int64_t i = 0; i < b->n; i++) {
        const Goal key = {b->id[i], 0};
        const Goal *g = bsearch(&key, k->goal, (size_t)k->goals, sizeof *g, by_id);
        if (!g) die("duck: sample %lld was not among the forgotten", (long long)b->id[i]);
        memcpy(tensor_real(to) + i * k->dim, k->centroid + g->to * k->dim, (size_t)k->dim * sizeof(real));
    }
    return to;
}

static Tensor *labels_of(Step *s, const Batch *b) {
    const Tensor t = {.data = (void *)b->label, .dtype = DT_I32, .ndim = 1, .dim = {b->n}, .name = "label"};
    return step_input(s, &t);
}

static bool update(Duck *k, const Batch *f, double forget, double retain, Error *e) {
    Unlearn *u = k->u;
    Step *s = u->step;
    const Batch *r;
    if (!feed_next(&k->retain, &r, e)) return false;
    unlearn_zero(u);
    unlearn_forward(u, f, true);
    if (f->n) {
        Tensor *cosine = cosine_of(s, u->task->class->features(u->task, s, f), goals_of(k, f));
        unlearn_backward(u, op_reduce(s, op_scale(s, cosine, -1, 1), 0, 1, REDUCE_MEAN), forget, f);
    }
    unlearn_forward(u, r, true);
    if (r->n) {
        Tensor *logits = op_scale(s, u->task->class->outputs(u->task, s, r), 1 / k->set->temperature, 0);
        unlearn_backward(u, op_xent(s, logits, labels_of(s, r), NULL, 0, NULL), retain, r);
    }
    return descent_update(&k->d, e);
}

static bool pass(Duck *k, double forget, double retain, Error *e) {
    const Batch *f;
    for (int64_t i = 0; i < k->forget.steps; i++) {
        if (!feed_next(&k->forget, &f, e)) return false;
        for (int64_t j = 0; j < k->ratio; j++)
            if (!update(k, f, forget, retain, e)) return false;
    }
    return true;
}

static bool enough(Duck *k, bool *yes, Error *e) {
    UnlearnScore aim, now;
    if (!unlearn_aim(k->u, "duck", &aim, e) || !unlearn_score(k->u, SET_FORGET, &now, e)) return false;
    aim.value += k->set->margin + (k->u->world->whole ? 1 : 0); /* below one in a hundred */
    *yes = unlearn_reached(&now, &aim);
    return true;
}

static bool descend(Duck *k, const DescentSettings *set, double forget, double retain, bool stops, Error *e) {
    bool done = false;
    if (!descent_open(&k->d, k->u, set, set->epochs * k->forget.steps * k->ratio, e)) return false;
    bool fine = true;
    for (int64_t i = 0; i < set->epochs && fine && !done; i++)
        fine = pass(k, forget, retain, e) && (!stops || enough(k, &done, e));
    descent_close(&k->d);
    return fine;
}

static bool run(Unlearn *u, const void *settings, Error *e) {
    const DuckSettings *set = settings;
    Duck k = {.u = u, .set = set, .classes = u->task->classes};
    DescentSettings recovery = *DESCENT_OF(set);
    recovery.epochs = set->recovery;
    recovery.lr = set->recovery_lr;
    recovery.schedule = 1;
    bool fine = unlearn_has_aim(u, "duck", e) &&
                comm_agree(centroids_make(&k, e) && goals_choose(&k, e), e) &&
                feed_open(&k.retain, u, SET_RETAIN, FEED_TRAIN, 0, e) &&
                feed_open(&k.forget, u, SET_FORGET, FEED_TRAIN, 0, e);
    k.ratio = set->ratio < k.retain.steps ? set->ratio : k.retain.steps;
    fine = fine && descend(&k, DESCENT_OF(set), set->forget_weight, set->retain_weight, true, e) &&
           (!recovery.epochs || descend(&k, &recovery, set->forget_weight / 10, 1, false, e));
    feed_close(&k.forget);
    feed_close(&k.retain);
    mem_free(k.centroid);
    mem_free(k.goal);
    return fine;
}

static double cost(const Unlearn *u, const void *settings) {
    const DuckSettings *set = settings;
    return (double)(set->epochs + set->recovery) * (double)(1 + set->ratio) *
           (double)u->world->count[SET_FORGET];
}

const Method method_duck = {
    .name = "duck",
    .title = "DUCK",
    .source = "Cotogni et al. 2023",
    .about = "draws the features of forgotten samples to the nearest centroid of another class",
    .needs = NEEDS_RETAIN | NEEDS_FORGET | NEEDS_LABELS,
    .claim = CLAIM_HEURISTIC,
    .table = &duck_table,
    .run = run,
    .cost = cost,
};
