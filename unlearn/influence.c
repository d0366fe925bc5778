/* Influence unlearning (Koh and Liang 2017; for unlearning Izzo et al. 2021, and IU of Jia et al. 2023): one
 * step to where the optimum goes when the forgotten samples are taken out,
 *
 *   theta + alpha H^-1 v,   v = (n_f / n) (g_f - g_r),   n = n_f + n_r
 *
 * g_f and g_r being the mean gradients of the forgotten and of the retained samples. At an optimum of all the
 * samples n_f g_f + n_r g_r = 0, so that v = -g_r, and alpha 1 is one step of Newton's on the retained loss.
 *
 * For H: "fisher" is what WoodFisher is after (Singh and Alistarh 2020, equation 6), the empirical Fisher
 * matrix of single retained samples, lambda I + (1 / N) sum g g^T, inverted exactly from the N gradients,
 * which are kept: N x parameters of memory. "published" is the loop of the code of IU, which keeps one
 * gradient and is not that inverse (unlearn/woodfisher.h says what it is); for tables that want its figures.
 */
#include "core/comm.h"
#include "unlearn/lowrank.h"
#include "unlearn/method.h"
#include "unlearn/vector.h"
#include "unlearn/woodfisher.h"

#include <math.h>
#include <string.h>

#define INFLUENCE_FIELDS(X)                                                                                  \
    X(REAL, alpha, "unlearn.influence.alpha", "1", -1e9, 1e9, "",                                            \
      "length of the step; 1: Newton's; far from an optimum, or with another lambda, another one")           \
    X(CHOICE, inverse, "unlearn.influence.inverse", "\"fisher\"", 0, 0, "fisher|published",                  \
      "which curvature is inverted: the samples' Fisher matrix, or what the published loop has")             \
    X(REAL, lambda, "unlearn.influence.lambda", "0.1", 1e-12, 1e6, "",                                       \
      "fisher: added to the diagonal; small ones make long steps in networks")                               \
    X(INT, samples, "unlearn.influence.samples", "1000", 1, 1e7, "",                                         \
      "retained samples whose gradients make the curvature, drawn")                                          \
    X(INT, memory, "unlearn.influence.memory_mb", "8192", 1, 1e9, "",                                        \
      "fisher: the most that their gradients may take, in MiB")
typedef struct InfluenceSettings {
    RECIPE_MEMBERS(INFLUENCE_FIELDS)
} InfluenceSettings;
RECIPE_TABLE(influence_table, "Unlearning: influence", InfluenceSettings, INFLUENCE_FIELDS);

static int64_t samples_of(const Unlearn *u, const InfluenceSettings *set) {
    int64_t n = u->world->count[SET_RETAIN];
    return set->samples < n ? set->samples : n;
}

/* The gradient of sample after sample, each on every rank, for `each`. */
static bool gradients_single(Unlearn *u, int64_t samples, bool (*each)(void *self, const real *g, Error *e),
                             void *self, Error *e) {
    Feed f;
    const Params *p = &u->task->params;
    if (!feed_open(&f, u, SET_RETAIN, FEED_MIXED_WHOLE, 1, e)) return false;
    bool fine = true;
    for (int64_t i = 0; i < samples && i < f.steps && fine; i++) {
        const Batch *b;
        if (!(fine = feed_next(&f, &b, e)) || !b->n) continue;
        unlearn_zero(u);
        unlearn_loss(u, b, false, 1);
        params_settle_grad(&u->task->params);
        u->passes++;
        if (!isfinite(u->loss) || !isfinite(vector_norm(p->grad, p->trained)))
            fine = error_set(e, ERROR_NUMERIC, "the loss of sample %lld or its gradient is not finite",
                             (long long)b->id[0]);
        fine = comm_agree(fine && each(self, p->grad, e), e);
    }
    feed_close(&f);
    return fine;
}

/* ---- the Fisher matrix, from kept gradients ---- */

typedef struct Kept {
    float **g;
    int r, room;
    int64_t n;
} Kept;

static bool keep(void *self, const real *g, Error *e) {
    Kept *k = self;
    size_t bytes = (size_t)k->n * sizeof *g;
    if (!(k->g[k->r] = mem_get(bytes))) return error_memory(e, bytes);
    memcpy(k->g[k->r++], g, bytes);
    return true;
}

