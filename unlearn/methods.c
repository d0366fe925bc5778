#include "unlearn/method.h"

#include <string.h>

#define METHODS(X)                                                                                           \
    X(retrain)                                                                                               \
    X(fine_tune)                                                                                             \
    X(ascent)                                                                                                \
    X(neggrad)                                                                                               \
    X(random_label)                                                                                          \
    X(bad_teacher)                                                                                           \
    X(scrub)                                                                                                 \
    X(influence)                                                                                             \
    X(fisher)                                                                                                \
    X(scar)                                                                                                  \
    X(scar_self)                                                                                             \
    X(laf)                                                                                                   \
    X(lcodec)                                                                                                \
    X(ssd)                                                                                                   \
    X(l1_sparse)                                                                                             \
    X(prune)                                                                                                 \
    X(salun)                                                                                                 \
    X(boundary_shrink)                                                                                       \
    X(boundary_expand)                                                                                       \
    X(duck)                                                                                                  \
    X(slug)                                                                                                  \
    X(i2i)

#define DECLARE(name) extern const Method method_##name;
METHODS(DECLARE)
#define ROW(name) &method_##name,
const Method *const unlearn_methods[] = {METHODS(ROW) NULL};

const Method *method_find(const char *name) {
    for (int i = 0; unlearn_methods[i]; i++)
        if (!strcmp(unlearn_methods[i]->name, name)) return unlearn_methods[i];
    return NULL;
}

static bool lacks(const Method *m, Error *e, const char *what) {
    return error_set(e, ERROR_VALUE, "unlearn.method \"%s\" %s", m->name, what);
}

bool method_check(const Method *m, const Unlearn *u, Error *e) {
    const TaskClass *class = u->task->class;
    const int64_t *count = u->world->count;
    if (m->needs & NEEDS_RETAIN && !count[SET_RETAIN])
        return lacks(m, e, "needs retained samples, and there are none");
    if (m->needs & NEEDS_FORGET && !count[SET_FORGET])
        return lacks(m, e, "needs the forgotten samples themselves, and they are not there");
    if (m->needs & NEEDS_LABELS && u->task->classes < 2)
        return error_set(
            e, ERROR_VALUE,
            "unlearn.method \"%s\" moves samples between classes, and task \"%s\" has none; use "
            "fine_tune, neggrad, random_label, scrub, influence, laf, lcodec, salun, ssd or retrain",
            m->name, class->name);
    if (u->set->stop && !unlearn_has_aim(u, "unlearn.stop", e)) return false;
    if (m->needs & NEEDS_OUTSIDE && !count[SET_OUTSIDE])
        return lacks(m, e, "needs images of something else: name a folder in unlearn.outside");
    if (m->needs & NEEDS_DECODER && !class->latent)
        return error_set(
            e, ERROR_VALUE,
            "unlearn.method \"%s\" is for models that encode and decode, such as task \"mae\"; this "
            "one is \"%s\"",
            m->name, class->name);
    return true;
}

/* Nothing of a run before: neither weights, nor zeros that shall stay, nor what keys drop path. */
static void run_afresh(Unlearn *u) {
    unlearn_restore(u);
    mem_free(u->keep);
    u->keep = NULL;
    u->index = u->updates = u->planned = 0;
    u->passes = 0;
}

bool method_run(const Method *m, Unlearn *u, const void *settings, Error *e) {
    if (!method_check(m, u, e)) return false;
    run_afresh(u);
    if (m->run(u, settings, e)) return true;
    unlearn_restore(u);
    return error_prefix(e, "%s", m->name);
}
