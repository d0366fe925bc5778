#include "core/task.h"

#include "core/ops.h"

#include <math.h>

static bool task_make(Task *task, Recipe *recipe, int classes, uint64_t seed, Error *e) {
    if (!task->class->create(task, recipe, classes, e) || !params_build(&task->params, seed, e)) {
        task_close(task);
        return false;
    }
    task->class->prepare(task, false);
    return true;
}

bool task_open(Task *task, const TaskClass *class, Recipe *recipe, int classes, uint64_t seed, Error *e) {
    *task = (Task){.class = class};
    return task_make(task, recipe, classes, seed, e);
}

bool task_open_dry(Task *task, const TaskClass *class, Recipe *recipe, int classes, Error *e) {
    *task = (Task){.class = class, .params.dry = true};
    return task_make(task, recipe, classes, 0, e);
}

void task_close(Task *task) {
    if (task->class && task->self) task->class->destroy(task);
    params_free(&task->params);
    *task = (Task){0};
}

void task_layer_decay(Task *task, double decay) {
    for (int i = 0; i < task->params.count; i++)
        task->params.list[i]->lr_scale = pow(decay, task->layers - task->params.list[i]->layer);
}

Tensor *task_image(Step *s, const Batch *batch) {
    Tensor *x = step_input(s, &batch->image);
    if (!s->want_image) return x;
    step_want_grad(x);
    s->image = x;
    return x;
}

/* KL(p || q) = xent(q; p) - entropy(p), the latter off the tape. */
Tensor *task_distance_classes(Step *s, Tensor *x, Tensor *to, double temperature, Tensor **each) {
    Tensor *cross_each, *own_each;
    bool was = step_no_grad(s);
    Tensor *scaled = op_scale(s, f32_of(s, to), 1 / temperature, 0), *p = op_softmax(s, scaled);
    Tensor *own = op_xent(s, scaled, NULL, p, 0, &own_each);
    step_grad_on(s, was);
    Tensor *cross = op_xent(s, op_scale(s, x, 1 / temperature, 0), NULL, p, 0, &cross_each);
    double square = temperature * temperature;
    was = step_no_grad(s);
    if (each) *each = op_scale(s, op_arith(s, cross_each, own_each, ARITH_SUB), square, 0);
    step_grad_on(s, was);
    return op_scale(s, op_arith(s, cross, own, ARITH_SUB), square, 0);
}
