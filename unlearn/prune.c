/* Prune, then unlearn (Jia et al. 2023): the smallest weights of all matrices together are set to 0 and stay
 * there; then another method runs on what is left. The paper rewinds to an early epoch and trains the sparse
 * model first; a finished model has no such weights, so the retained samples mend it in `mend` passes of
 * fine-tuning instead. */
#include "core/comm.h"
#include "unlearn/method.h"
#include "unlearn/vector.h"

#include <string.h>

#define PRUNE_FIELDS(X)                                                                                      \
    DESCENT_FIELDS(X, "prune", "2", "sgd", "0.01", "0.9", "5e-4")                                            \
    X(REAL, rate, "unlearn.prune.rate", "0.5", 0, 0.999, "",                                                 \
      "share of the weights that become 0; the paper's ResNets bear 0.95")                                   \
    X(CHOICE, then, "unlearn.prune.then", "\"fine_tune\"", 0, 0,                                             \
      "fine_tune|ascent|neggrad|random_label|scrub|salun", "what follows, with its own settings")
typedef struct PruneSettings {
    RECIPE_MEMBERS(PRUNE_FIELDS)
} PruneSettings;
RECIPE_TABLE(prune_table, "Unlearning: prune, then unlearn", PruneSettings, PRUNE_FIELDS);

static const char *const then_name[] = {"fine_tune", "ascent", "neggrad", "random_label", "scrub", "salun"};

static const Method *then(const void *settings) {
    const PruneSettings *set = settings;
    return method_find(then_name[set->then]);
}

/* Matrices only: what decays. Fills u->keep and makes the zeros. */
static bool prune(Unlearn *u, double rate, Error *e) {
    const Params *p = &u->task->params;
    real *size = mem_get((size_t)p->trained * sizeof *size), least = 0;
    int64_t n = 0;
    if (!(u->keep = vector_new(p->trained, e)) || !size) {
        mem_free(size);
        return error_memory(e, (size_t)p->trained * sizeof *size);
    }
    for (int64_t i = 0; i < p->trained; i++) u->keep[i] = 1;
    for (int i = 0; i < p->count; i++) {
        const Tensor *t = &p->list[i]->tensor;
        if (!t->grad || !p->list[i]->decay) continue;
        memcpy(size + n, t->data, tensor_bytes(t));
        n += tensor_count(t);
    }
    int64_t cut = (int64_t)(rate * (double)n);
    bool fine = cut == 0 || vector_rank(size, NULL, n, cut - 1, &least, e);
    for (int i = 0; i < p->count && fine && cut; i++) {
        const Tensor *t = &p->list[i]->tensor;
        if (!t->grad || !p->list[i]->decay) continue;
        int64_t at = tensor_real(t) - p->value;
        for (int64_t k = at; k < at + tensor_count(t); k++)
            if (real_abs(p->value[k]) <= least) u->keep[k] = p->value[k] = 0;
    }
    mem_free(size);
    return fine;
}

/* The pruned and mended model is what the next method sets out from, and what it calls the old one. */
static bool run(Unlearn *u, const void *settings, Error *e) {
    const PruneSettings *set = settings;
    const Method *next = then(settings);
    const Params *p = &u->task->params;
    size_t bytes = (size_t)p->values * sizeof(real);
    const void *with = u->world->settings(u->world->self, next);
    real *origin = mem_get(bytes);
    if (!comm_agree(origin ? method_check(next, u, e) && prune(u, set->rate, e) : error_memory(e, bytes),
                    e)) {
        mem_free(origin);
        return false;
    }
    memcpy(origin, u->origin, bytes);
    bool fine = descent_retain(u, DESCENT_OF(set), NULL, NULL, NULL, e);
    memcpy(u->origin, p->value, bytes);
    fine = fine && next->run(u, with, e);
    memcpy(u->origin, origin, bytes);
    mem_free(origin);
    return fine;
}

static double cost(const Unlearn *u, const void *settings) {
    const PruneSettings *set = settings;
    const Method *next = then(settings);
    return (double)set->epochs * (double)u->world->count[SET_RETAIN] +
           next->cost(u, u->world->settings(u->world->self, next));
}

const Method method_prune = {
    .name = "prune",
    .title = "Prune, then unlearn",
    .source = "Jia et al. 2023",
    .about = "sets the smallest weights to 0 for good, then runs another method",
    .needs = NEEDS_RETAIN,
    .claim = CLAIM_HEURISTIC,
    .table = &prune_table,
    .run = run,
    .cost = cost,
    .then = then,
};
