/* Fine-tuning: goes on training, on retained samples alone, and hopes that the others fade. With `last` k, of
 * the last k layers only (CF-k), begun anew with `reset` (EU-k); Goel et al. 2022. */
#include "core/comm.h"
#include "unlearn/method.h"
#include "unlearn/vector.h"

#include <string.h>

#define FINE_TUNE_FIELDS(X)                                                                                  \
    DESCENT_FIELDS(X, "fine_tune", "10", "sgd", "0.01", "0.9", "5e-4")                                       \
    X(INT, last, "unlearn.fine_tune.last", "0", 0, 1000, "", "only the last k layers move; 0: all")          \
    X(BOOL, reset, "unlearn.fine_tune.reset", "false", 0, 0, "", "these begin anew, with random weights")
typedef struct FineTuneSettings {
    RECIPE_MEMBERS(FINE_TUNE_FIELDS)
} FineTuneSettings;
RECIPE_TABLE(fine_tune_table, "Unlearning: fine-tuning", FineTuneSettings, FINE_TUNE_FIELDS);

/* 1 where a parameter is of the last k layers. */
static void mask_layers(const Unlearn *u, int64_t last, real *mask) {
    const Params *p = &u->task->params;
    for (int i = 0; i < p->count; i++) {
        const Tensor *t = &p->list[i]->tensor;
        if (!t->grad || p->list[i]->layer <= u->task->layers - last) continue;
        real *at = mask + (tensor_real(t) - p->value);
        for (int64_t k = 0; k < tensor_count(t); k++) at[k] = 1;
    }
}

/* What the mask lets move gets the weights of a new model. */
static bool reset(Unlearn *u, const real *mask, Error *e) {
    Task fresh;
    Params *p = &u->task->params;
    if (!comm_agree(u->world->model(u->world->self, 0, u->seed, &fresh, e), e)) return false;
    for (int i = 0; i < p->count; i++) {
        Tensor *t = &p->list[i]->tensor;
        if (t->grad && mask[tensor_real(t) - p->value] > 0)
            memcpy(t->data, fresh.params.list[i]->tensor.data, tensor_bytes(t));
    }
    task_close(&fresh);
    return true;
}

static bool run(Unlearn *u, const void *settings, Error *e) {
    const FineTuneSettings *set = settings;
    if (!set->last) return descent_retain(u, DESCENT_OF(set), NULL, NULL, NULL, e);
    real *mask = vector_new(u->task->params.trained, e);
    if (!comm_agree(mask != NULL, e)) return false;
    mask_layers(u, set->last, mask);
    bool fine = (!set->reset || reset(u, mask, e)) && descent_retain(u, DESCENT_OF(set), mask, NULL, NULL, e);
    mem_free(mask);
    return fine;
}

static double cost(const Unlearn *u, const void *settings) {
    return (double)((const FineTuneSettings *)settings)->epochs * (double)u->world->count[SET_RETAIN];
}

const Method method_fine_tune = {
    .name = "fine_tune",
    .title = "Fine-tuning",
    .source = "Golatkar et al. 2020; CF-k and EU-k: Goel et al. 2022",
    .about = "goes on training, on the retained samples alone",
    .needs = NEEDS_RETAIN,
    .claim = CLAIM_HEURISTIC,
    .table = &fine_tune_table,
    .run = run,
    .cost = cost,
};
