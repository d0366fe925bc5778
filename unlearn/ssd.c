/* Selective synaptic dampening (Foster et al. 2024): no training. Weights that matter much more for the
 * forgotten samples than for all are made smaller: where I_f > alpha I, times min(1, lambda I / I_f). The
 * importance of a weight is the mean over batches of its squared gradient; with label_free the mean over
 * batches of |d ||f(x)||^2| (LFSSD), for models without labels. Both importances use batches of one size,
 * since the mean gradient's square depends on it. */
#include "core/comm.h"
#include "core/ops.h"
#include "unlearn/method.h"
#include "unlearn/vector.h"

#define SSD_FIELDS(X)                                                                                        \
    X(REAL, alpha, "unlearn.ssd.alpha", "10", 0, 1e9, "", "a weight is dampened where I_f > alpha I")        \
    X(REAL, lambda, "unlearn.ssd.lambda", "1", 0, 1e9, "", "by min(1, lambda I / I_f)")                      \
    X(INT, batch, "unlearn.ssd.batch", "0", 0, 1e6, "",                                                      \
      "samples a gradient; 0: unlearn.batch; no more than there are forgotten or retained ones; 1: "         \
      "Fisher's "                                                                                            \
      "information")                                                                                         \
    X(BOOL, label_free, "unlearn.ssd.label_free", "false", 0, 0, "",                                         \
      "by the size of the outputs instead of the loss (LFSSD)")                                              \
    X(BOOL, matrices, "unlearn.ssd.matrices", "false", 0, 0, "", "leave norms, biases and tokens alone")
typedef struct SsdSettings {
    RECIPE_MEMBERS(SSD_FIELDS)
} SsdSettings;
RECIPE_TABLE(ssd_table, "Unlearning: SSD", SsdSettings, SSD_FIELDS);

typedef struct Importance {
    Unlearn *u;
    real *sum;
    double batches;
    bool label_free;
} Importance;

static void add(Importance *x) {
    const Params *p = &x->u->task->params;
    for (int64_t i = 0; x->label_free && i < p->trained; i++) x->sum[i] += real_abs(p->grad[i]);
    if (!x->label_free) vector_add_square(x->sum, p->grad, 1, p->trained);
    x->batches++;
}

/* The mean over samples of ||f(x)||^2. */
static Tensor *size_of(Unlearn *u, const Batch *b) {
    Step *s = u->step;
    Tensor *x = u->task->class->outputs(u->task, s, b);
    x = op_reduce(s, op_arith(s, x, x, ARITH_MUL), 1, 1, REDUCE_SUM);
    return op_reduce(s, f32_of(s, x), 0, 1, REDUCE_MEAN);
}

static bool measure(Importance *x, UnlearnSet set, int64_t batch, Error *e) {
    Feed f;
    Unlearn *u = x->u;
    if (!feed_open(&f, u, set, FEED_MIXED, batch, e)) return false;
    bool fine = true;
    for (int64_t i = 0; i < f.steps && fine; i++) {
        const Batch *b;
        if (!(fine = feed_next(&f, &b, e))) break;
        unlearn_zero(u);
        unlearn_forward(u, b, false);
        if (b->n)
            unlearn_backward(
                u, x->label_free ? size_of(u, b) : u->task->class->loss(u->task, u->step, b, NULL), 1, b);
        if ((fine = unlearn_sum(u, e))) add(x);
    }
    feed_close(&f);
    return fine;
}

static void dampen(const Unlearn *u, const SsdSettings *set, const real *all, const real *forget) {
    const Params *p = &u->task->params;
    for (int i = 0; i < p->count; i++) {
        const Tensor *t = &p->list[i]->tensor;
        if (!t->grad || (set->matrices && !p->list[i]->decay)) continue;
        int64_t at = tensor_real(t) - p->value;
        for (int64_t k = at; k < at + tensor_count(t); k++) {
            double d = (double)all[k], f = (double)forget[k];
            if (f <= set->alpha * d) continue;
            double by = set->lambda * d / f;
            p->value[k] = (real)((double)p->value[k] * (by < 1 ? by : 1));
        }
    }
}

/* The importance over all samples is that of the retained and of the forgotten together. */
static bool run(Unlearn *u, const void *settings, Error *e) {
    const SsdSettings *set = settings;
    int64_t n = u->task->params.trained, batch = set->batch;
    const int64_t *count = u->world->count;
    int64_t fewest = count[SET_FORGET] < count[SET_RETAIN] ? count[SET_FORGET] : count[SET_RETAIN];
    if (!batch) batch = u->set->batch ? u->set->batch : u->world->train->batch;
    if (batch > fewest) batch = fewest;
    Importance forget = {.u = u, .label_free = set->label_free}, all = forget;
    bool fine = (forget.sum = vector_new(n, e)) && (all.sum = vector_new(n, e));
    fine =
        comm_agree(fine, e) && measure(&forget, SET_FORGET, batch, e) && measure(&all, SET_RETAIN, batch, e);
    if (fine) {
        vector_add(all.sum, forget.sum, 1, n);
        vector_scale(all.sum, 1 / (all.batches + forget.batches), n);
        vector_scale(forget.sum, 1 / forget.batches, n);
        dampen(u, set, all.sum, forget.sum);
    }
    mem_free(forget.sum);
    mem_free(all.sum);
    return fine;
}

static double cost(const Unlearn *u, const void *settings) {
    (void)settings;
    return (double)u->world->count[SET_FORGET] + (double)u->world->count[SET_RETAIN];
}

const Method method_ssd = {
    .name = "ssd",
    .title = "SSD",
    .source = "Foster et al. 2024",
    .about = "dampens the weights that matter much more for the forgotten samples than for all",
    .needs = NEEDS_RETAIN | NEEDS_FORGET,
    .claim = CLAIM_HEURISTIC,
    .table = &ssd_table,
    .run = run,
    .cost = cost,
};
