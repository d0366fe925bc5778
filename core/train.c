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

static bool begins_with(const char *text, const char *head) {
    return strncmp(text, head, strlen(head)) == 0;
}

/* What may not change: a step's number means the same samples and masks, and a weight the same model, only
 * under the settings that the run began with. Other changes are told; those of comfort are not. */
static bool change_allowed(void *self, const RecipeChange *c, Error *e) {
    static const char *const fixed[] = {"task",       "seed",     "model.", "train.batch", "train.accumulate",
                                        "optim.name", "optim.ema"},
                             *const comfort[] = {"about", "threads", "data.workers", "train."};
    const Run *r = self;
    for (int i = 0; i < COUNT(fixed); i++)
        if (begins_with(c->path, fixed[i]) && strcmp(c->path, "model.recompute") != 0)
            return error_set(
                e, ERROR_VALUE,
                "%s: the run began with %s %s and cannot go on with %s; keep it, or give another --out",
                r->job->out, c->path, c->was, c->is);
    for (int i = 0; i < COUNT(comfort); i++)
        if (begins_with(c->path, comfort[i])) return true;
    fprintf(stderr, "warning: %s: %s is %s from here on, it was %s\n", r->job->out, c->path, c->is, c->was);
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
    const char *began = checkpoint_recipe(c);
    bool fine = began ? recipe_changes(began, r->job->recipe, change_allowed, r, e)
                      : error_set(e, ERROR_VALUE, "%s: has no recipe to go on with", checkpoint_path(c));
    fine = fine && checkpoint_read(c, want, n, e);
    if (fine) {
        r->state = *checkpoint_state(c);
        r->trainer.optim.steps = r->state.step;
        if (note[0]) fprintf(stderr, "warning: %s\n", note);
        int64_t all = trainer_updates(&r->trainer);
        printf("resuming %s after update %" PRId64 "%s\n", r->job->out, r->state.step,
               r->state.step >= all ? ": all updates are done" : "");
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
    double value = metric[0].value, was = r->state.best_step < 0 ? NAN : r->state.best;
    bool better = isnan(was) || (metric[0].more_is_better ? value > was : value < was);
    if (isnan(value) || !better) return true;
    r->state.best = value;
    r->state.best_step = r->state.step;
    snprintf(r->state.best_name, sizeof r->state.best_name, "%s", metric[0].name);
    *best = true;
    return true;
}

/* ---- the loop ---- */

/* Is this the update that completes a multiple of `every` (updates or epochs)? */
static bool due(int64_t before, int64_t done, int64_t every) {
    return every > 0 && done / every > before / every;
}

static bool loop(Run *r, Error *e) {
    const TrainSettings *set = r->job->train_set;
    Trainer *t = &r->trainer;
    int64_t total = trainer_updates(t), epoch = r->state.epoch;
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
        bool eval = last || due(epoch, r->state.epoch, set->eval_every);
        if (eval && !evaluate(r, result.epoch, &best, e)) {
            Error ignored; /* what was learnt outlives a test set that cannot be read */
            save(r, false, &ignored);
            return false;
        }
        bool write =
            last || best ||
            (set->checkpoint_every ? due(i, i + 1, set->checkpoint_every) : due(epoch, r->state.epoch, 1));
        epoch = r->state.epoch;
        if (write && !save(r, best, e)) return false;
        if (eval || write) log_restart_clock(r->log);
    }
    return true;
}

/* A recipe.json in a folder where no run ever began was put there by somebody: it is not overwritten. */
static bool recipe_is_ours(const TrainJob *job, Error *e) {
    char path[FILE_PATH], checkpoints[FILE_PATH];
    if (!file_join(path, sizeof path, job->out, "recipe.json", e) ||
        !file_join(checkpoints, sizeof checkpoints, job->out, "checkpoints", e))
        return false;
    if (file_kind(path) == FILE_NONE || file_kind(checkpoints) != FILE_NONE) return true;
    return error_set(e, ERROR_VALUE, "%s: is there already, and of no run; give another --out", path);
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
        .class_name = job->task->class_name,
        .names = job->task->classes ? job->task->names : 0,
    };
    char path[FILE_PATH];
    bool going_on = job->resume && checkpoint_any(job->out);
    if (!file_make_folder(job->out, e) || !recipe_is_ours(job, e)) return false;
    r->state = (CheckpointState){.seed = job->run->seed, .best_step = -1};
    if (!trainer_open(&r->trainer, job, e) || !tensors_list(r, e)) return false;
    if (going_on && !restore(r, e)) return false;
    if (job->resume && !going_on)
        fprintf(stderr, "%s holds no checkpoint yet: starting at update 1\n", job->out);
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
