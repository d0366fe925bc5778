/* L-CODEC (Mehta et al. 2022): Newton's step for taking samples out, on few weights only, those that the
 * forgotten sample's loss depends on. For one sample after the other (or one `group` after the other):
 *
 * 1. The image is perturbed, m = 1 .. observations: x + noise N(0, 1). Each forward pass gives the loss, and
 *    the mean activation of every slice: an output of a linear layer or a convolution, with its row of the
 *    weight and its bias.
 * 2. FOCI chooses the slices that carry the loss (unlearn/codec.h): s, their weights and biases.
 * 3. Curvature by finite differences, each of rank one: after a step of `probe_lr` down the gradient g1, in
 *    s alone, which makes it g2, H = (g1 - g2)(g1 - g2)^T / |s1 - s2|_1: of the sample, H_new, and of
 *    the data, H_old.
 * 4. H = (n H_old - k H_new) / (n - k), k samples in the group, n before it was taken out, and
 *        s += alpha k / (n - k) (H + lambda I)^-1 g1        by Woodbury (unlearn/lowrank.h), up the loss.
 * 5. With epsilon above 0 noise N(0, sigma^2) on s: sigma = gamma / epsilon sqrt(2 ln(1.25 / delta)),
 *    gamma = 2 M L^2 k^2 / (n^2 lambda^3).
 *
 * What differs. The paper takes H_old from the gradients of the last two epochs of training, which Lethe does
 * not keep: here it is measured on retained samples as in 3. Its code reads g2 of the sample from the list of
 * g1, so that H_new is 0; here it is not. Its alpha is 1, and one of many samples then moves the model very
 * little.
 *
 * The claim stays heuristic, noise or not: the bound behind epsilon and delta wants a loss that is strongly
 * convex, with Lipschitz constants of which M and L are guesses, a step taken at the optimum, and the whole
 * Hessian. A network has none of it.
 *
 * Nothing as large as |s|^2 is made, and vectors of |s| but a few. All in f32: the differences of step 3
 * drown in bf16. */
#include "core/comm.h"
#include "core/ops.h"
#include "unlearn/codec.h"
#include "unlearn/lowrank.h"
#include "unlearn/method.h"
#include "unlearn/vector.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LCODEC_FIELDS(X)                                                                                     \
    X(INT, group, "unlearn.lcodec.group", "1", 1, 1e6, "", "samples that are taken out together")            \
    X(INT, observations, "unlearn.lcodec.observations", "1000", 3, 16384, "", "perturbed forward passes")    \
    X(REAL, noise, "unlearn.lcodec.noise", "0.1", 1e-9, 1e3, "", "on the normalised pixels")                 \
    X(CHOICE, within, "unlearn.lcodec.within", "\"all\"", 0, 0, "all|layer",                                 \
      "slices are chosen among all, or in each layer for itself")                                            \
    X(INT, most, "unlearn.lcodec.most", "100", 0, 1e6, "", "slices to choose (a layer); 0: no limit")        \
    X(INT, subset, "unlearn.lcodec.subset", "0", 0, 1e6, "",                                                 \
      "candidates looked at in a round, drawn anew each time; 0: all")                                       \
    X(REAL, least, "unlearn.lcodec.least", "0", -1, 1, "", "a slice must be worth more than this")           \
    X(INT, retain_batches, "unlearn.lcodec.retain_batches", "8", 1, 1e6, "",                                 \
      "retained batches that the curvature of the data is measured on")                                      \
    X(REAL, probe_lr, "unlearn.lcodec.probe_lr", "1e-3", 1e-12, 1e3, "", "the step of finite differences")   \
    X(REAL, lambda, "unlearn.lcodec.lambda", "0.01", 1e-12, 1e6, "", "added to the diagonal")                \
    X(REAL, alpha, "unlearn.lcodec.alpha", "1", 0, 1e9, "", "times the step; 1: the paper's")                \
    X(REAL, epsilon, "unlearn.lcodec.epsilon", "0", 0, 1e9, "", "0: no noise; the paper: 0.1")               \
    X(REAL, delta, "unlearn.lcodec.delta", "0.01", 1e-12, 1, "", "for the noise")                            \
    X(REAL, hessian_lipschitz, "unlearn.lcodec.m", "0.25", 0, 1e9, "", "M, for the noise")                   \
    X(REAL, lipschitz, "unlearn.lcodec.l", "1", 0, 1e9, "", "L, for the noise")
