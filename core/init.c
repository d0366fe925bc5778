#include "core/train.h"

#include <inttypes.h>
#include <string.h>

static bool take(Task *task, const SafeFile *f, const SafeEntry *x, Param *q, bool *used, Error *e) {
    Tensor from = {
        .ndim = x->ndim < TENSOR_MAX_DIM ? x->ndim : TENSOR_MAX_DIM, .dtype = DT_F32, .name = x->name};
    memcpy(from.dim, x->dim, sizeof from.dim < sizeof x->dim ? sizeof from.dim : sizeof x->dim);
    *used = false;
    if (x->ndim > TENSOR_MAX_DIM) return true;
    if (!(from.data = mem_get(tensor_bytes(&from)))) return error_memory(e, tensor_bytes(&from));
    bool fine = safe_read_real(f, x, tensor_real(&from), tensor_count(&from), e);
    if (fine) {
        char a[96], b[96];
        *used = task->class->adapt(task, q->name, &from, q);
        if (!*used)
            fine = error_set(e, ERROR_VALUE, "%s: %s is %s there and %s here", safe_path(f), q->name,
                             tensor_text(&from, a), tensor_text(&q->tensor, b));
    }
    mem_free(from.data);
    return fine;
}

bool task_init_from(Task *task, const char *path, char *note, size_t note_size, Error *e) {
    Checkpoint *c = NULL;
    char warn[CHECKPOINT_NOTE];
    if (!checkpoint_open(&c, path, warn, e)) return false;
    const SafeFile *f = checkpoint_file(c, CHECKPOINT_MODEL);
    Params *p = &task->params;
    int64_t taken = 0, left = 0;
    char fresh[600] = "";
    size_t at = 0;
    bool fine = true;
    for (int i = 0; i < p->count && fine; i++) {
        const SafeEntry *x = safe_find(f, p->list[i]->name);
        bool used = false;
        if (x) fine = take(task, f, x, p->list[i], &used, e);
        taken += used;
        if (!x && at < sizeof fresh)
            at += (size_t)snprintf(fresh + at, sizeof fresh - at, " %s", p->list[i]->name);
    }
    for (int64_t i = 0; i < safe_count(f); i++) left += !params_find(p, safe_at(f, i)->name);
    if (fine && taken == 0)
        fine = error_set(e, ERROR_VALUE, "%s: none of its %" PRId64 " tensors is in this model", path,
                         safe_count(f));
    if (fine) {
        task->class->prepare(task, true);
        snprintf(note, note_size,
                 "%" PRId64 " of %d parameters from %s; %" PRId64 " of its tensors are not in this model%s%s",
                 taken, p->count, checkpoint_path(c), left, fresh[0] ? "; fresh:" : "", fresh);
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
