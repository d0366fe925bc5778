/* Retraining: from weights that never saw the forgotten samples, on the retained ones, with the recipe of the
 * original training. Exact, and the reference for all else. */
#include "core/comm.h"
#include "unlearn/method.h"

#include <stdio.h>

#define RETRAIN_FIELDS(X)                                                                                    \
    X(TEXT, init, "unlearn.retrain.init", "\"\"", 0, 0, "",                                                  \
      "weights to begin with, which never saw the forgotten samples; empty: random ones")
typedef struct RetrainSettings {
    RECIPE_MEMBERS(RETRAIN_FIELDS)
} RetrainSettings;
RECIPE_TABLE(retrain_table, "Unlearning: retrain", RetrainSettings, RETRAIN_FIELDS);

const char *retrain_init(const void *settings) {
    return ((const RetrainSettings *)settings)->init;
}

static bool updates(Unlearn *u, Trainer *t, Error *e) {
    int64_t all = trainer_updates(t);
    u->planned += all;
    for (int64_t i = 0; i < all; i++) {
        TrainResult r;
        if (!trainer_update(t, i, &r, e)) return false;
        if (r.stop) return error_set(e, ERROR_STATE, "asked to stop");
        u->updates++;
        u->passes += (double)r.images;
        if (u->log)
            log_step(
                u->log,
                &(LogStep){
                    .step = u->updates, .epoch = r.epoch, .loss = r.loss, .lr = r.lr, .images = r.images});
    }
    trainer_swap_average(t);
    return true;
}

/* The model is made anew, so that nothing of the old one can stay in it. */
static bool run(Unlearn *u, const void *settings, Error *e) {
    const RetrainSettings *set = settings;
    const UnlearnWorld *w = u->world;
    Feed feed = {0};
    Task fresh = {0};
    Trainer trainer = {0};
    RunSettings how = *w->run;
    char note[2000];
    how.seed = (int64_t)(u->seed % (uint64_t)9007199254740991);
    bool fine = comm_agree(w->model(w->self, 0, u->seed, &fresh, e), e) &&
                feed_open(&feed, u, SET_RETAIN, FEED_RETRAIN, w->train->batch, e);
    if (fine && set->init[0])
        fine = comm_agree(!comm_first() || task_init_from(&fresh, set->init, note, sizeof note, e), e);
    if (fine) comm_share(fresh.params.value, (size_t)fresh.params.values * sizeof(real));
    const TrainJob job = {.task = &fresh,
                          .train = &feed.source,
                          .run = &how,
                          .train_set = w->train,
                          .optim = w->optim,
                          .schedule = w->schedule};
    fine = fine && trainer_open(&trainer, &job, e) && updates(u, &trainer, e);
    if (fine) unlearn_copy(u, u->task, &fresh);
    trainer_close(&trainer);
    feed_close(&feed);
    task_close(&fresh);
    return fine;
}

static double cost(const Unlearn *u, const void *settings) {
    (void)settings;
    return (double)u->world->train->epochs * (double)u->world->count[SET_RETAIN];
}

const Method method_retrain = {
    .name = "retrain",
    .title = "Retraining",
    .source = "the reference of all others",
    .about = "trains a new model on the retained samples alone",
    .needs = NEEDS_RETAIN,
    .claim = CLAIM_EXACT,
    .table = &retrain_table,
    .run = run,
    .cost = cost,
};
