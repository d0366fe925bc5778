#include "unlearn/unlearn.h"

#include "core/comm.h"
#include "unlearn/vector.h"

#include <math.h>
#include <string.h>

RECIPE_TABLE(unlearn_table, "Unlearning", UnlearnSettings, UNLEARN_FIELDS);

bool unlearn_open(Unlearn *u, Task *task, const UnlearnWorld *world, const UnlearnSettings *set, Error *e) {
    *u = (Unlearn){.task = task, .world = world, .set = set};
    Params *p = &task->params;
    size_t bytes = (size_t)p->values * sizeof *u->origin;
    u->seed = (uint64_t)world->run->seed * 1000003 + (uint64_t)set->seed; /* both are below 2^53 */
    if (!p->grad && !params_train(p, 16, e)) return false;
    if (!(u->origin = mem_get(bytes))) return error_memory(e, bytes);
    memcpy(u->origin, p->value, bytes);
    u->step = step_create(run_dtype(world->run), BACKEND_CPU, 0, e);
    if (!u->step) return false;
    u->step->seed = u->seed;
    return true;
}

void unlearn_close(Unlearn *u) {
    step_free(u->step);
    mem_free(u->origin);
    mem_free(u->keep);
    *u = (Unlearn){0};
}

/* ---- one step ---- */

void unlearn_zero(Unlearn *u) {
    params_zero_grad(&u->task->params);
    u->loss = 0;
    u->images = 0;
}

void unlearn_forward(Unlearn *u, const Batch *b, bool training) {
    Step *s = u->step;
    step_begin(s);
    params_begin(&u->task->params);
    s->training = training;
    s->recording = true;
    s->index = u->index++;
    s->sample = b->id;
    s->batch = b;
}

static double share_of(const Batch *b) {
    return b->whole ? (double)b->n / b->whole : 1;
}

void unlearn_backward(Unlearn *u, Tensor *loss, double weight, const Batch *b) {
    double share = weight * share_of(b);
    u->loss += share * (double)tensor_at(loss, 0);
    u->images += b->n;
    tape_backward(u->step, loss, share);
}

void unlearn_loss(Unlearn *u, const Batch *b, bool training, double weight) {
    if (!b->n) {
        u->index++;
        return;
    }
    unlearn_forward(u, b, training);
    unlearn_backward(u, u->task->class->loss(u->task, u->step, b, NULL), weight, b);
}

/* Gradients are sums over ranks where samples are shared out. */
static void gradients_share(Params *p) {
    if (comm_size() == 1) return;
    CommWork w = {.kind = COMM_SUM, .data = p->grad, .n = p->trained, .what = "the gradients"};
    comm_start(&w);
    comm_finish(&w);
}

bool unlearn_sum(Unlearn *u, Error *e) {
    Params *p = &u->task->params;
    params_settle_grad(p);
    gradients_share(p);
    double sum[2] = {u->loss, (double)u->images};
    comm_sum(sum, COUNT(sum));
    u->loss = sum[0];
    u->passes += sum[1];
    if (isfinite(sum[0]) && isfinite(vector_norm(p->grad, p->trained))) return true;
    return error_set(
        e, ERROR_NUMERIC,
        "step %lld: the loss or its gradient is not finite; no weight was changed by it: lower the "
        "method's lr, or set its clip",
        (long long)u->updates + 1);
}

bool unlearn_gradient(Unlearn *u, UnlearnSet set, FeedKind kind, int64_t batch, real *out, GradientFn each,
                      void *self, Error *e) {
    Feed f;
    Params *p = &u->task->params;
    double total = 0;
    if (!feed_open(&f, u, set, kind, batch, e)) return false;
    if (out) memset(out, 0, (size_t)p->trained * sizeof *out);
    bool fine = true;
    for (int64_t i = 0; i < f.steps && fine; i++) {
        const Batch *b;
        if (!(fine = feed_next(&f, &b, e))) break;
        unlearn_zero(u);
        unlearn_loss(u, b, false, 1);
        if (kind == FEED_WHOLE) { /* every rank has the same */
            params_settle_grad(p);
            u->passes += b->n;
        } else {
            fine = unlearn_sum(u, e);
        }
        double n = kind == FEED_WHOLE || !b->whole ? b->n : b->whole;
        if (fine && each) each(self, p->grad, n);
        if (fine && out) vector_add(out, p->grad, n, p->trained);
        total += n;
    }
    if (out && total > 0) vector_scale(out, 1 / total, p->trained);
    feed_close(&f);
    return fine;
}

