#include "core/train.h"

#include "core/clock.h"
#include "core/stop.h"
#include "core/trace.h"
#include "core/trainer_cuda.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

RECIPE_TABLE(train_table, "Training", TrainSettings, TRAIN_FIELDS);

/* Has every batch, the last of an epoch too, as many samples as the task must have? */
static bool batches_suffice(const Trainer *t, Error *e) {
    int64_t least = t->task->least_batch, rest = t->source->samples % t->set->batch;
    bool kept = t->source->samples < t->source->steps_per_epoch * t->set->batch; /* the rest is a batch */
    if (t->set->batch < least)
        return error_set(e, ERROR_VALUE,
                         "train.batch is %" PRId64 ", but batch norm needs %" PRId64 " samples",
                         t->set->batch, least);
    if (t->task->sums_ranks && least < comm_size()) least = comm_size();
    if (kept && rest > 0 && rest < least)
        return error_set(e, ERROR_VALUE,
                         "the last batch of an epoch has %" PRId64 " of the %" PRId64
                         " samples that batch norm needs: set data.drop_last, or change train.batch",
                         rest, least);
    return true;
}

static bool open_mine(Trainer *t, const TrainJob *job, Error *e) {
    const OptimSettings *o = job->optim;
    Params *p = &job->task->params;
    bool shard = t->set->shard && comm_size() > 1;
    if (shard && o->kind == OPTIM_LARS)
        return error_set(
            e, ERROR_VALUE,
            "train.shard \"optimizer\": lars looks at whole tensors; use \"none\", or another optim.name");
    task_layer_decay(job->task, o->layer_decay);
    if (!batches_suffice(t, e) || !params_train(p, buckets_multiple(), e) ||
        !buckets_open(&t->buckets, p, t->set->bucket_mb << 20, shard, e) ||
        !(device_opened() ? optim_settings(&t->optim, o, p, shard)
                          : optim_open(&t->optim, o, p, shard ? t->buckets.part : NULL, t->buckets.count, e)))
        return false;
    t->step = step_create(run_dtype(job->run), run_backend(), 0, e);
    return t->step != NULL;
}

bool trainer_open(Trainer *t, const TrainJob *job, Error *e) {
    const OptimSettings *o = job->optim;
    *t = (Trainer){.task = job->task, .source = job->train, .set = job->train_set, .schedule = job->schedule};
    comm_limit_set(t->set->comm_timeout);
    t->lr = o->lr > 0 ? o->lr : o->blr * (double)(t->set->batch * t->set->accumulate) / 256;
    if (!comm_agree(open_mine(t, job, e), e)) return false;
    t->step->seed = (uint64_t)job->run->seed;
    t->step->written_self = &t->buckets;
    bool shard = t->buckets.shard;
    return !device_opened() ||
           trainer_cuda_open(t, job, shard ? t->buckets.part : NULL, shard ? t->buckets.count : 0, e);
}

void trainer_close(Trainer *t) {
    trainer_cuda_close(t);
    step_free(t->step);
    optim_close(&t->optim);
    buckets_close(&t->buckets);
    *t = (Trainer){0};
}

int64_t trainer_updates(const Trainer *t) {
    int64_t all = t->source->steps_per_epoch * t->set->epochs / t->set->accumulate;
    if (all < 1) all = 1;
    return t->set->steps && t->set->steps < all ? t->set->steps : all;
}

/* The seconds now, after telling the trace what was done since `from`. */
static double lap(const char *name, double from) {
    double now = clock_seconds();
    trace_span(TRACE_STEP, name, -1, from, now);
    return now;
}

/* Forward and backward of one batch, whose samples count as `share` of the update's gradient. */
static double batch_gradients(Trainer *t, const Batch *batch, int64_t number, double share, double *clock) {
    Step *s = t->step;
    step_begin(s);
    params_begin(&t->task->params);
    s->training = true;
    s->recording = true;
    s->index = number;
    s->sample = batch->id;
    Tensor *loss = t->task->class->loss(t->task, s, batch, NULL);
    double value = (double)tensor_at(loss, 0);
    *clock = lap("forward", *clock);
    tape_backward(s, loss, share);
    *clock = lap("backward", *clock);
    if (s->bad[0] && !t->bad[0]) memcpy(t->bad, s->bad, sizeof t->bad); /* the next batch would forget it */
    return share * value;
}

