#include "core/train.h"

#include <inttypes.h>
#include <math.h>

RECIPE_TABLE(train_table, "Training", TrainSettings, TRAIN_FIELDS);

/* Has every batch, the last of an epoch too, as many samples as the task must have? */
static bool batches_suffice(const Trainer *t, Error *e) {
    int64_t least = t->task->least_batch, rest = t->source->samples % t->set->batch;
    bool kept = t->source->samples < t->source->steps_per_epoch * t->set->batch; /* the rest is a batch */
    if (t->set->batch < least)
        return error_set(e, ERROR_VALUE,
                         "train.batch is %" PRId64 ", but batch norm needs %" PRId64 " samples",
                         t->set->batch, least);
    if (kept && rest > 0 && rest < least)
        return error_set(e, ERROR_VALUE,
                         "the last batch of an epoch has %" PRId64 " of the %" PRId64
                         " samples that batch norm needs: set data.drop_last, or change train.batch",
                         rest, least);
    return true;
}

bool trainer_open(Trainer *t, const TrainJob *job, Error *e) {
    const OptimSettings *o = job->optim;
    *t = (Trainer){.task = job->task, .source = job->train, .set = job->train_set, .schedule = job->schedule};
    Params *p = &job->task->params;
    task_layer_decay(job->task, o->layer_decay);
    t->lr = o->lr > 0 ? o->lr : o->blr * (double)(t->set->batch * t->set->accumulate) / 256;
    if (!batches_suffice(t, e) || !params_train(p, e) || !optim_open(&t->optim, o, p, e)) return false;
    t->step = step_create(run_dtype(job->run), BACKEND_CPU, 0, e);
    if (!t->step) return false;
    t->step->seed = (uint64_t)job->run->seed;
    return true;
}

void trainer_close(Trainer *t) {
    step_free(t->step);
    optim_close(&t->optim);
    *t = (Trainer){0};
}

int64_t trainer_updates(const Trainer *t) {
    int64_t all = t->source->steps_per_epoch * t->set->epochs / t->set->accumulate;
    if (all < 1) all = 1;
    return t->set->steps && t->set->steps < all ? t->set->steps : all;
}

/* Forward and backward of all batches of one update; the mean loss. */
static bool gradients(Trainer *t, int64_t index, TrainResult *out, Error *e) {
    Step *s = t->step;
    int64_t parts = t->set->accumulate;
    params_zero_grad(&t->task->params);
    out->loss = 0;
    out->images = 0;
    for (int64_t a = 0; a < parts; a++) {
        const Batch *batch;
        if (!t->source->get(t->source->self, index * parts + a, &batch, e)) return false;
        step_begin(s);
        s->training = true;
        s->recording = true;
        s->index = index * parts + a;
        s->sample = batch->id;
        Tensor *loss = t->task->class->loss(t->task, s, batch, NULL);
        double value = (double)tensor_at(loss, 0);
        out->loss += value / (double)parts;
        out->images += batch->n;
        if (!isfinite(value)) return true;
        tape_backward(s, loss, 1 / (double)parts);
        if (s->check && s->bad[0]) return true; /* the next part would forget it */
    }
    params_settle_grad(&t->task->params);
    out->grad_norm = optim_norm(&t->optim);
    return true;
}

/* The same update once more, looking at every tensor: names the first that is not finite. */
static bool blame(Trainer *t, int64_t index, const TrainResult *first, Error *e) {
    TrainResult again;
    Error ignored;
    char where[sizeof t->step->bad] = "";
    t->step->check = true;
    gradients(t, index, &again, &ignored);
    t->step->check = false;
    for (size_t i = 0; i < sizeof where; i++) where[i] = t->step->bad[i];
    return error_set(
        e, ERROR_NUMERIC,
        "update %" PRId64 ": the %s is not finite; the first tensor that went bad: %s; no weight was changed "
        "by it, checkpoints are as they were (lower optim.lr or optim.blr, set optim.clip, or use dtype f32)",
        index + 1, isfinite(first->loss) ? "gradient" : "loss", where[0] ? where : "not found again");
}

bool trainer_update(Trainer *t, int64_t index, TrainResult *out, Error *e) {
    double per_epoch = (double)t->source->steps_per_epoch,
           at = (double)(index * t->set->accumulate) / per_epoch;
    out->lr = schedule_lr(t->schedule, t->lr, at, (double)t->set->epochs);
    out->grad_norm = 0;
    if (!gradients(t, index, out, e)) return false;
    if (!isfinite(out->loss) || !isfinite(out->grad_norm)) return blame(t, index, out, e);
    double clip = t->optim.set->clip; /* torch.nn.utils.clip_grad_norm_ */
    double scale = clip > 0 && out->grad_norm > clip ? clip / (out->grad_norm + 1e-6) : 1;
    optim_update(&t->optim, out->lr, scale);
    out->epoch = (double)((index + 1) * t->set->accumulate) / per_epoch;
    return true;
}
