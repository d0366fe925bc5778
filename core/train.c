#include "core/train.h"

#include "core/clock.h"
#include "core/stop.h"
#include "core/trace.h"
#include "core/trainer_cuda.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

RECIPE_TABLE(run_table, "Run", RunSettings, RUN_FIELDS);

/* Times that the ranks may wait longer for one that reads or writes files, or evaluates, than in a step. */
static const double PATIENCE = 12;

/* A run in progress. */
typedef struct Run {
    const TrainJob *job;
    Trainer trainer;
    CheckpointStore *store;
    Log *log;
    CheckpointState state;
    double epoch;                        /* passes done, with the fraction of the current one */
    NamedTensor *list[CHECKPOINT_PARTS]; /* model, optimizer, ema */
    int64_t count[CHECKPOINT_PARTS];
    Tensor *header; /* of the optimizer's tensors */
    char (*name)[112];
    real *slab[3]; /* moments and average of a run that has them elsewhere (other ranks, the GPU), while rank
                      0 writes or reads a checkpoint */
} Run;

/* ---- what a checkpoint holds ---- */

/* Is this part of the state elsewhere than in rank 0's memory? kind 0: first moments, 1: second, 2: average.
 */
static bool elsewhere(const Run *r, int kind) {
    return r->trainer.gpu || (r->trainer.optim.sharded && kind < 2);
}

static bool has(const Run *r, int kind) {
    const OptimSettings *o = r->job->optim;
    return kind == 0 || (kind == 1 ? o->kind == OPTIM_ADAMW : o->ema > 0);
}

/* Where it stands in the layout of the gradients. */
static real *slab_of(const Run *r, int kind) {
    const Optim *o = &r->trainer.optim;
    real *const here[3] = {o->first, o->second, o->average};
    return elsewhere(r, kind) ? r->slab[kind] : here[kind];
}

static bool tensors_make(Run *r, Error *e) {
    size_t n = (size_t)r->job->task->params.count;
    r->header = mem_zero(3 * n, sizeof *r->header);
    r->name = mem_zero(3 * n, sizeof *r->name);
    for (int k = 0; k < CHECKPOINT_PARTS; k++) r->list[k] = mem_zero(2 * n, sizeof(NamedTensor));
    if (r->header && r->name && r->list[0] && r->list[1] && r->list[2]) return true;
    return error_memory(e, n * 400);
}

/* Lists what a checkpoint holds, where it stands now. */
static void tensors_list(Run *r) {
    const Params *p = &r->job->task->params;
    static const char *const prefix[3] = {"m", "v", "ema"};
    int used = 0;
    for (int k = 0; k < CHECKPOINT_PARTS; k++) r->count[k] = 0;
    for (int i = 0; i < p->count; i++) {
        r->list[CHECKPOINT_MODEL][r->count[CHECKPOINT_MODEL]++] =
            (NamedTensor){p->list[i]->name, &p->host[i]};
        for (int kind = 0; kind < 3; kind++) {
            Tensor *t = optim_tensor(&r->trainer.optim, kind, i, slab_of(r, kind), &r->header[used]);
            if (!t) continue;
            CheckpointPart part = kind == 2 ? CHECKPOINT_EMA : CHECKPOINT_OPTIMIZER;
            snprintf(r->name[used], sizeof r->name[used], "%s.%s", prefix[kind], p->list[i]->name);
            /* ema.safetensors holds weights: it carries the model's own names */
            r->list[part][r->count[part]++] = (NamedTensor){kind == 2 ? p->list[i]->name : r->name[used], t};
            used++;
        }
    }
}

/* Collective. Room on rank 0 for what is elsewhere. */
static bool slabs_open(Run *r, Error *e) {
    size_t n = (size_t)r->job->task->params.trained;
    bool fine = true;
    for (int k = 0; k < COUNT(r->slab) && comm_first(); k++)
        if (elsewhere(r, k) && has(r, k) && !(r->slab[k] = mem_zero(n, sizeof(real))))
            fine = error_memory(e, n * sizeof(real));
    return comm_agree(fine, e);
}

static void slabs_close(Run *r) {
    for (int k = 0; k < COUNT(r->slab); k++) {
        mem_free(r->slab[k]);
        r->slab[k] = NULL;
    }
}

/* Collective. */
static bool slabs_fetch(Run *r, Error *e) {
    const Optim *o = &r->trainer.optim;
    if (r->trainer.gpu) return trainer_cuda_fetch(&r->trainer, r->slab, e);
    if (!o->sharded) return true;
    buckets_gather(&r->trainer.buckets, o->first, r->slab[0]);
    if (o->second) buckets_gather(&r->trainer.buckets, o->second, r->slab[1]);
    return true;
}

