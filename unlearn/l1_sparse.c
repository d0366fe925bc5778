/* l1-sparse (Jia et al. 2023): fine-tuning on the retained samples with gamma_t ||theta||_1 beside the loss,
 * gamma falling in a line to 0. The paper takes all parameters; on a ViT a penalty on norms and positions
 * does harm, so that matrices alone have it unless `all` is set. */
#include "core/comm.h"
#include "unlearn/method.h"
#include "unlearn/vector.h"

#define L1_SPARSE_FIELDS(X)                                                                                  \
    DESCENT_FIELDS(X, "l1_sparse", "10", "sgd", "0.01", "0.9", "5e-4")                                       \
    X(REAL, gamma, "unlearn.l1_sparse.gamma", "5e-4", 0, 10, "", "of the penalty, at first")                 \
    X(INT, free_epochs, "unlearn.l1_sparse.free_epochs", "0", 0, 100000, "", "passes at the end without it") \
    X(BOOL, all, "unlearn.l1_sparse.all", "false", 0, 0, "", "on norms, biases and tokens too, as the paper")
typedef struct L1Settings {
    RECIPE_MEMBERS(L1_SPARSE_FIELDS)
} L1Settings;
RECIPE_TABLE(l1_sparse_table, "Unlearning: l1-sparse", L1Settings, L1_SPARSE_FIELDS);

typedef struct Penalty {
    Unlearn *u;
    const L1Settings *set;
} Penalty;

/* Adds its gradient, on one rank: those of all ranks are added up. */
static void penalise(void *self, int64_t epoch) {
    const Penalty *x = self;
    const L1Settings *set = x->set;
    Params *p = &x->u->task->params;
    int64_t with = set->epochs - set->free_epochs;
    double gamma = epoch < with ? set->gamma * (1 - (double)epoch / (double)with) : 0;
    params_settle_grad(p);
    if (!comm_first() || gamma <= 0) return;
    for (int i = 0; i < p->count; i++) {
        const Tensor *t = &p->list[i]->tensor;
        if (!t->grad || !(set->all || p->list[i]->decay)) continue;
        real *g = tensor_real(t->grad), *v = tensor_real(t);
        for (int64_t k = 0; k < tensor_count(t); k++)
            g[k] += (real)(gamma * (double)((v[k] > 0) - (v[k] < 0)));
    }
}

static bool run(Unlearn *u, const void *settings, Error *e) {
    const L1Settings *set = settings;
    Penalty x = {u, set};
    return descent_retain(u, DESCENT_OF(set), NULL, penalise, &x, e);
}

static double cost(const Unlearn *u, const void *settings) {
    return (double)((const L1Settings *)settings)->epochs * (double)u->world->count[SET_RETAIN];
}

const Method method_l1_sparse = {
    .name = "l1_sparse",
    .title = "l1-sparse",
    .source = "Jia et al. 2023",
    .about = "fine-tunes with a penalty on the size of weights, so that fewer of them hold anything",
    .needs = NEEDS_RETAIN,
    .claim = CLAIM_HEURISTIC,
    .table = &l1_sparse_table,
    .run = run,
    .cost = cost,
};