typedef struct LcodecSettings {
    RECIPE_MEMBERS(LCODEC_FIELDS)
} LcodecSettings;
RECIPE_TABLE(lcodec_table, "Unlearning: L-CODEC", LcodecSettings, LCODEC_FIELDS);

/* A weight whose rows are slices. */
typedef struct Layer {
    const Param *w, *b; /* b NULL: has none */
    int64_t first;      /* its first slice */
} Layer;

/* Neighbouring weights that move. */
typedef struct Stretch {
    int64_t at, n; /* in the slab; weights */
    const Param *of;
} Stretch;

typedef struct Lcodec {
    Unlearn *u;
    const LcodecSettings *set;
    Layer *layer;
    int layers, layer_room;
    int64_t slices;
    float *column; /* [slices][observations]; NULL while layers are listed */
    double *loss;  /* [observations] */
    int64_t now;   /* which observation */
    CodecChoice *choice;
    Stretch *chosen; /* two a slice */
    int stretches;
    int64_t size; /* |s| */
    Feed forget, retain;
    int64_t left;   /* samples that the model still stands for */
    int64_t groups; /* done, of which `moved` moved something */
    int64_t moved;
    Error *e; /* what went wrong in a watch */
    bool bad;
} Lcodec;

/* ---- activations ---- */

/* The parameter behind a tensor, if it trains. */
static const Param *param_of(Tensor *t) {
    return t && t->param && t->grad ? params_of(t) : NULL;
}

static Layer *layer_find(const Lcodec *k, const Param *w) {
    for (int i = 0; i < k->layers; i++)
        if (k->layer[i].w == w) return &k->layer[i];
    return NULL;
}

static void layer_add(Lcodec *k, const Param *w, const Param *b) {
    if (k->layers == k->layer_room) {
        int room = k->layer_room ? 2 * k->layer_room : 64;
        Layer *grown = mem_resize(k->layer, (size_t)room * sizeof *grown);
        if (!grown) {
            k->bad = true;
            error_memory(k->e, (size_t)room * sizeof *grown);
            return;
        }
        k->layer = grown;
        k->layer_room = room;
    }
    k->layer[k->layers++] = (Layer){w, b, k->slices};
    k->slices += w->tensor.dim[0];
}

/* y as (outer, rows, inner): adds each row's mean to its column. */
static void layer_observe(const Lcodec *k, const Layer *l, const Tensor *y, int64_t inner) {
    int64_t rows = l->w->tensor.dim[0], outer = tensor_count(y) / (rows * inner);
    for (int64_t j = 0; j < rows; j++) {
        double sum = 0;
        for (int64_t o = 0; o < outer; o++)
            for (int64_t i = 0; i < inner; i++) sum += (double)tensor_at(y, (o * rows + j) * inner + i);
        k->column[(l->first + j) * k->set->observations + k->now] += (float)(sum / (double)(outer * inner));
    }
}

/* Step.watch: linear layers and convolutions have their weight in in[1], a row an output, the bias in in[2].
 */
static void watch(void *self, const OpCall *c) {
    Lcodec *k = self;
    bool conv = c->op == &conv2d_row;
    if ((!conv && c->op != &linear_row) || k->bad) return;
    const Param *w = param_of(c->in[1]);
    if (!w) return;
    if (!k->column) {
        if (!layer_find(k, w)) layer_add(k, w, param_of(c->in[2]));
        return;
    }
    const Layer *l = layer_find(k, w);
    const Tensor *y = c->out[0];
    if (l) layer_observe(k, l, y, conv ? y->dim[2] * y->dim[3] : 1);
}

/* A forward pass of the loss, watched, off the tape. */
static double look(Lcodec *k, const Batch *b) {
    Unlearn *u = k->u;
    unlearn_forward(u, b, false);
    bool was = step_no_grad(u->step);
    u->step->watch = watch;
    u->step->watch_self = k;
    double loss = (double)tensor_at(u->task->class->loss(u->task, u->step, b, NULL), 0);
    u->step->watch = NULL;
    step_grad_on(u->step, was);
    return loss;
}