static NamedTensors part_of(const Run *r, CheckpointPart k) {
    return (NamedTensors){r->list[k], r->count[k]};
}

static bool write_checkpoint(Run *r, bool best, Error *e) {
    CheckpointContents c = {.state = &r->state, .best = best};
    tensors_list(r);
    for (int k = 0; k < CHECKPOINT_PARTS; k++) c.part[k] = part_of(r, (CheckpointPart)k);
    CheckpointSaved saved;
    log_sync(r->log);
    if (!checkpoint_store_save(r->store, &c, &saved, e)) return false;
    if (saved.note[0]) log_warn(r->log, "%s", saved.note);
    return true;
}

/* Collective. Rank 0 writes; the others wait for it, for as long as a slow disk may take. */
static bool save(Run *r, bool best, Error *e) {
    double began = clock_seconds();
    bool fine = slabs_open(r, e) && slabs_fetch(r, e);
    if (fine) {
        comm_patience(PATIENCE);
        fine = comm_agree(!comm_first() || write_checkpoint(r, best, e), e);
        comm_patience(1);
    }
    slabs_close(r);
    trace_span(TRACE_STEP, "checkpoint", r->state.step, began, clock_seconds());
    return fine;
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

/* Takes up the last whole checkpoint of the run, on rank 0. */
static bool read_checkpoint(Run *r, Error *e) {
    Checkpoint *c = NULL;
    char note[CHECKPOINT_NOTE];
    if (!checkpoint_open(&c, r->job->out, note, e)) return false;
    tensors_list(r);
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
        if (note[0]) fprintf(stderr, "warning: %s\n", note);
        int64_t all = trainer_updates(&r->trainer);
        printf("resuming %s after update %" PRId64 "%s\n", r->job->out, r->state.step,
               r->state.step >= all ? ": all updates are done" : "");
        fflush(stdout);
    }
    checkpoint_close(c);
    return fine;
}

/* Collective. What rank 0 has read, on every rank: files need be on one machine only. */
static bool share_state(Run *r, bool going_on, Error *e) {
    Optim *o = &r->trainer.optim;
    const Params *p = &r->job->task->params;
    Buckets *b = &r->trainer.buckets;
    size_t bytes = (size_t)p->trained * sizeof(real);
    comm_share(p->value, (size_t)p->values * sizeof *p->value); /* of --init, too */
    if (going_on) comm_share(&r->state, sizeof r->state);
    o->steps = r->state.step;
    if (r->trainer.gpu) return trainer_cuda_put(&r->trainer, r->slab, going_on, e);
    if (o->average && !going_on) memcpy(o->average, p->value, bytes);
    if (!going_on) return true;
    if (o->average) comm_share(o->average, bytes);
    if (o->sharded)
        return buckets_spread(b, o->first, r->slab[0], e) &&
               (!o->second || buckets_spread(b, o->second, r->slab[1], e));
    comm_share(o->first, bytes);
    if (o->second) comm_share(o->second, bytes);
    return true;
}

/* Collective. */
static bool restore(Run *r, bool going_on, Error *e) {
    comm_share(&going_on, sizeof going_on); /* rank 0 has looked */
    if (!going_on) return share_state(r, false, e);
    comm_patience(PATIENCE);
    bool fine = slabs_open(r, e) && comm_agree(!comm_first() || read_checkpoint(r, e), e);
    comm_patience(1);
    fine = fine && share_state(r, true, e);
    slabs_close(r);
    return fine;
}

/* ---- evaluation ---- */

/* The test source, until the run is asked to stop: a batch system does not wait for a long evaluation. */
static bool get_until_stopped(void *self, int64_t step, const Batch **out, Error *e) {
    const Source *test = self;
    if (stop_asked()) return error_set(e, ERROR_STATE, "asked to stop by %s", stop_name(stop_asked()));
    return test->get(test->self, step, out, e);
}

/* Collective. Was an evaluation that failed cut short on purpose? The next update ends the run. */
static bool cut_short(Run *r) {
    double stop = stop_asked() != 0;
    comm_most(&stop, 1);
    if (stop > 0) log_warn(r->log, "the evaluation after update %" PRId64 " was cut short", r->state.step);
    return stop > 0;
}

