#include "core/train.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

RECIPE_TABLE(run_table, "Run", RunSettings, RUN_FIELDS);

/* A run in progress. */
typedef struct Run {
    const TrainJob *job;
    Trainer trainer;
    CheckpointStore *store;
    Log *log;
    CheckpointState state;
    NamedTensor *list[CHECKPOINT_PARTS]; /* model, optimizer, ema */
    int64_t count[CHECKPOINT_PARTS];
    Tensor *header; /* of the optimizer's tensors */
    char (*name)[112];
} Run;

/* ---- what a checkpoint holds ---- */

static bool tensors_list(Run *r, Error *e) {
    const Params *p = &r->job->task->params;
    size_t n = (size_t)p->count;
    r->header = mem_zero(3 * n, sizeof *r->header);
    r->name = mem_zero(3 * n, sizeof *r->name);
    for (int k = 0; k < CHECKPOINT_PARTS; k++) r->list[k] = mem_zero(2 * n, sizeof(NamedTensor));
    if (!r->header || !r->name || !r->list[0] || !r->list[1] || !r->list[2]) return error_memory(e, n * 400);
    static const char *const prefix[3] = {"m", "v", "ema"};
    int used = 0;
    for (int i = 0; i < p->count; i++) {
        r->list[CHECKPOINT_MODEL][r->count[CHECKPOINT_MODEL]++] =
            (NamedTensor){p->list[i]->name, &p->list[i]->tensor};
        for (int kind = 0; kind < 3; kind++) {
            Tensor *t = optim_tensor(&r->trainer.optim, kind, i, &r->header[used]);
            if (!t) continue;
            CheckpointPart part = kind == 2 ? CHECKPOINT_EMA : CHECKPOINT_OPTIMIZER;
            snprintf(r->name[used], sizeof r->name[used], "%s.%s", prefix[kind], p->list[i]->name);
            /* ema.safetensors holds weights: it carries the model's own names */
            r->list[part][r->count[part]++] = (NamedTensor){kind == 2 ? p->list[i]->name : r->name[used], t};
            used++;
        }
    }
    return true;
}

static NamedTensors part_of(const Run *r, CheckpointPart k) {
    return (NamedTensors){r->list[k], r->count[k]};
}

static bool save(Run *r, bool best, Error *e) {
    CheckpointContents c = {.state = &r->state, .best = best};
    for (int k = 0; k < CHECKPOINT_PARTS; k++) c.part[k] = part_of(r, (CheckpointPart)k);
    CheckpointSaved saved;
    log_sync(r->log);
    if (!checkpoint_store_save(r->store, &c, &saved, e)) return false;
    if (saved.note[0]) log_warn(r->log, "%s", saved.note);
    return true;
}

/* Takes up the last whole checkpoint of the run. */
static bool restore(Run *r, Error *e) {
    Checkpoint *c = NULL;
    char note[CHECKPOINT_NOTE];
    if (!checkpoint_open(&c, r->job->out, note, e)) return false;
    CheckpointWant want[CHECKPOINT_PARTS];
    int n = 0;
    for (int k = 0; k < CHECKPOINT_PARTS; k++)
        if (r->count[k]) want[n++] = (CheckpointWant){(CheckpointPart)k, part_of(r, (CheckpointPart)k), true};
    bool fine = checkpoint_read(c, want, n, e);
    if (fine) {
        r->state = *checkpoint_state(c);
        r->trainer.optim.steps = r->state.step;
        if (note[0]) fprintf(stderr, "warning: %s\n", note);
        printf("resuming %s after update %" PRId64 "\n", r->job->out, r->state.step);
        fflush(stdout);
    }
    checkpoint_close(c);
    return fine;
}

/* ---- evaluation ---- */