static void perturb(const Lcodec *k, const Batch *b, float *out) {
    int64_t each = tensor_count(&b->image) / b->n;
    for (int64_t i = 0; i < b->n; i++) {
        Rng r = rng_open(k->u->seed, RNG_UNLEARN, (uint32_t)k->now, (uint64_t)b->id[i]);
        const float *x = tensor_real(&b->image) + i * each;
        for (int64_t j = 0; j < each; j++) out[i * each + j] = x[j] + (float)(k->set->noise * rng_normal(&r));
    }
}

static void columns_share(Lcodec *k) {
    int64_t n = k->set->observations;
    CommWork w = {.kind = COMM_SUM, .data = k->column, .n = k->slices * n, .what = "the activations"};
    if (comm_size() > 1) comm_start(&w), comm_finish(&w);
    comm_sum(k->loss, (int)n);
}

/* Observations are dealt out to the ranks, which add up zeros: none depends on how many there are. */
static bool observe(Lcodec *k, const Batch *b, Error *e) {
    int64_t n = k->set->observations;
    size_t bytes = tensor_bytes(&b->image);
    float *image = mem_get(bytes);
    if (!comm_agree(image || error_memory(e, bytes), e)) {
        mem_free(image);
        return false;
    }
    memset(k->column, 0, (size_t)(k->slices * n) * sizeof *k->column);
    memset(k->loss, 0, (size_t)n * sizeof *k->loss);
    for (k->now = 0; k->now < n; k->now++) {
        if (k->now % comm_size() != comm_rank()) continue;
        Batch noisy = *b;
        noisy.image.data = image;
        perturb(k, b, image);
        k->loss[k->now] = look(k, &noisy);
    }
    mem_free(image);
    columns_share(k);
    k->u->passes += (double)n * b->n / 3;
    return true;
}

/* ---- which slices ---- */

static int by_column(const void *a, const void *b) {
    int x = ((const CodecChoice *)a)->column, y = ((const CodecChoice *)b)->column;
    return (x > y) - (x < y);
}

static void stretch_add(Lcodec *k, const Param *q, int64_t row) {
    int64_t wide = tensor_count(&q->tensor) / q->tensor.dim[0];
    int64_t at = tensor_real(&q->tensor) - k->u->task->params.value + row * wide;
    k->chosen[k->stretches++] = (Stretch){at, wide, q};
    k->size += wide;
}

/* Columns from `first` on, `count` of them: appends those chosen to k->choice. */
static bool choose_among(Lcodec *k, int64_t first, int64_t count, int *found, Error *e) {
    const LcodecSettings *s = k->set;
    const CodecSettings set = {.seed = k->u->seed + (uint64_t)k->groups,
                               .most = (int)(s->most && s->most < count ? s->most : count),
                               .subset = (int)(s->subset < count ? s->subset : 0),
                               .least = s->least};
    int n = (int)s->observations, chosen;
    CodecChoice *to = k->choice + *found;
    if (!codec_select(k->loss, k->column + first * n, (int)count, n, &set, to, &chosen, e)) return false;
    for (int i = 0; i < chosen; i++) to[i].column += (int)first;
    *found += chosen;
    return true;
}

static bool choose(Lcodec *k, Error *e) {
    int found = 0;
    bool fine = true;
    k->stretches = 0;
    k->size = 0;
    if (k->set->within == 0) fine = choose_among(k, 0, k->slices, &found, e);
    for (int i = 0; i < k->layers && k->set->within == 1 && fine; i++)
        fine = choose_among(k, k->layer[i].first, k->layer[i].w->tensor.dim[0], &found, e);
    if (!comm_agree(fine, e)) return false;
    qsort(k->choice, (size_t)found, sizeof *k->choice, by_column);
    for (int i = 0, at = 0; i < found; i++) {
        while (at + 1 < k->layers && k->layer[at + 1].first <= k->choice[i].column) at++;
        int64_t row = k->choice[i].column - k->layer[at].first;
        stretch_add(k, k->layer[at].w, row);
        if (k->layer[at].b) stretch_add(k, k->layer[at].b, row);
    }
    return true;
}

/* ---- curvature, of |s| numbers ---- */

static void gather(const Lcodec *k, const real *slab, double factor, real *to) {
    for (int i = 0; i < k->stretches; to += k->chosen[i++].n)
        vector_add(to, slab + k->chosen[i].at, factor, k->chosen[i].n);
}

static void scatter(const Lcodec *k, const real *from) {
    for (int i = 0; i < k->stretches; from += k->chosen[i++].n)
        memcpy(k->u->task->params.value + k->chosen[i].at, from, (size_t)k->chosen[i].n * sizeof *from);
}

