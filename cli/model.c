#include "cli/model.h"

#include "core/comm.h"

#include <stdio.h>
#include <string.h>

static bool checkpoint_use(Model *m, const char *path, Error *e) {
    Checkpoint *c = NULL;
    char note[CHECKPOINT_NOTE];
    bool fine = checkpoint_open(&c, path, note, e);
    if (fine && note[0] && comm_first()) fprintf(stderr, "lethe: warning: %s\n", note);
    fine = fine && setup_open(&m->setup, checkpoint_path(c), NULL, 0, 0, c, e);
    if (fine && strcmp(m->setup.task.class->name, "segment") != 0)
        fine = error_set(e, ERROR_VALUE, "%s: is a model of task \"%s\"; this takes one of \"segment\"", path,
                         m->setup.task.class->name);
    fine = fine && setup_weights(&m->setup, c, e);
    if (fine) snprintf(m->name, sizeof m->name, "%s", checkpoint_path(c));
    checkpoint_close(c);
    return fine;
}

bool model_open(Model *out, const char *checkpoint, DType compute, Error *e) {
    *out = (Model){0};
    bool fine = checkpoint_use(out, checkpoint, e);
    fine = fine && predictor_open(&out->predictor, &out->setup.task, compute, e);
    if (!fine) model_close(out);
    return fine;
}

void model_close(Model *m) {
    predictor_close(m->predictor);
    setup_close(&m->setup);
    *m = (Model){0};
}
