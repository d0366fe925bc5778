/* SLUG (Cai et al. 2025): one layer, one gradient. The gradients of the forgotten samples' loss and of the
 * retained ones' are taken once. A matrix is worth changing that matters much for the forgotten (|g_f| / |w|
 * is great) and little for the rest (|cos(g_f, g_r)| is small): those that no other beats in both (the Pareto
 * front) are tried, each moved along g_f by a step that a search by halves finds: the least with which the
 * forgotten are known no better than they should be. The one that leaves unseen samples best known stays; all
 * else is as it was. */
#include "core/comm.h"
#include "unlearn/method.h"
#include "unlearn/vector.h"

#include <math.h>
#include <string.h>

#define SLUG_FIELDS(X)                                                                                       \
    X(INT, tries, "unlearn.slug.tries", "10", 1, 1000, "", "evaluations in the search of one layer's step")  \
    X(INT, layers, "unlearn.slug.layers", "0", 0, 1000, "",                                                  \
      "try so many of the front, the most important first; 0: all")
typedef struct SlugSettings {
    RECIPE_MEMBERS(SLUG_FIELDS)
} SlugSettings;
RECIPE_TABLE(slug_table, "Unlearning: SLUG", SlugSettings, SLUG_FIELDS);

/* A matrix that may be moved. */
typedef struct Layer {
    const Param *q;
    int64_t at, n;                                /* in the slabs */
    double importance, alignment, weight, forget; /* weight, forget: norms of values and of g_f */
} Layer;

typedef struct Slug {
    Unlearn *u;
    const SlugSettings *set;
    real *forget, *retain; /* gradients [trained] */
    Layer *layer;
    int layers;
    UnlearnScore aim;
    /* the best so far */
    int best;
    double step, utility;
} Slug;

/* Biases, norms, tokens and tables are passed over: what does not decay. */
static void layers_list(Slug *s) {
    const Params *p = &s->u->task->params;
    for (int i = 0; i < p->count; i++) {
        const Tensor *t = &p->list[i]->tensor;
        if (!t->grad || !p->list[i]->decay) continue;
        Layer x = {.q = p->list[i], .at = tensor_real(t) - p->value, .n = tensor_count(t)};
        const real *f = s->forget + x.at, *r = s->retain + x.at;
        double other = vector_norm(r, x.n);
        x.weight = vector_norm(p->value + x.at, x.n);
        x.forget = vector_norm(f, x.n);
        if (x.weight == 0 || x.forget == 0) continue;
        x.importance = x.forget / x.weight;
        x.alignment = other > 0 ? fabs(vector_dot(f, r, x.n)) / (x.forget * other) : 0;
        s->layer[s->layers++] = x;
    }
}

/* Keeps those that no other beats in both respects, the most important first. */
static void layers_front(Slug *s) {
    int kept = 0;
    for (int i = 0; i < s->layers; i++) {
        const Layer *x = &s->layer[i];
        bool beaten = false;
        for (int k = 0; k < s->layers && !beaten; k++)
            beaten = s->layer[k].importance > x->importance && s->layer[k].alignment < x->alignment;
        if (beaten)
            s->layer[i].importance = -s->layer[i].importance; /* what beat it beats all that it beats */
    }
    for (int i = 0; i < s->layers; i++)
        if (s->layer[i].importance > 0) s->layer[kept++] = s->layer[i];
    for (int i = 1; i < kept; i++)
        for (int k = i; k > 0 && s->layer[k].importance > s->layer[k - 1].importance; k--) {
            Layer t = s->layer[k];
            s->layer[k] = s->layer[k - 1];
            s->layer[k - 1] = t;
        }
    s->layers = s->set->layers && s->set->layers < kept ? (int)s->set->layers : kept;
}