static bool finite_check(const real *g, int64_t n, const char *whose, Error *e) {
    return isfinite(vector_norm(g, n)) ||
           error_set(e, ERROR_NUMERIC, "the gradient of %s samples is not finite", whose);
}

/* Mean gradients by s, g being zeros. */
static bool gradient_group(Lcodec *k, const Batch *b, real *g, Error *e) {
    Params *p = &k->u->task->params;
    unlearn_zero(k->u);
    unlearn_loss(k->u, b, false, 1);
    params_settle_grad(p);
    k->u->passes += b->n;
    gather(k, p->grad, 1, g);
    return comm_agree(finite_check(g, k->size, "forgotten", e), e);
}

static bool gradient_retained(Lcodec *k, const Batch *unused, real *g, Error *e) {
    (void)unused;
    double all = 0;
    k->retain.next = 0;
    for (int64_t i = 0; i < k->set->retain_batches && i < k->retain.steps; i++) {
        const Batch *b;
        if (!feed_next(&k->retain, &b, e)) return false;
        unlearn_zero(k->u);
        unlearn_loss(k->u, b, false, 1);
        if (!unlearn_sum(k->u, e)) return false;
        double n = b->whole ? b->whole : b->n;
        gather(k, k->u->task->params.grad, n, g);
        all += n;
    }
    vector_scale(g, all > 0 ? 1 / all : 0, k->size);
    return finite_check(g, k->size, "retained", e);
}

typedef bool (*GradientOf)(Lcodec *k, const Batch *b, real *g, Error *e);

/* g1 at s1, and *difference = g1 - g2 after a step down; s is as it was. *size = |s1 - s2|_1. */
static bool curvature(Lcodec *k, GradientOf of, const Batch *b, const real *s1, real *g1, real *difference,
                      real *s2, double *size, Error *e) {
    if (!of(k, b, g1, e)) return false;
    memcpy(s2, s1, (size_t)k->size * sizeof *s2);
    vector_add(s2, g1, -k->set->probe_lr, k->size);
    scatter(k, s2);
    memset(difference, 0, (size_t)k->size * sizeof *difference);
    bool fine = of(k, b, difference, e);
    scatter(k, s1);
    vector_scale(difference, -1, k->size);
    vector_add(difference, g1, 1, k->size);
    *size = k->set->probe_lr * vector_absolute(g1, k->size);
    return fine;
}

/* ---- the step ---- */

/* Keyed by parameter, row and group. */
static void noise_add(const Lcodec *k, real *s, double group, double all) {
    const LcodecSettings *set = k->set;
    double gamma = 2 * set->hessian_lipschitz * set->lipschitz * set->lipschitz * group * group /
                   (all * all * pow(set->lambda, 3));
    double sigma = gamma / set->epsilon * sqrt(2 * log(1.25 / set->delta));
    for (int i = 0; i < k->stretches; i++) {
        const Stretch *x = &k->chosen[i];
        int64_t row = (x->at - (tensor_real(&x->of->tensor) - k->u->task->params.value)) / x->n;
        Rng r = rng_sub(rng_open(k->u->seed, RNG_UNLEARN, (uint32_t)k->groups, rng_hash(x->of->name)),
                        (uint32_t)row);
        for (int64_t j = 0; j < x->n; j++) *s++ += (real)(sigma * rng_normal(&r));
    }
}

/* v: five vectors of |s|, zeros. */
static bool step(Lcodec *k, const Batch *b, real *v, Error *e) {
    int64_t n = k->size;
    real *s1 = v, *g_old = v + n, *g_new = v + 2 * n, *d_old = v + 3 * n, *d_new = v + 4 * n, *s2 = v + 5 * n;
    double size_old, size_new, group = b->n, all = (double)k->left, rest = all - group;
    gather(k, k->u->task->params.value, 1, s1);
    if (!curvature(k, gradient_retained, NULL, s1, g_old, d_old, s2, &size_old, e) ||
        !curvature(k, gradient_group, b, s1, g_new, d_new, s2, &size_new, e))
        return false;
    const double c[] = {size_old > 0 ? all / (rest * size_old) : 0,
                        size_new > 0 ? -group / (rest * size_new) : 0};
    const float *const u[] = {d_old, d_new};
    if (!comm_agree(lowrank_solve(u, c, 2, k->set->lambda, g_new, s2, n, e), e)) return false;
    vector_add(s1, s2, k->set->alpha * group / rest, n);
    if (k->set->epsilon > 0) noise_add(k, s1, group, all);
    if (!isfinite(vector_norm(s1, n)))
        return error_set(e, ERROR_NUMERIC,
                         "a weight is not finite after the step: lower alpha or raise lambda");
    scatter(k, s1);
    k->moved++;
    return true;
}

