/* SCAR (Bonato et al. 2024): the features of each forgotten sample are drawn to the nearest other class, by
 * the Mahalanobis distance of unlearn/gaussian.h, while the model keeps giving the old answers to images of
 * something else:
 *
 *   lambda1 mean D(e(x), nearest class) + lambda2 KL(softmax(f0(o) / T) || softmax(f(o)))
 *
 * No retained image is learnt from: the statistics of classes, which the paper stores after training, are
 * made here of retained samples by the model as it came in. Each sample's class is chosen once, by that
 * model, and kept by the sample's id. Where classes are forgotten whole, outside images that the old model
 * takes for one of them are left out of the second term, and its logits of them become the least of the
 * image's. Where single samples are, a distance counts as much as its class is known among the forgotten
 * ones, and nothing when that is less than `least`. It ends when the forgotten are known as little as they
 * should be; that, and how far each class is known, is looked at after each pass (the authors: after each
 * step, of larger batches). The paper writes a symmetric divergence and a root of D; this is their code's. */
#include "unlearn/scar.h"
#include "unlearn/by_id.h"

#include "core/comm.h"
#include "core/ops.h"
#include "unlearn/along.h"
#include "unlearn/embed.h"
#include "unlearn/gaussian.h"
#include "unlearn/method.h"
#include "unlearn/vector.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SCAR_ALL(X)                                                                                          \
    SCAR_FIELDS(X, "scar")                                                                                   \
    X(INT, ratio, "unlearn.scar.outside_batches", "5", 1, 100000, "", "outside batches to a forgotten one")  \
    X(REAL, least, "unlearn.scar.least", "0.8", 0, 1, "",                                                    \
      "single samples: a class is left alone that so few of its forgotten ones are still told by")
RECIPE_TABLE(scar_table, "Unlearning: SCAR", ScarSettings, SCAR_ALL);

/* A sample, and what the model as it came in made of it. */
typedef struct Mark {
    int64_t id;
    int32_t to; /* the class it is drawn to; -1: none */
    bool gone;  /* an outside image that was taken for a class that goes */
} Mark;

typedef struct Marks {
    Mark *list; /* by id */
    int64_t n;
} Marks;

typedef struct Scar {
    Unlearn *u;
    const ScarSettings *set;
    bool self;
    Task teacher;
    Gaussian *of;   /* [classes] d 0: there is none */
    bool *gone;     /* [classes] goes whole */
    double *weight; /* [classes] of the distances of its samples */
    Marks forget, outside;
    Feed forgotten, others;
    Descent d;
    double *work; /* [3 dim] */
} Scar;

static Mark *mark_of(const Marks *m, int64_t id) {
    const Mark key = {.id = id};
    return m->n ? bsearch(&key, m->list, (size_t)m->n, sizeof key, by_id) : NULL;
}

static bool marks_room(Marks *m, int64_t n, Error *e) {
    size_t bytes = (size_t)n * sizeof *m->list;
    m->list = mem_get(bytes);
    return m->list || error_memory(e, bytes);
}

/* ---- what is known before ---- */

/* Of every class with two retained samples or more. Classes without any go, if classes go at all. */
static bool classes_fit(Scar *k, const Embeddings *x, Error *e) {
    const GaussianSettings set = {k->set->power, k->set->diagonal, k->set->rest};
    int64_t *row = mem_get((size_t)x->n * sizeof *row), found = 0;
    bool fine = row || error_memory(e, (size_t)x->n * sizeof *row);
    for (int32_t c = 0; c < k->u->task->classes && fine; c++) {
        int64_t n = 0;
        for (int64_t i = 0; i < x->n; i++)
            if (x->label[i] == c) row[n++] = i;
        k->gone[c] = k->u->world->whole && n == 0;
        k->weight[c] = 1;
        if (n < 2) continue;
        fine = gaussian_fit(&k->of[c], x->e, row, n, (int)x->d, &set, e);
        found++;
    }
    mem_free(row);
    if (fine && found < 2)
        fine =
            error_set(e, ERROR_VALUE, "%lld classes have two retained samples; two such classes are needed",
                      (long long)found);
    return fine;
}

static bool classes_make(Scar *k, Error *e) {
    Embeddings x;
    bool fine = embed_set(k->u, SET_RETAIN, &x, e);
    if (fine) {
        k->work = mem_get(3 * (size_t)x.d * sizeof *k->work);
        fine = comm_agree(
            (k->work || error_memory(e, 3 * (size_t)x.d * sizeof *k->work)) && classes_fit(k, &x, e), e);
    }
    embed_close(&x);
    return fine;
}

