/* LAF, label-agnostic forgetting (Shen et al. 2024): no label is read. Two small autoencoders learn what the
 * model as it came in makes of the retained and of the forgotten images (unlearn/vae.h); m is how badly one
 * rebuilds the representation e of an image. Then, by turns, with an optimizer each:
 *
 *   extractor   mean over retained of exp(m / (m + 1)), by the retained ones' autoencoder
 *               - mean over forgotten of exp(m / (m + 1)), by the forgotten ones'
 *   alignment   mean over retained i of d_i  -  log sum over forgotten j of exp(d_j / tau),
 *               d = 1 - cos(e, e as it came in)
 *
 * so that forgotten images are represented as nothing the model knew, and retained ones as before. The paper
 * sums where means stand here; its batches of the two sets are of one size, and Adam knows no other
 * difference. The logarithm couples all forgotten samples of a batch: its sum is made over all ranks first,
 * and each sample's gradient, - exp(d_j / tau) / (tau sum), follows from it. Its code fits the retained
 * ones' autoencoder to all the training data; here, as in the paper, to the retained alone. LAF+R: passes of
 * ordinary training of the last layer alone, where there are labels. */
#include "core/comm.h"
#include "core/ops.h"
#include "unlearn/along.h"
#include "unlearn/cosine.h"
#include "unlearn/embed.h"
#include "unlearn/method.h"
#include "unlearn/vae.h"
#include "unlearn/vector.h"

#include <math.h>

#define LAF_FIELDS(X)                                                                                        \
    DESCENT_FIELDS(X, "laf", "20", "adamw", "5e-5", "0.9", "0")                                              \
    X(REAL, align_lr, "unlearn.laf.align_lr", "1e-4", 0, 1e3, "", "learning rate of the alignment")          \
    X(REAL, tau, "unlearn.laf.tau", "20", 1e-3, 1e6, "", "temperature of the forgotten ones' distances")     \
    X(INT, wide, "unlearn.laf.wide", "128", 1, 65536, "", "the autoencoders' first layer,")                  \
    X(INT, narrow, "unlearn.laf.narrow", "32", 1, 65536, "", "their second,")                                \
    X(INT, latent, "unlearn.laf.latent", "16", 1, 65536, "", "and their code")                               \
    X(REAL, kl, "unlearn.laf.kl", "0.025", 0, 1e3, "", "weight of their divergence")                         \
    X(INT, vae_epochs, "unlearn.laf.vae_epochs", "50", 0, 100000, "", "passes in which they are fitted")     \
    X(REAL, vae_lr, "unlearn.laf.vae_lr", "1e-3", 1e-12, 1e3, "", "and their learning rate")                 \
    X(INT, vae_batch, "unlearn.laf.vae_batch", "128", 1, 1e6, "", "and their batch")                         \
    X(INT, repair, "unlearn.laf.repair_epochs", "0", 0, 10000, "",                                           \
      "LAF+R: so many passes of training of the last layer on retained samples; needs labels")               \
    X(REAL, repair_lr, "unlearn.laf.repair_lr", "1e-3", 0, 1e3, "", "learning rate of that")
typedef struct LafSettings {
    RECIPE_MEMBERS(LAF_FIELDS)
} LafSettings;
RECIPE_TABLE(laf_table, "Unlearning: LAF", LafSettings, LAF_FIELDS);

/* What one set looks like. */
typedef struct Known {
    Vae vae;
    VaeWork work;
} Known;

typedef struct Laf {
    Unlearn *u;
    const LafSettings *set;
    Known retained, forgotten;
    Task old;
    Feed retain, forget;
    Descent extract, align;
} Laf;

static bool known_make(Laf *k, Known *out, UnlearnSet which, uint64_t seed, Error *e) {
    const LafSettings *s = k->set;
    const VaeSettings set = {.wide = (int)s->wide,
                             .narrow = (int)s->narrow,
                             .latent = (int)s->latent,
                             .kl = s->kl,
                             .lr = s->vae_lr,
                             .epochs = (int)s->vae_epochs,
                             .batch = (int)s->vae_batch,
                             .seed = seed};
    Embeddings x;
    double loss;
    bool fine = embed_set(k->u, which, &x, e);
    if (fine)
        fine =
            comm_agree(vae_open(&out->vae, (int)x.d, &set, e) && vae_fit(&out->vae, x.e, x.n, &loss, e), e);
    if (fine && k->u->log)
        log_line(k->u->log, "the autoencoder of the %s: loss %.4g",
                 which == SET_FORGET ? "forgotten" : "retained", loss);
    embed_close(&x);
    return fine;
}