/* The layer moved by `step` from where it came in, up the forgotten samples' loss. */
static void move(const Slug *s, const Layer *x, double step) {
    real *v = s->u->task->params.value + x->at;
    memcpy(v, s->u->origin + x->at, (size_t)x->n * sizeof *v);
    vector_add(v, s->forget + x->at, step, x->n);
}

static bool utility_of(Slug *s, double *out, Error *e) {
    UnlearnScore score;
    UnlearnSet set = s->u->world->count[SET_VALID] ? SET_VALID : SET_RETAIN;
    if (!unlearn_score(s->u, set, &score, e)) return false;
    *out = score.more_is_better ? score.value : -score.value;
    return true;
}

/* Doubles the step until enough is forgotten, then halves the interval. */
static bool try_layer(Slug *s, int i, Error *e) {
    const Layer *x = &s->layer[i];
    double lo = 0, hi = 0, step = x->weight / x->forget / 10, utility;
    for (int64_t k = 0; k < s->set->tries; k++) {
        UnlearnScore now;
        move(s, x, step);
        if (!unlearn_score(s->u, SET_FORGET, &now, e)) return false;
        if (unlearn_reached(&now, &s->aim))
            hi = step;
        else
            lo = step;
        step = hi > 0 ? (lo + hi) / 2 : 2 * lo;
    }
    if (hi > 0) {
        move(s, x, hi);
        if (!utility_of(s, &utility, e)) return false;
        if (s->best < 0 || utility > s->utility) s->best = i, s->step = hi, s->utility = utility;
    }
    move(s, x, 0);
    return true;
}

static bool search(Slug *s, Error *e) {
    layers_list(s);
    layers_front(s);
    if (!unlearn_aim(s->u, "slug", &s->aim, e)) return false;
    for (int i = 0; i < s->layers; i++)
        if (!try_layer(s, i, e)) return false;
    if (s->best < 0)
        return error_set(
            e, ERROR_VALUE,
            "no single layer of the %d that were tried makes the model forget: what is to be forgotten "
            "is no direction of its own; use another method",
            s->layers);
    const Layer *x = &s->layer[s->best];
    move(s, x, s->step);
    if (s->u->log)
        log_line(s->u->log, "SLUG moved %s alone, by %.3g of its length", x->q->name,
                 s->step * x->forget / x->weight);
    return true;
}

static bool run(Unlearn *u, const void *settings, Error *e) {
    Slug s = {.u = u, .set = settings, .best = -1};
    int64_t n = u->task->params.trained;
    size_t bytes = (size_t)u->task->params.count * sizeof *s.layer;
    s.forget = vector_new(n, e);
    s.retain = vector_new(n, e);
    s.layer = mem_get(bytes);
    bool fine = s.forget && s.retain && (s.layer || error_memory(e, bytes));
    fine = comm_agree(fine, e) && unlearn_has_aim(u, "slug", e) &&
           unlearn_gradient(u, SET_FORGET, FEED_PLAIN, 0, s.forget, NULL, NULL, e) &&
           unlearn_gradient(u, SET_RETAIN, FEED_PLAIN, 0, s.retain, NULL, NULL, e) && search(&s, e);
    mem_free(s.forget);
    mem_free(s.retain);
    mem_free(s.layer);
    return fine;
}

static double cost(const Unlearn *u, const void *settings) {
    const SlugSettings *set = settings;
    const int64_t *n = u->world->count;
    double layers = set->layers ? (double)set->layers : 8;
    return (double)n[SET_FORGET] + (double)n[SET_RETAIN] +
           layers / 3 * ((double)set->tries * (double)n[SET_FORGET] + (double)n[SET_VALID]);
}

const Method method_slug = {
    .name = "slug",
    .title = "SLUG",
    .source = "Cai et al. 2025",
    .about = "moves one layer along one gradient",
    .needs = NEEDS_RETAIN | NEEDS_FORGET,
    .claim = CLAIM_HEURISTIC,
    .table = &slug_table,
    .run = run,
    .cost = cost,
};