bool unlearn_score(Unlearn *u, UnlearnSet set, UnlearnScore *out, Error *e) {
    Feed f;
    Metric metric[TASK_METRICS];
    int count;
    if (!feed_open(&f, u, set, FEED_EVAL, 0, e)) return false;
    bool fine = u->task->class->evaluate(u->task, u->step, &f.source, metric, &count, e);
    feed_close(&f);
    if (!fine) return false;
    bool share = metric[0].more_is_better && strncmp(metric[0].name, "top", 3) != 0;
    *out = (UnlearnScore){metric[0].name, metric[0].value * (share ? 100 : 1), metric[0].more_is_better};
    return true;
}

bool unlearn_has_aim(const Unlearn *u, const char *who, Error *e) {
    if (u->world->whole || u->world->count[SET_VALID]) return true;
    return error_set(e, ERROR_VALUE,
                     "%s looks at unseen samples to know when to stop: give data.test, and "
                     "unlearn.validation above 0",
                     who);
}

bool unlearn_aim(Unlearn *u, const char *who, UnlearnScore *out, Error *e) {
    if (!unlearn_has_aim(u, who, e)) return false;
    if (u->world->whole) {
        *out = (UnlearnScore){"score", 0, true};
        return true;
    }
    return unlearn_score(u, SET_VALID, out, e);
}

bool unlearn_reached(const UnlearnScore *now, const UnlearnScore *aim) {
    return now->more_is_better ? now->value <= aim->value : now->value >= aim->value;
}

bool unlearn_stop(Unlearn *u, bool *done, Error *e) {
    UnlearnScore aim, now;
    *done = false;
    if (!u->set->stop) return true;
    if (!unlearn_aim(u, "unlearn.stop", &aim, e) || !unlearn_score(u, SET_FORGET, &now, e)) return false;
    *done = unlearn_reached(&now, &aim);
    return true;
}

/* ---- other models ---- */

bool unlearn_teacher(Unlearn *u, Task *out, Error *e) {
    if (!comm_agree(u->world->model(u->world->self, 0, u->seed, out, e), e)) return false;
    unlearn_copy(u, out, NULL);
    return true;
}

void unlearn_copy(const Unlearn *u, Task *to, const Task *from) {
    const Params *mine = &u->task->params;
    for (int i = 0; i < to->params.count; i++) {
        Tensor *t = &to->params.list[i]->tensor;
        const Tensor *x = from ? &from->params.list[i]->tensor : &mine->list[i]->tensor;
        const real *data = from ? tensor_real(x) : u->origin + (tensor_real(x) - mine->value);
        size_t a = tensor_bytes(t), b = tensor_bytes(x);
        memcpy(t->data, data, a < b ? a : b);
    }
}

void unlearn_restore(Unlearn *u) {
    memcpy(u->task->params.value, u->origin, (size_t)u->task->params.values * sizeof(real));
}

typedef Tensor *(*TaskFn)(Task *task, Step *s, const Batch *batch);

static Tensor *ask(Unlearn *u, Task *other, TaskFn f, const Batch *b) {
    Step *s = u->step;
    bool was = step_no_grad(s), training = s->training;
    s->training = false;
    Tensor *x = f(other, s, b);
    s->training = training;
    step_grad_on(s, was);
    return x;
}

Tensor *unlearn_outputs_of(Unlearn *u, Task *other, const Batch *b) {
    return ask(u, other, other->class->outputs, b);
}

Tensor *unlearn_features_of(Unlearn *u, Task *other, const Batch *b) {
    return ask(u, other, other->class->features, b);
}