static int32_t nearest(const Scar *k, const float *x, int32_t label) {
    int32_t best = -1;
    double least = 0;
    for (int32_t c = 0; c < k->u->task->classes; c++) {
        if (c == label || k->of[c].d == 0) continue;
        double far = gaussian_distance(&k->of[c], x, NULL, k->work);
        if (best < 0 || far < least) best = c, least = far;
    }
    return best;
}

/* The nearest other class of each forgotten sample. */
static bool forget_choose(Scar *k, Error *e) {
    Embeddings x;
    bool fine = embed_set(k->u, SET_FORGET, &x, e) && comm_agree(marks_room(&k->forget, x.n, e), e);
    for (int64_t i = 0; i < x.n && fine; i++)
        k->forget.list[i] = (Mark){x.id[i], nearest(k, x.e + i * x.d, x.label[i]), false};
    if (fine) {
        k->forget.n = x.n;
        qsort(k->forget.list, (size_t)x.n, sizeof *k->forget.list, by_id);
    }
    embed_close(&x);
    return fine;
}

static int32_t best_of(const Tensor *logits, int64_t row) {
    int32_t n = (int32_t)logits->dim[1], best = 0;
    for (int32_t c = 1; c < n; c++)
        if (tensor_at(logits, row * n + c) > tensor_at(logits, row * n + best)) best = c;
    return best;
}

/* Outputs of a batch by the model as it stands, off the tape. */
static Tensor *outputs_now(Unlearn *u, const Batch *b) {
    unlearn_forward(u, b, false);
    bool was = step_no_grad(u->step);
    Tensor *x = u->task->class->outputs(u->task, u->step, b);
    step_grad_on(u->step, was);
    return x;
}

static void outside_mark(Scar *k, const Batch *b) {
    const Tensor *logits = outputs_now(k->u, b);
    for (int64_t i = 0; i < b->n; i++)
        k->outside.list[k->outside.n++] = (Mark){b->id[i], -1, k->gone[best_of(logits, i)]};
}

static bool outside_choose(Scar *k, Error *e) {
    Feed f;
    if (!comm_agree(marks_room(&k->outside, k->u->world->count[SET_OUTSIDE], e), e) ||
        !feed_open(&f, k->u, SET_OUTSIDE, FEED_WHOLE, 0, e))
        return false;
    bool fine = true;
    for (int64_t i = 0; i < f.steps && fine; i++) {
        const Batch *b;
        if ((fine = feed_next(&f, &b, e)) && b->n) outside_mark(k, b);
    }
    feed_close(&f);
    qsort(k->outside.list, (size_t)k->outside.n, sizeof *k->outside.list, by_id);
    return fine;
}

/* Self-forget: outside images that were taken for a class that goes are drawn to the nearest that stays. */
static bool self_choose(Scar *k, Error *e) {
    Embeddings x;
    int64_t found = 0;
    bool fine = embed_set(k->u, SET_OUTSIDE, &x, e);
    for (int64_t i = 0; i < x.n && fine; i++) {
        Mark *m = mark_of(&k->outside, x.id[i]);
        if (!m || !m->gone) continue;
        m->to = nearest(k, x.e + i * x.d, -1); /* classes that go have no Gaussian */
        found++;
    }
    embed_close(&x);
    if (!fine) return false;
    if (k->u->log)
        log_line(k->u->log, "%lld of %lld outside images stand for what is forgotten", (long long)found,
                 (long long)k->outside.n);
    return found > 0 || error_set(e, ERROR_VALUE,
                                  "the model takes none of the %lld outside images for a class that is "
                                  "forgotten: name a folder with more, or with others, in unlearn.outside",
                                  (long long)k->outside.n);
}

/* ---- one update ---- */

static double over_ranks(double x) {
    comm_sum(&x, 1);
    return x;
}

/* The rows of a batch that are drawn somewhere. */
static double drawn(const Marks *m, const Batch *b) {
    double n = 0;
    for (int64_t i = 0; i < b->n; i++) {
        const Mark *x = mark_of(m, b->id[i]);
        n += x && x->to >= 0;
    }
    return n;
}

/* Mean distance of those rows, on the tape; `all`: their number on all ranks. */
static void draw_near(Scar *k, const Marks *m, const Batch *b, double all) {
    Unlearn *u = k->u;
    Tensor *x = f32_of(u->step, u->task->class->features(u->task, u->step, b));
    int64_t dim = x->dim[1];
    real *g = tensor_real(step_zeros(u->step, DT_F32, 2, x->dim));
    double sum = 0, each = b->whole / (all * b->n); /* unlearn_backward has the share n / whole */
    for (int64_t i = 0; i < b->n; i++) {
        const Mark *to = mark_of(m, b->id[i]);
        if (!to || to->to < 0) continue;
        double w = each * (k->self || b->label[i] < 0 ? 1 : k->weight[b->label[i]]);
        sum += w * gaussian_distance(&k->of[to->to], tensor_real(x) + i * dim, g + i * dim, k->work);
        vector_scale(g + i * dim, w, dim);
    }
    unlearn_backward(u, loss_along(u->step, x, g, sum), k->set->forget_weight, b);
}

