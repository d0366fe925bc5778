#include "core/train.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool take(Task *task, const Weights *f, const SafeEntry *x, Param *q, bool *used, Error *e) {
    Tensor from = {
        .ndim = x->ndim < TENSOR_MAX_DIM ? x->ndim : TENSOR_MAX_DIM, .dtype = DT_F32, .name = x->name};
    memcpy(from.dim, x->dim, sizeof from.dim < sizeof x->dim ? sizeof from.dim : sizeof x->dim);
    *used = false;
    if (x->ndim > TENSOR_MAX_DIM) return true;
    if (!(from.data = mem_get(tensor_bytes(&from)))) return error_memory(e, tensor_bytes(&from));
    bool fine = weights_read_real(f, x, tensor_real(&from), tensor_count(&from), e);
    if (fine) {
        char a[96], b[96];
        Adapt what = task->class->adapt(task, q->name, &from, q);
        *used = what == ADAPT_TAKEN;
        if (what == ADAPT_REFUSED)
            fine = error_set(e, ERROR_VALUE, "%s: %s is %s there and %s here", weights_path(f), q->name,
                             tensor_text(&from, a), tensor_text(&q->tensor, b));
    }
    mem_free(from.data);
    return fine;
}

/* Appends to a note, as far as it has room. */
PRINTF_LIKE(3, 4) static void note_add(char *note, size_t size, const char *format, ...) {
    size_t used = strlen(note);
    va_list args;
    va_start(args, format);
    vsnprintf(note + used, size - used, format, args);
    va_end(args);
}

/* Parameter `name` of a file, which may be of a model of another kind. */
static const SafeEntry *find(const Task *task, const Weights *f, const char *name) {
    char other[96];
    const SafeEntry *x = weights_find(f, name);
    return !x && task->class->foreign && task->class->foreign(name, other) ? weights_find(f, other) : x;
}

bool task_init_from(Task *task, const char *path, char *note, size_t note_size, Error *e) {
    enum { NAMED = 3 };
    Checkpoint *c = NULL;
    char warn[CHECKPOINT_NOTE], fresh[400] = "";
    if (!checkpoint_open(&c, path, warn, e)) return false;
    /* as in task_load: the averages where there are any */
    const Weights *f = checkpoint_file(c, CHECKPOINT_MODEL), *ema = checkpoint_file(c, CHECKPOINT_EMA);
    Params *p = &task->params;
    int64_t taken = 0, left = weights_count(f), fresh_count = 0;
    bool fine = true;
    for (int i = 0; i < p->count && fine; i++) {
        const char *name = p->list[i]->name;
        const SafeEntry *average = ema ? find(task, ema, name) : NULL,
                        *x = average ? average : find(task, f, name);
        bool used = false;
        if (x) fine = take(task, average ? ema : f, x, p->list[i], &used, e);
        taken += used;
        left -= x != NULL;
        if (!used && fresh_count++ < NAMED) note_add(fresh, sizeof fresh, " %s", name);
    }
    if (fine && taken == 0)
        fine = error_set(e, ERROR_VALUE, "%s: none of its %" PRId64 " tensors is in this model", path,
                         weights_count(f));
    if (fine) {
        task->class->prepare(task, true);
        note[0] = '\0';
        if (warn[0]) note_add(note, note_size, "%s; ", warn);
        note_add(note, note_size, "%" PRId64 " of %d tensors from %s", taken, p->count, checkpoint_path(c));
        if (left) note_add(note, note_size, "; %" PRId64 " of its tensors are not in this model", left);
        if (fresh_count) note_add(note, note_size, "; fresh:%s", fresh);
        if (fresh_count > NAMED) note_add(note, note_size, " and %" PRId64 " more", fresh_count - NAMED);
    }
    checkpoint_close(c);
    return fine;
}

bool task_load(Task *task, const Checkpoint *c, Error *e) {
    Params *p = &task->params;
    NamedTensor *list = mem_zero((size_t)p->count + 1, sizeof *list);
    if (!list) return error_memory(e, (size_t)p->count * sizeof *list);
    for (int i = 0; i < p->count; i++) list[i] = (NamedTensor){p->list[i]->name, &p->list[i]->tensor};
    CheckpointPart part = checkpoint_file(c, CHECKPOINT_EMA) ? CHECKPOINT_EMA : CHECKPOINT_MODEL;
    CheckpointWant want[2] = {{CHECKPOINT_MODEL, {list, p->count}, true}, {part, {list, p->count}, false}};
    bool fine = checkpoint_read(c, want, part == CHECKPOINT_EMA ? 2 : 1, e);
    mem_free(list);
    return fine;
}