static void known_close(Known *k) {
    vae_work_close(&k->work);
    vae_close(&k->vae);
}

static bool work_room(Known *k, int64_t rows, Error *e) {
    vae_work_close(&k->work);
    return vae_work_open(&k->work, &k->vae, (int)(rows > 0 ? rows : 1), e);
}

/* sign x mean of exp(m / (m + 1)), backward. */
static void stranger(Laf *k, Known *by, const Batch *b, double sign) {
    Unlearn *u = k->u;
    unlearn_forward(u, b, true);
    if (!b->n) return;
    Tensor *x = f32_of(u->step, u->task->class->features(u->task, u->step, b));
    int64_t dim = x->dim[1];
    real *g = tensor_real(step_tensor(u->step, DT_F32, 2, x->dim));
    double *miss = step_block(u->step, (size_t)b->n * sizeof *miss), sum = 0;
    vae_miss(&by->vae, &by->work, tensor_real(x), b->n, miss, g);
    for (int64_t i = 0; i < b->n; i++) {
        double m = miss[i], far = exp(m / (m + 1)) / b->n;
        sum += far;
        vector_scale(g + i * dim, far / ((m + 1) * (m + 1)), dim);
    }
    unlearn_backward(u, loss_along(u->step, x, g, sum), sign, b);
}

static bool extract(Laf *k, const Batch *r, const Batch *f, Error *e) {
    unlearn_zero(k->u);
    stranger(k, &k->retained, r, 1);
    stranger(k, &k->forgotten, f, -1);
    return descent_update(&k->extract, e);
}

/* d of each sample [B], on the tape. */
static Tensor *moved(Laf *k, const Batch *b) {
    Unlearn *u = k->u;
    Tensor *old = unlearn_features_of(u, &k->old, b);
    bool was = step_no_grad(u->step);
    old = f32_of(u->step, old);
    step_grad_on(u->step, was);
    return op_scale(u->step, cosine_of(u->step, u->task->class->features(u->task, u->step, b), old), -1, 1);
}

/* -log sum_j exp(d_j / tau), backward. Collective. */
static void push_away(Laf *k, const Batch *b) {
    Unlearn *u = k->u;
    double tau = k->set->tau, sum = 0;
    Tensor *d = NULL;
    unlearn_forward(u, b, true);
    if (b->n) d = moved(k, b);
    for (int64_t i = 0; i < b->n; i++) sum += exp((double)tensor_at(d, i) / tau);
    comm_sum(&sum, 1);
    if (!b->n) return;
    real *g = step_block(u->step, (size_t)b->n * sizeof *g);
    double share = b->whole ? (double)b->n / b->whole : 1; /* which unlearn_backward multiplies by */
    for (int64_t i = 0; i < b->n; i++)
        g[i] = (real)(-exp((double)tensor_at(d, i) / tau) / (tau * sum * share));
    unlearn_backward(u, loss_along(u->step, d, g, -log(sum)), 1, b);
}

static bool align(Laf *k, const Batch *r, const Batch *f, Error *e) {
    unlearn_zero(k->u);
    unlearn_forward(k->u, r, true);
    if (r->n) unlearn_backward(k->u, op_reduce(k->u->step, moved(k, r), 0, 1, REDUCE_MEAN), 1, r);
    push_away(k, f);
    return descent_update(&k->align, e);
}

static bool update(Laf *k, Error *e) {
    const Batch *r, *f;
    if (!feed_next(&k->retain, &r, e) || !feed_next(&k->forget, &f, e)) return false;
    bool room = (r->n <= k->retained.work.rows || work_room(&k->retained, r->n, e)) &&
                (f->n <= k->forgotten.work.rows || work_room(&k->forgotten, f->n, e));
    return comm_agree(room, e) && extract(k, r, f, e) && align(k, r, f, e);
}

