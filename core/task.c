#include "core/task.h"

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