double trainer_share(const Trainer *t, const Batch *batch) {
    int whole = batch->whole ? batch->whole : batch->n;
    return whole ? (double)batch->n / whole / (double)t->set->accumulate : 0;
}

static void trace_buckets(const Buckets *b) {
    for (int i = b->count - 1; i >= 0 && comm_size() > 1; i--)
        trace_span(TRACE_REDUCE, b->shard ? "reduce-scatter" : "all-reduce", i, b->list[i].work.from,
                   b->list[i].work.to);
}

/* Forward and backward of all batches of one update; the mean loss and gradient over all ranks. */
static bool gradients(Trainer *t, int64_t index, TrainResult *out, Error *e) {
    int64_t parts = t->set->accumulate;
    double sum[3] = {0, 0, stop_asked() != 0}; /* loss, images, stop */
    params_zero_grad(&t->task->params);
    t->bad[0] = '\0';
    for (int64_t a = 0; a < parts; a++) {
        const Batch *batch = NULL;
        double clock = clock_seconds();
        int64_t number = index * parts + a;
        if (!comm_agree(t->source->get(t->source->self, number, &batch, e), e)) return false;
        clock = lap("load", clock);
        bool last = a == parts - 1;
        if (last) buckets_begin(&t->buckets);
        t->step->written = last ? buckets_written : NULL;
        if (batch->n) sum[0] += batch_gradients(t, batch, number, trainer_share(t, batch), &clock);
        sum[1] += batch->n;
        if (!last) continue;
        buckets_finish(&t->buckets);
        lap("reduce", clock);
        trace_buckets(&t->buckets);
    }
    out->grad_norm = optim_norm(&t->optim);
    comm_sum(sum, COUNT(sum));
    out->loss = sum[0];
    out->images = (int64_t)sum[1];
    out->stop = sum[2] > 0;
    return true;
}

/* The same update once more, looking at every tensor: names the first that is not finite. Never true. */
static bool blame(Trainer *t, int64_t index, const TrainResult *first, Error *e) {
    TrainResult again;
    t->step->check = true;
    bool fine = gradients(t, index, &again, e);
    t->step->check = false;
    return fine && trainer_blame(t, index, isfinite(first->loss) ? "gradient" : "loss", e);
}

bool trainer_blame(Trainer *t, int64_t index, const char *what, Error *e) {
    bool fine = true;
    static const char text[] =
        "update %" PRId64 ": the %s is not finite; the first tensor that went bad: %s; no weight was changed "
        "by it, checkpoints are as they were (lower optim.lr or optim.blr, set optim.clip, or use dtype f32)";
    if (t->bad[0]) fine = error_set(e, ERROR_NUMERIC, text, index + 1, what, t->bad);
    if (!comm_agree(fine, e)) return false;
    return error_set(e, ERROR_NUMERIC, text, index + 1, what, t->bad[0] ? t->bad : "not found again");
}

bool trainer_update(Trainer *t, int64_t index, TrainResult *out, Error *e) {
    double per_epoch = (double)t->source->steps_per_epoch,
           at = (double)(index * t->set->accumulate) / per_epoch;
    out->lr = schedule_lr(t->schedule, t->lr, at, (double)t->set->epochs);
    out->epoch = (double)((index + 1) * t->set->accumulate) / per_epoch;
    if (t->gpu) return trainer_cuda_update(t, index, out, e);
    if (!gradients(t, index, out, e)) return false;
    if (!isfinite(out->loss) || !isfinite(out->grad_norm)) return blame(t, index, out, e);
    double clip = t->optim.set->clip, clock = clock_seconds(); /* torch.nn.utils.clip_grad_norm_ */
    double scale = clip > 0 && out->grad_norm > clip ? clip / (out->grad_norm + 1e-6) : 1;
    optim_update(&t->optim, out->lr, scale);
    buckets_collect(&t->buckets);
    optim_average(&t->optim);
    lap("optimizer", clock);
    return true;
}

void trainer_swap_average(Trainer *t) {
    if (t->gpu)
        trainer_cuda_swap_average(t);
    else
        optim_swap_average(&t->optim);
}
