/* train_run: a trainer of a recipe given as text, on batches that a test makes. */
#ifndef LETHE_TESTS_TRAIN_RUN_H
#define LETHE_TESTS_TRAIN_RUN_H

#include "core/train.h"
#include "tests/golden.h"

typedef struct TrainRun {
    Recipe *recipe;
    Task task;
    RunSettings run;
    TrainSettings train;
    OptimSettings optim;
    ScheduleSettings schedule;
    Trainer trainer;
} TrainRun;

/* source stays the caller's until train_run_close. */
static inline void train_run_open(TrainRun *r, const TaskClass *class, const char *text, char *const *set,
                                  int sets, Source *source) {
    Error e = {0};
    if (!recipe_parse(&r->recipe, "test", text, strlen(text), set, sets, &e) ||
        !recipe_bind(r->recipe, &run_table, &r->run, &e) ||
        !recipe_bind(r->recipe, &train_table, &r->train, &e) ||
        !recipe_bind(r->recipe, &optim_table, &r->optim, &e) ||
        !recipe_bind(r->recipe, &schedule_table, &r->schedule, &e) ||
        !task_open(&r->task, class, r->recipe, 0, 1, &e))
        fail_msg("%s", e.text);
    const TrainJob job = {.task = &r->task,
                          .train = source,
                          .run = &r->run,
                          .train_set = &r->train,
                          .optim = &r->optim,
                          .schedule = &r->schedule};
    if (!trainer_open(&r->trainer, &job, &e)) fail_msg("%s", e.text);
}

static inline void train_run_close(TrainRun *r) {
    trainer_close(&r->trainer);
    task_close(&r->task);
    recipe_close(r->recipe);
}

static inline TrainResult train_run_update(TrainRun *r, int64_t i) {
    Error e = {0};
    TrainResult result;
    if (!trainer_update(&r->trainer, i, &result, &e)) fail_msg("%s", e.text);
    return result;
}

#endif