static bool descend(Laf *k, Error *e) {
    DescentSettings set = *DESCENT_OF(k->set);
    int64_t updates = set.epochs * k->forget.steps;
    bool fine = descent_open(&k->extract, k->u, &set, updates, e);
    set.lr = k->set->align_lr;
    fine = fine && descent_open(&k->align, k->u, &set, updates, e);
    bool done = false;
    for (int64_t i = 0; i < updates && fine && !done; i++)
        fine = update(k, e) && ((i + 1) % k->forget.steps || unlearn_stop(k->u, &done, e));
    descent_close(&k->extract);
    descent_close(&k->align);
    return fine;
}

/* 1 where a weight is of the last layer. */
static void mask_last(const Task *task, real *mask) {
    for (int i = 0; i < task->params.count; i++) {
        const Param *q = task->params.list[i];
        if (!q->tensor.grad || q->layer != task->layers) continue;
        real *at = mask + (tensor_real(&q->tensor) - task->params.value);
        for (int64_t j = 0; j < tensor_count(&q->tensor); j++) at[j] = 1;
    }
}

static bool repair(Laf *k, const real *mask, Error *e) {
    Descent d;
    DescentSettings set = *DESCENT_OF(k->set);
    set.epochs = k->set->repair;
    set.lr = k->set->repair_lr;
    int64_t updates = set.epochs * k->retain.steps;
    bool fine = descent_open(&d, k->u, &set, updates, e);
    d.mask = mask;
    for (int64_t i = 0; i < updates && fine; i++) {
        const Batch *b;
        if (!(fine = feed_next(&k->retain, &b, e))) break;
        unlearn_zero(k->u);
        unlearn_loss(k->u, b, true, 1);
        fine = descent_update(&d, e);
    }
    descent_close(&d);
    return fine;
}

/* What a mask keeps is put back to the weights that came in: for the repair these are those after LAF. */
static bool repair_from_here(Laf *k, Error *e) {
    Unlearn *u = k->u;
    const Params *p = &u->task->params;
    real *origin = u->origin, *mask = vector_new(p->trained, e), *here = vector_new(p->values, e);
    bool fine = comm_agree(mask && here, e);
    if (fine) {
        vector_add(here, p->value, 1, p->values);
        mask_last(u->task, mask);
        u->origin = here;
        fine = repair(k, mask, e);
        u->origin = origin;
    }
    mem_free(mask);
    mem_free(here);
    return fine;
}

static bool run(Unlearn *u, const void *settings, Error *e) {
    Laf k = {.u = u, .set = settings};
    if (k.set->repair && u->task->classes < 2)
        return error_set(e, ERROR_VALUE,
                         "unlearn.laf.repair_epochs trains on labels, and task \"%s\" has none; set it to 0",
                         u->task->class->name);
    bool fine = known_make(&k, &k.retained, SET_RETAIN, u->seed, e) &&
                known_make(&k, &k.forgotten, SET_FORGET, u->seed + 1, e) && unlearn_teacher(u, &k.old, e) &&
                feed_open(&k.retain, u, SET_RETAIN, FEED_TRAIN, 0, e) &&
                feed_open(&k.forget, u, SET_FORGET, FEED_TRAIN, 0, e) && descend(&k, e) &&
                (!k.set->repair || repair_from_here(&k, e));
    feed_close(&k.forget);
    feed_close(&k.retain);
    task_close(&k.old);
    known_close(&k.retained);
    known_close(&k.forgotten);
    return fine;
}

static double cost(const Unlearn *u, const void *settings) {
    const LafSettings *set = settings;
    const int64_t *n = u->world->count;
    return (double)(n[SET_RETAIN] + n[SET_FORGET]) / 3 +
           14 / 3.0 * (double)set->epochs * (double)n[SET_FORGET] +
           (double)set->repair * (double)n[SET_RETAIN];
}

const Method method_laf = {
    .name = "laf",
    .title = "LAF",
    .source = "Shen et al. 2024",
    .about = "makes representations of forgotten images strange, by autoencoders; reads no label",
    .needs = NEEDS_RETAIN | NEEDS_FORGET,
    .claim = CLAIM_HEURISTIC,
    .table = &laf_table,
    .run = run,
    .cost = cost,
};