static bool memory_check(const Unlearn *u, const InfluenceSettings *set, Error *e) {
    int64_t n = samples_of(u, set), each = u->task->params.trained * (int64_t)sizeof(real),
            fit = (set->memory << 20) / each;
    if (n > LOWRANK_MOST)
        return error_set(
            e, ERROR_LIMIT,
            "unlearn.influence.samples: a Fisher matrix of %lld gradients; at most %d are inverted",
            (long long)n, LOWRANK_MOST);
    if (n <= fit) return true;
    return error_set(e, ERROR_LIMIT,
                     "gradients of %lld samples take %lld MiB, and unlearn.influence.memory_mb is %lld: %lld "
                     "samples fit (unlearn.influence.samples); or set unlearn.influence.inverse to "
                     "\"published\"",
                     (long long)n, (long long)(n * each >> 20), (long long)set->memory, (long long)fit);
}

/* v becomes (lambda I + F)^-1 v. */
static bool solve_fisher(Unlearn *u, const InfluenceSettings *set, real *v, Error *e) {
    Kept k = {.n = u->task->params.trained, .room = (int)samples_of(u, set)};
    k.g = mem_zero((size_t)k.room, sizeof *k.g);
    double *c = mem_get((size_t)k.room * sizeof *c);
    bool fine = comm_agree((k.g && c) || error_memory(e, (size_t)k.room * sizeof *c), e) &&
                gradients_single(u, k.room, keep, &k, e);
    for (int i = 0; i < k.r && fine; i++) c[i] = 1.0 / k.r;
    fine = fine && comm_agree(lowrank_solve((const float *const *)k.g, c, k.r, set->lambda, v, v, k.n, e), e);
    for (int i = 0; i < k.r; i++) mem_free(k.g[i]);
    mem_free(k.g);
    mem_free(c);
    return fine;
}

/* ---- the published loop ---- */

static bool stream(void *self, const real *g, Error *e) {
    (void)e;
    woodfisher_add(self, g);
    return true;
}

static bool solve_published(Unlearn *u, const InfluenceSettings *set, real *v, Error *e) {
    WoodFisher w;
    int64_t samples = samples_of(u, set);
    bool fine = comm_agree(woodfisher_begin(&w, v, u->task->params.trained, samples, e), e) &&
                gradients_single(u, samples, stream, &w, e) && comm_agree(woodfisher_result(&w, v, e), e);
    woodfisher_close(&w);
    return fine;
}

static bool step(Unlearn *u, const InfluenceSettings *set, real *v, real *retain, Error *e) {
    const Params *p = &u->task->params;
    double f = (double)u->world->count[SET_FORGET], n = f + (double)u->world->count[SET_RETAIN];
    if (!unlearn_gradient(u, SET_FORGET, FEED_PLAIN, 0, v, NULL, NULL, e) ||
        !unlearn_gradient(u, SET_RETAIN, FEED_PLAIN, 0, retain, NULL, NULL, e))
        return false;
    vector_add(v, retain, -1, p->trained);
    vector_scale(v, f / n, p->trained);
    if (!(set->inverse == 0 ? solve_fisher : solve_published)(u, set, v, e)) return false;
    if (!isfinite(set->alpha * vector_norm(v, p->trained)))
        return error_set(e, ERROR_NUMERIC, "the step is not finite: a larger lambda makes it shorter");
    vector_add(p->value, v, set->alpha, p->trained);
    if (u->log)
        log_line(u->log, "influence moved the weights by %.3g of their length",
                 fabs(set->alpha) * vector_norm(v, p->trained) / vector_norm(u->origin, p->trained));
    return true;
}

static bool run(Unlearn *u, const void *settings, Error *e) {
    const InfluenceSettings *set = settings;
    if (set->inverse == 0 && !memory_check(u, set, e)) return false;
    int64_t n = u->task->params.trained;
    real *v = vector_new(n, e), *retain = vector_new(n, e);
    bool fine = comm_agree(v && retain, e) && step(u, set, v, retain, e);
    mem_free(v);
    mem_free(retain);
    return fine;
}

static double cost(const Unlearn *u, const void *settings) {
    const int64_t *n = u->world->count;
    return (double)n[SET_FORGET] + (double)n[SET_RETAIN] + (double)samples_of(u, settings);
}

const Method method_influence = {
    .name = "influence",
    .title = "Influence",
    .source = "Izzo et al. 2021; WoodFisher: Singh and Alistarh 2020; IU: Jia et al. 2023",
    .about = "one step against the curvature, to where the optimum goes without the forgotten samples",
    .needs = NEEDS_RETAIN | NEEDS_FORGET,
    .claim = CLAIM_HEURISTIC,
    .table = &influence_table,
    .run = run,
    .cost = cost,
};
