/* NegGrad+ (Kurmanji et al. 2023, as their repository has it): down the loss of a retained batch and up that
 * of a forgotten one in the same step, alpha L_r - (1 - alpha) L_f. Where a model has batch norm, their code
 * keeps its running statistics; here each batch has its own, as in training. */
#include "unlearn/method.h"

#define NEGGRAD_FIELDS(X)                                                                                    \
    DESCENT_FIELDS(X, "neggrad", "10", "sgd", "0.01", "0.9", "0")                                            \
    X(REAL, alpha, "unlearn.neggrad.alpha", "0.95", 0, 1, "", "share of the retained samples' loss")
typedef struct NeggradSettings {
    RECIPE_MEMBERS(NEGGRAD_FIELDS)
} NeggradSettings;
RECIPE_TABLE(neggrad_table, "Unlearning: NegGrad+", NeggradSettings, NEGGRAD_FIELDS);

static bool run(Unlearn *u, const void *settings, Error *e) {
    const NeggradSettings *set = settings;
    Feed retain = {0}, forget = {0};
    Descent d = {0};
    bool fine = feed_open(&retain, u, SET_RETAIN, FEED_TRAIN, 0, e) &&
                feed_open(&forget, u, SET_FORGET, FEED_TRAIN, 0, e);
    int64_t updates = retain.steps * set->epochs;
    fine = fine && descent_open(&d, u, DESCENT_OF(set), updates, e);
    bool done = false;
    for (int64_t i = 0; i < updates && fine && !done; i++) {
        const Batch *r, *f;
        if (!(fine = feed_next(&retain, &r, e) && feed_next(&forget, &f, e))) break;
        unlearn_zero(u);
        unlearn_loss(u, r, true, set->alpha);
        unlearn_loss(u, f, true, set->alpha - 1);
        fine = descent_update(&d, e) && ((i + 1) % retain.steps || unlearn_stop(u, &done, e));
    }
    descent_close(&d);
    feed_close(&forget);
    feed_close(&retain);
    return fine;
}

static double cost(const Unlearn *u, const void *settings) {
    return 2 * (double)((const NeggradSettings *)settings)->epochs * (double)u->world->count[SET_RETAIN];
}

const Method method_neggrad = {
    .name = "neggrad",
    .title = "NegGrad+",
    .source = "Kurmanji et al. 2023",
    .about = "down the loss of retained samples and up that of forgotten ones at once",
    .needs = NEEDS_RETAIN | NEEDS_FORGET,
    .claim = CLAIM_HEURISTIC,
    .table = &neggrad_table,
    .run = run,
    .cost = cost,
};
