/* SalUn (Fan et al. 2024, 4): random labels, but only the weights move that matter most for the forgotten
 * samples: those with the greatest gradient of their loss. The sum over batches is signed and its size taken
 * once, at the end, and all tensors are ranked together, as the code does. Soft (its appendix and code): no
 * mask; instead, after each update the displacement is shrunk so that a share of the weights, falling from
 * 1 - `share` to 0 over the run, is back where it was. */
#include "core/comm.h"
#include "unlearn/method.h"
#include "unlearn/relabel.h"
#include "unlearn/vector.h"

#include <math.h>

#define SALUN_FIELDS(X)                                                                                      \
    DESCENT_FIELDS(X, "salun", "10", "sgd", "0.013", "0.9", "5e-4")                                          \
    RELABEL_FIELDS(X, "salun")                                                                               \
    X(REAL, share, "unlearn.salun.share", "0.5", 0, 1, "", "of the weights that may move")                   \
    X(BOOL, each, "unlearn.salun.per_tensor", "false", 0, 0, "",                                             \
      "rank weights within their tensor, so that norms and biases do not take it all")                       \
    X(BOOL, soft, "unlearn.salun.soft", "false", 0, 0, "", "shrink displacements instead (SalUn-soft)")
typedef struct SalunSettings {
    RECIPE_MEMBERS(SALUN_FIELDS)
} SalunSettings;
RECIPE_TABLE(salun_table, "Unlearning: SalUn", SalunSettings, SALUN_FIELDS);

static void add(void *self, const real *grad, double samples) {
    (void)samples;
    const Unlearn *u = ((void **)self)[0];
    vector_add(((void **)self)[1], grad, 1, u->task->params.trained);
}

/* x [n] becomes 1 for the `share` greatest of |x|, else 0. Of equals the first: many a gradient is 0, and
 * were the least of the greatest 0, too, all would move. */
static bool mask_greatest(real *x, int64_t n, double share, Error *e) {
    int64_t moves = (int64_t)(share * (double)n), greater = 0;
    real least = INFINITY;
    if (moves > 0 && !vector_rank(x, NULL, n, n - moves, &least, e)) return false;
    for (int64_t i = 0; i < n; i++) greater += real_abs(x[i]) > least;
    for (int64_t i = 0, equals = moves - greater; i < n; i++) {
        bool equal = real_abs(x[i]) == least && equals > 0;
        equals -= equal;
        x[i] = equal || real_abs(x[i]) > least;
    }
    return true;
}

/* Ranks only what is a weight: slabs have gaps between tensors. */
static bool mask_all(const Params *p, real *g, double share, Error *e) {
    real *dense = mem_get((size_t)p->trained * sizeof *dense);
    int64_t n = 0;
    if (!dense) return error_memory(e, (size_t)p->trained * sizeof *dense);
    for (int pass = 0; pass < 2; pass++) {
        if (pass && !mask_greatest(dense, n, share, e)) break;
        n = 0;
        for (int i = 0; i < p->count; i++) {
            const Tensor *t = &p->list[i]->tensor;
            if (!t->grad) continue;
            real *at = g + (tensor_real(t) - p->value);
            for (int64_t k = 0; k < tensor_count(t); k++, n++)
                if (pass)
                    at[k] = dense[n];
                else
                    dense[n] = at[k];
        }
        if (pass) {
            mem_free(dense);
            return true;
        }
    }
    mem_free(dense);
    return false;
}

static bool mask_each(const Params *p, real *g, double share, Error *e) {
    for (int i = 0; i < p->count; i++) {
        const Tensor *t = &p->list[i]->tensor;
        if (t->grad && !mask_greatest(g + (tensor_real(t) - p->value), tensor_count(t), share, e))
            return false;
    }
    return true;
}

/* Soft thresholding of the displacement by the size of its k-th smallest. */
static bool shrink(void *self, Descent *d, Error *e) {
    const SalunSettings *set = self;
    const Unlearn *u = d->u;
    Params *p = &u->task->params;
    double left = (double)(d->updates - d->done) / (double)d->updates;
    int64_t weights = 0;
    for (int i = 0; i < p->count; i++)
        if (p->list[i]->tensor.grad) weights += tensor_count(&p->list[i]->tensor);
    int64_t k = (int64_t)((1 - set->share) * left * (double)weights);
    real t;
    if (k < 1) return true;
    /* the gaps between tensors, 0 in both, are the smallest of all */
    if (!vector_rank(p->value, u->origin, p->trained, p->trained - weights + k - 1, &t, e)) return false;
    for (int64_t i = 0; i < p->trained; i++) {
        real by = p->value[i] - u->origin[i], size = real_abs(by) - t;
        p->value[i] = size > 0 ? u->origin[i] + (by > 0 ? size : -size) : u->origin[i];
    }
    return true;
}

static bool run(Unlearn *u, const void *settings, Error *e) {
    SalunSettings set = *(const SalunSettings *)settings;
    if (set.soft) return relabel_descend(u, DESCENT_OF(&set), RELABEL_OF(&set), NULL, shrink, &set, e);
    const Params *p = &u->task->params;
    real *mask = vector_new(p->trained, e);
    if (!comm_agree(mask != NULL, e)) return false;
    bool fine = unlearn_gradient(u, SET_FORGET, FEED_PLAIN, 0, NULL, add, (void *[]){u, mask}, e);
    fine = fine && comm_agree((set.each ? mask_each : mask_all)(p, mask, set.share, e), e);
    fine = fine && relabel_descend(u, DESCENT_OF(&set), RELABEL_OF(&set), mask, NULL, NULL, e);
    mem_free(mask);
    return fine;
}

static double cost(const Unlearn *u, const void *settings) {
    const SalunSettings *set = settings;
    const int64_t *n = u->world->count;
    return (double)n[SET_FORGET] +
           (double)set->epochs * ((double)n[SET_FORGET] + set->retain * (double)n[SET_RETAIN]);
}

const Method method_salun = {
    .name = "salun",
    .title = "SalUn",
    .source = "Fan et al. 2024",
    .about = "random labels, learnt by the weights alone that matter for the forgotten samples",
    .needs = NEEDS_RETAIN | NEEDS_FORGET,
    .claim = CLAIM_HEURISTIC,
    .table = &salun_table,
    .run = run,
    .cost = cost,
};