static bool is_left_out(const Scar *k, int64_t id) {
    const Mark *m = mark_of(&k->outside, id);
    return m && m->gone;
}

/* The old model's answers [B, K]; rows of zeros, which cross entropy passes over, for what is left out. */
static Tensor *answers(Scar *k, const Batch *b) {
    Step *s = k->u->step;
    bool was = step_no_grad(s);
    Tensor *z = f32_of(s, unlearn_outputs_of(k->u, &k->teacher, b));
    int64_t classes = z->dim[1];
    for (int64_t i = 0; i < b->n; i++) {
        real *row = tensor_real(z) + i * classes, least = row[0];
        for (int64_t c = 1; c < classes; c++) least = row[c] < least ? row[c] : least;
        for (int64_t c = 0; c < classes; c++)
            if (k->gone[c]) row[c] = least;
    }
    Tensor *p = op_softmax(s, op_scale(s, z, 1 / k->set->temperature, 0));
    for (int64_t i = 0; i < b->n; i++)
        if (is_left_out(k, b->id[i])) memset(tensor_real(p) + i * classes, 0, (size_t)classes * sizeof(real));
    step_grad_on(s, was);
    return p;
}

/* Cross entropy with the old answers; less their entropy it is the divergence. */
static void stay(Scar *k, const Batch *b, double all) {
    Unlearn *u = k->u;
    Tensor *p = answers(k, b), *x = u->task->class->outputs(u->task, u->step, b);
    unlearn_backward(u, op_xent(u->step, x, NULL, p, 0, NULL), k->set->outside_weight * b->whole / all, b);
}

static double left_in(const Scar *k, const Batch *b) {
    double n = 0;
    for (int64_t i = 0; i < b->n; i++) n += !is_left_out(k, b->id[i]);
    return n;
}

static bool update(Scar *k, const Batch *f, const Marks *m, Error *e) {
    const Batch *o = f;
    if (!k->self && !feed_next(&k->others, &o, e)) return false;
    double near = over_ranks(drawn(m, f)), far = over_ranks(left_in(k, o));
    unlearn_zero(k->u);
    unlearn_forward(k->u, f, true);
    if (f->n && near > 0) draw_near(k, m, f, near);
    unlearn_forward(k->u, o, true);
    if (o->n && far > 0) stay(k, o, far);
    return descent_update(&k->d, e);
}

static bool pass(Scar *k, int64_t ratio, Error *e) {
    Feed *f = k->self ? &k->others : &k->forgotten;
    const Batch *b;
    for (int64_t i = 0; i < f->steps; i++) {
        if (!feed_next(f, &b, e)) return false;
        for (int64_t j = 0; j < ratio; j++)
            if (!update(k, b, k->self ? &k->outside : &k->forget, e)) return false;
    }
    return true;
}

/* ---- when it is enough ---- */

typedef struct Tally {
    double *right, *all; /* [classes]; self-forget: all in the first */
} Tally;

static void tally(const Scar *k, const Batch *b, Tally *t) {
    const Tensor *logits = outputs_now(k->u, b);
    for (int64_t i = 0; i < b->n; i++) {
        int32_t best = best_of(logits, i), at = k->self ? 0 : b->label[i];
        if (k->self && !is_left_out(k, b->id[i])) continue;
        t->right[at] += k->self ? k->gone[best] : best == at;
        t->all[at]++;
    }
}

/* How many of the forgotten samples the model still tells right, class by class. `sum` [2 classes], zeros. */
static bool count_known(Scar *k, double *sum, Error *e) {
    Feed f;
    int classes = k->u->task->classes;
    Tally t = {sum, sum + classes};
    if (!feed_open(&f, k->u, k->self ? SET_OUTSIDE : SET_FORGET, FEED_PLAIN, 0, e)) return false;
    bool fine = true;
    for (int64_t i = 0; i < f.steps && fine; i++) {
        const Batch *b;
        if (!(fine = feed_next(&f, &b, e))) break;
        if (b->n)
            tally(k, b, &t);
        else
            k->u->index++; /* as if there were some: it keys drop path, on every rank alike */
    }
    feed_close(&f);
    comm_sum(sum, 2 * classes);
    return fine;
}