static bool evaluate(Run *r, double epoch, bool *best, Error *e) {
    Metric metric[TASK_METRICS];
    int n = 0;
    *best = false;
    if (!r->job->test) return true;
    double began = clock_seconds();
    trainer_swap_average(&r->trainer);
    comm_patience(PATIENCE);
    Source test = *r->job->test;
    test.self = r->job->test;
    test.get = get_until_stopped;
    bool fine = r->job->task->class->evaluate(r->job->task, r->trainer.step, &test, metric, &n, e);
    comm_patience(1);
    trainer_swap_average(&r->trainer);
    trace_span(TRACE_STEP, "evaluate", r->state.step, began, clock_seconds());
    if (!fine) return cut_short(r);
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

/* What follows an update: evaluation and a checkpoint, if they are due. */
static bool after_update(Run *r, int64_t epoch_before, bool last, bool *told, Error *e) {
    const TrainSettings *set = r->job->train_set;
    int64_t done = r->state.step, epoch = r->state.epoch;
    bool best = false, eval = last || due(epoch_before, epoch, set->eval_every);
    if (eval && !evaluate(r, r->epoch, &best, e)) {
        Error ignored; /* what was learnt outlives a test set that cannot be read */
        save(r, false, &ignored);
        return false;
    }
    bool write =
        last || best ||
        (set->checkpoint_every ? due(done - 1, done, set->checkpoint_every) : due(epoch_before, epoch, 1));
    *told = eval || write;
    return !write || save(r, best, e);
}

static bool stop(Run *r, Error *e) {
    double signal = stop_asked();
    comm_most(&signal, 1); /* perhaps one rank alone was asked */
    if (!save(r, false, e)) return false;
    if (comm_first())
        fprintf(stderr,
                "%s: stopped by %s after update %" PRId64 "; a checkpoint is written, --resume goes on\n",
                r->job->out, stop_name((int)signal), r->state.step);
    return true;
}

static bool loop(Run *r, Error *e) {
    Trainer *t = &r->trainer;
    int64_t total = trainer_updates(t);
    for (int64_t i = r->state.step; i < total; i++) {
        TrainResult result;
        int64_t epoch = r->state.epoch;
        if (!trainer_update(t, i, &result, e)) return false;
        r->state.step = i + 1;
        r->state.epoch = (int64_t)result.epoch;
        r->epoch = result.epoch;
        Metric more[] = {{"grad_norm", result.grad_norm, false}};
        log_step(r->log, &(LogStep){.step = i + 1,
                                    .epoch = result.epoch,
                                    .loss = result.loss,
                                    .lr = result.lr,
                                    .images = result.images,
                                    .more = more,
                                    .mores = COUNT(more)});
        bool told = false;
        if (result.stop && i + 1 < total) return stop(r, e);
        if (!after_update(r, epoch, i + 1 == total, &told, e)) return false;
        if (told) log_restart_clock(r->log);
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

/* The run's folder, its store of checkpoints and its log: rank 0's. */
static bool folder_open(Run *r, Error *e) {
    const TrainJob *job = r->job;
    const CheckpointSettings store = {
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
    return checkpoint_store_open(&r->store, &store, e) &&
           file_join(path, sizeof path, job->out, "recipe.json", e) &&
           file_write(path, job->recipe, strlen(job->recipe), e);
}

static bool folder_check(const TrainJob *job, bool *going_on, Error *e) {
    *going_on = job->resume && checkpoint_any(job->out);
    if (!file_make_folder(job->out, e) || !recipe_is_ours(job, e)) return false;
    if (job->resume && !*going_on)
        fprintf(stderr, "%s holds no checkpoint yet: starting at update 1\n", job->out);
    return true;
}

static bool begin(Run *r, Error *e) {
    const TrainJob *job = r->job;
    bool going_on = false, first = comm_first();
    r->state = (CheckpointState){.seed = job->run->seed, .best_step = -1};
    if (!comm_agree(!first || folder_check(job, &going_on, e), e)) return false;
    if (!trainer_open(&r->trainer, job, e) || !comm_agree(tensors_make(r, e), e)) return false;
    if (!restore(r, going_on, e)) return false;
    comm_patience(PATIENCE);
    bool fine = comm_agree(!first || folder_open(r, e), e); /* the manifest hashes every file */
    comm_patience(1);
    LogTotals totals = {.steps = trainer_updates(&r->trainer),
                        .epochs = (double)job->train_set->epochs,
                        .interval = job->train_set->log_every,
                        .console = first ? STDOUT_FILENO : -1};
    return fine && comm_agree(log_open(&r->log, first ? job->out : NULL, &totals, r->state.step, e), e);
}

bool train_run(const TrainJob *job, Error *e) {
    Run r = {.job = job};
    stop_listen();
    bool fine = begin(&r, e) && loop(&r, e);
    log_close(r.log);
    checkpoint_store_close(r.store);
    for (int k = 0; k < CHECKPOINT_PARTS; k++) mem_free(r.list[k]);
    mem_free(r.header);
    mem_free(r.name);
    trainer_close(&r.trainer);
    return fine;
}