static bool evaluate(Run *r, double epoch, bool *best, Error *e) {
    Metric metric[TASK_METRICS];
    int n = 0;
    *best = false;
    if (!r->job->test) return true;
    optim_swap_average(&r->trainer.optim);
    bool fine = r->job->task->class->evaluate(r->job->task, r->trainer.step, r->job->test, metric, &n, e);
    optim_swap_average(&r->trainer.optim);
    if (!fine) return false;
    log_eval(r->log, r->state.step, epoch, "test", metric, n);
    bool better =
        metric[0].more_is_better ? metric[0].value > r->state.best : metric[0].value < r->state.best;
    if (r->state.best_step >= 0 && !better) return true;
    r->state.best = metric[0].value;
    r->state.best_step = r->state.step;
    snprintf(r->state.best_name, sizeof r->state.best_name, "%s", metric[0].name);
    *best = true;
    return true;
}

/* ---- the loop ---- */

static bool due(int64_t done, int64_t every) {
    return every > 0 && done % every == 0;
}

static bool loop(Run *r, Error *e) {
    const TrainSettings *set = r->job->train_set;
    Trainer *t = &r->trainer;
    int64_t total = trainer_updates(t), per_epoch = t->source->steps_per_epoch / set->accumulate;
    if (per_epoch < 1) per_epoch = 1;
    for (int64_t i = r->state.step; i < total; i++) {
        TrainResult result;
        if (!trainer_update(t, i, &result, e)) return false;
        r->state.step = i + 1;
        r->state.epoch = (int64_t)result.epoch;
        Metric more[] = {{"grad_norm", result.grad_norm, false}};
        log_step(r->log, &(LogStep){.step = i + 1,
                                    .epoch = result.epoch,
                                    .loss = result.loss,
                                    .lr = result.lr,
                                    .images = result.images,
                                    .more = more,
                                    .mores = COUNT(more)});
        bool last = i + 1 == total, best = false;
        bool eval = last || due(i + 1, set->eval_every * per_epoch);
        if (eval && !evaluate(r, result.epoch, &best, e)) return false;
        bool write = last || best || due(i + 1, set->checkpoint_every ? set->checkpoint_every : per_epoch);
        if (write && !save(r, best, e)) return false;
        if (eval || write) log_restart_clock(r->log);
    }
    return true;
}

static bool begin(Run *r, Error *e) {
    const TrainJob *job = r->job;
    CheckpointSettings store = {
        .run = job->out,
        .recipe = job->recipe,
        .resume = job->resume,
        .keep = (int)job->train_set->keep,
        .describe = job->train->describe,
        .self = job->train->self,
        .samples = job->train->samples,
    };
    char path[FILE_PATH];
    if (!file_make_folder(job->out, e) || !file_join(path, sizeof path, job->out, "checkpoints/last", e))
        return false;
    r->state = (CheckpointState){.seed = job->run->seed, .best_step = -1};
    if (!trainer_open(&r->trainer, job, e) || !tensors_list(r, e)) return false;
    bool going_on = job->resume && file_kind(path) == FILE_FOLDER;
    if (going_on && !restore(r, e)) return false;
    if (!checkpoint_store_open(&r->store, &store, e)) return false;
    if (!file_join(path, sizeof path, job->out, "recipe.json", e)) return false;
    if (!file_write(path, job->recipe, strlen(job->recipe), e)) return false;
    LogTotals totals = {.steps = trainer_updates(&r->trainer),
                        .epochs = (double)job->train_set->epochs,
                        .interval = job->train_set->log_every,
                        .console = STDOUT_FILENO};
    return log_open(&r->log, job->out, &totals, r->state.step, e);
}

bool train_run(const TrainJob *job, Error *e) {
    Run r = {.job = job};
    bool fine = begin(&r, e) && loop(&r, e);
    log_close(r.log);
    checkpoint_store_close(r.store);
    for (int k = 0; k < CHECKPOINT_PARTS; k++) mem_free(r.list[k]);
    mem_free(r.header);
    mem_free(r.name);
    trainer_close(&r.trainer);
    return fine;
}