static bool take_out(Lcodec *k, const Batch *b, Error *e) {
    if (k->left <= b->n) return error_set(e, ERROR_VALUE, "no sample is left to stay");
    if (!observe(k, b, e) || !choose(k, e)) return false;
    if (k->size > 0) {
        size_t bytes = (size_t)k->size * sizeof(real);
        real *v = mem_zero(6, bytes);
        bool fine = comm_agree(v || error_memory(e, 6 * bytes), e) && step(k, b, v, e);
        mem_free(v);
        if (!fine) return false;
    }
    k->left -= b->n;
    k->groups++;
    if (k->u->log)
        log_line(k->u->log, "group %lld: %lld weights of %d slices", (long long)k->groups, (long long)k->size,
                 k->stretches / 2);
    return true;
}

/* Which layers there are: one forward pass tells. */
static bool layers_list(Lcodec *k, const Batch *b, Error *e) {
    look(k, b);
    if (!comm_agree(!k->bad, e)) return false;
    if (!k->slices) return error_set(e, ERROR_VALUE, "no linear layer or convolution of the model trains");
    size_t slices = (size_t)k->slices, n = (size_t)k->set->observations;
    k->choice = mem_get(slices * sizeof *k->choice);
    k->chosen = mem_get(2 * slices * sizeof *k->chosen);
    k->loss = mem_get(n * sizeof *k->loss);
    k->column = mem_get(slices * n * sizeof *k->column);
    bool fine = k->choice && k->chosen && k->loss && k->column;
    return comm_agree(fine || error_memory(e, slices * n * sizeof *k->column), e);
}

static bool delete_all(Lcodec *k, Error *e) {
    Unlearn *u = k->u;
    if (!feed_open(&k->forget, u, SET_FORGET, FEED_WHOLE, k->set->group, e) ||
        !feed_open(&k->retain, u, SET_RETAIN, FEED_MIXED, 0, e))
        return false;
    for (int64_t i = 0; i < k->forget.steps; i++) {
        const Batch *b;
        if (!feed_next(&k->forget, &b, e)) return false;
        if (!b->n) continue;
        if ((!k->column && !layers_list(k, b, e)) || !take_out(k, b, e)) return false;
    }
    if (k->moved) return true;
    return error_set(e, ERROR_VALUE,
                     "no slice was found that carries the loss of a forgotten sample: more "
                     "unlearn.lcodec.observations, or another unlearn.lcodec.noise");
}

static bool run(Unlearn *u, const void *settings, Error *e) {
    Lcodec k = {.u = u, .set = settings, .e = e};
    DType was = u->step->compute;
    k.left = u->world->count[SET_RETAIN] + u->world->count[SET_FORGET];
    u->step->compute = DT_F32;
    bool fine = delete_all(&k, e);
    u->step->compute = was;
    feed_close(&k.forget);
    feed_close(&k.retain);
    mem_free(k.layer);
    mem_free(k.column);
    mem_free(k.loss);
    mem_free(k.choice);
    mem_free(k.chosen);
    return fine;
}

static double cost(const Unlearn *u, const void *settings) {
    const LcodecSettings *set = settings;
    double forgotten = (double)u->world->count[SET_FORGET], groups = ceil(forgotten / (double)set->group);
    double batch = (double)(u->set->batch ? u->set->batch : u->world->train->batch);
    double old = fmin(batch * (double)set->retain_batches, (double)u->world->count[SET_RETAIN]);
    return forgotten * ((double)set->observations / 3 + 2) + groups * 2 * old;
}

const Method method_lcodec = {
    .name = "lcodec",
    .title = "L-CODEC",
    .source = "Mehta et al. 2022",
    .about = "Newton's step for a sample on the few weights that its loss depends on, one after the other",
    .needs = NEEDS_RETAIN | NEEDS_FORGET,
    .claim = CLAIM_HEURISTIC,
    .table = &lcodec_table,
    .run = run,
    .cost = cost,
};