/* The score of all that is to be forgotten, in percent; the classes' weights become how well each is known.
 */
static bool known(Scar *k, double *score, Error *e) {
    int classes = k->u->task->classes;
    double *sum = mem_zero(2 * (size_t)classes, sizeof *sum), right = 0, all = 0;
    bool fine =
        comm_agree(sum || error_memory(e, 2 * (size_t)classes * sizeof *sum), e) && count_known(k, sum, e);
    for (int c = 0; c < classes && fine; c++) {
        double share = sum[classes + c] > 0 ? sum[c] / sum[classes + c] : 0;
        right += sum[c];
        all += sum[classes + c];
        if (!k->u->world->whole) k->weight[c] = share < k->set->least ? 0 : share;
    }
    *score = all > 0 ? 100 * right / all : 0;
    mem_free(sum);
    return fine;
}

static bool enough(Scar *k, bool *yes, Error *e) {
    UnlearnScore aim, now = {"top1", 0, true};
    if (!unlearn_aim(k->u, "scar", &aim, e) || !known(k, &now.value, e)) return false;
    aim.value += k->set->margin + (k->u->world->whole ? 1 : 0); /* below one in a hundred */
    *yes = unlearn_reached(&now, &aim);
    return true;
}

/* ---- all of it ---- */

static bool prepare(Scar *k, Error *e) {
    size_t classes = (size_t)k->u->task->classes;
    k->of = mem_zero(classes, sizeof *k->of);
    k->gone = mem_zero(classes, sizeof *k->gone);
    k->weight = mem_zero(classes, sizeof *k->weight);
    bool fine = (k->of && k->gone && k->weight) || error_memory(e, classes * sizeof *k->of);
    return comm_agree(fine, e) && unlearn_has_aim(k->u, "scar", e) && classes_make(k, e) &&
           (k->self || forget_choose(k, e)) && (!k->u->world->whole || outside_choose(k, e)) &&
           (!k->self || self_choose(k, e));
}

static bool descend(Scar *k, Error *e) {
    Unlearn *u = k->u;
    double score;
    if (!unlearn_teacher(u, &k->teacher, e) || !feed_open(&k->others, u, SET_OUTSIDE, FEED_TRAIN, 0, e) ||
        (!k->self && !feed_open(&k->forgotten, u, SET_FORGET, FEED_TRAIN, 0, e)))
        return false;
    int64_t ratio = k->self ? 1 : k->set->ratio < k->others.steps ? k->set->ratio : k->others.steps;
    int64_t steps = k->self ? k->others.steps : k->forgotten.steps * ratio;
    bool done = false, fine = descent_open(&k->d, u, DESCENT_OF(k->set), k->set->epochs * steps, e);
    fine = fine && (u->world->whole || known(k, &score, e)); /* weights of the first pass */
    for (int64_t i = 0; i < k->set->epochs && fine && !done; i++)
        fine = pass(k, ratio, e) && enough(k, &done, e);
    return fine;
}

bool scar_run(Unlearn *u, const ScarSettings *set, bool self, Error *e) {
    Scar k = {.u = u, .set = set, .self = self};
    bool fine = prepare(&k, e) && descend(&k, e);
    descent_close(&k.d);
    feed_close(&k.forgotten);
    feed_close(&k.others);
    task_close(&k.teacher);
    for (int c = 0; c < u->task->classes && k.of; c++) gaussian_close(&k.of[c]);
    mem_free(k.of);
    mem_free(k.gone);
    mem_free(k.weight);
    mem_free(k.work);
    mem_free(k.forget.list);
    mem_free(k.outside.list);
    return fine;
}

static bool run(Unlearn *u, const void *settings, Error *e) {
    return scar_run(u, settings, false, e);
}

static double cost(const Unlearn *u, const void *settings) {
    const ScarSettings *set = settings;
    const int64_t *n = u->world->count;
    double batch = (double)(u->set->batch ? u->set->batch : u->world->train->batch);
    double forgotten = (double)n[SET_FORGET], batches = ceil(forgotten / batch);
    return (double)set->epochs * (double)set->ratio * (forgotten + 4 / 3.0 * batches * batch) +
           (double)n[SET_RETAIN] / 3;
}

const Method method_scar = {
    .name = "scar",
    .title = "SCAR",
    .source = "Bonato et al. 2024",
    .about = "draws features to the nearest other class; images of something else keep the old answers",
    .needs = NEEDS_RETAIN | NEEDS_FORGET | NEEDS_LABELS | NEEDS_OUTSIDE,
    .claim = CLAIM_HEURISTIC,
    .table = &scar_table,
    .run = run,
    .cost = cost,
};
