/* SCRUB (Kurmanji et al. 2023): away from the old model's outputs on the forgotten samples, in passes of
 * their own, by turns with passes that stay close to them on the retained ones: gamma L + alpha KL. SCRUB+R,
 * for privacy, goes back to the pass after which the forgotten are known as well as unseen samples are. */
#include "core/comm.h"
#include "unlearn/method.h"
#include "unlearn/vector.h"

#include <math.h>
#include <string.h>

#define SCRUB_FIELDS(X)                                                                                      \
    DESCENT_FIELDS(X, "scrub", "10", "adamw", "5e-4", "0.9", "0.1")                                          \
    X(INT, max_epochs, "unlearn.scrub.max_epochs", "3", 0, 1000, "",                                         \
      "in so many passes, from the first on, forgotten samples are driven away")                             \
    X(REAL, gamma, "unlearn.scrub.gamma", "1", 0, 1000, "", "weight of the retained samples' loss")          \
    X(REAL, alpha, "unlearn.scrub.alpha", "0.5", 0, 1000, "", "and of their distance from the old outputs")  \
    X(REAL, temperature, "unlearn.scrub.temperature", "2", 0.01, 1000, "", "of the distance")                \
    X(REAL3, drops, "unlearn.scrub.drops", "[5, 8, 9]", 0, 1000, "",                                         \
      "passes after which the rate is a tenth")                                                              \
    X(BOOL, rewind, "unlearn.scrub.rewind", "false", 0, 0, "",                                               \
      "SCRUB+R: take the pass whose forgotten score is nearest that of unseen samples (unlearn.validation)")
typedef struct ScrubSettings {
    RECIPE_MEMBERS(SCRUB_FIELDS)
} ScrubSettings;
RECIPE_TABLE(scrub_table, "Unlearning: SCRUB", ScrubSettings, SCRUB_FIELDS);

typedef struct Scrub {
    Unlearn *u;
    const ScrubSettings *set;
    Task teacher;
    Feed retain, forget;
    Descent d;
    real *kept; /* rewind: values after the pass that was nearest so far */
    double unseen, nearest;
} Scrub;

static Tensor *distance(Scrub *s, const Batch *b) {
    Unlearn *u = s->u;
    const TaskClass *class = u->task->class;
    Tensor *to = unlearn_outputs_of(u, &s->teacher, b), *x = class->outputs(u->task, u->step, b);
    return class->distance(u->task, u->step, x, to, s->set->temperature, NULL);
}

static bool forget_one(Scrub *s, Error *e) {
    const Batch *b;
    if (!feed_next(&s->forget, &b, e)) return false;
    unlearn_zero(s->u);
    unlearn_forward(s->u, b, true);
    if (b->n) unlearn_backward(s->u, distance(s, b), -1, b);
    return descent_update(&s->d, e);
}

static bool retain_one(Scrub *s, Error *e) {
    const Batch *b;
    if (!feed_next(&s->retain, &b, e)) return false;
    unlearn_zero(s->u);
    unlearn_loss(s->u, b, true, s->set->gamma);
    unlearn_forward(s->u, b, true);
    if (b->n && s->set->alpha > 0) unlearn_backward(s->u, distance(s, b), s->set->alpha, b);
    return descent_update(&s->d, e);
}

/* SCRUB+R: keeps these weights if they are the nearest so far. */
static bool remember(Scrub *s, Error *e) {
    const Params *p = &s->u->task->params;
    UnlearnScore now;
    if (!unlearn_score(s->u, SET_FORGET, &now, e)) return false;
    double off = fabs(now.value - s->unseen);
    if (off >= s->nearest) return true;
    s->nearest = off;
    memcpy(s->kept, p->value, (size_t)p->values * sizeof *s->kept);
    return true;
}

static bool rewind_begin(Scrub *s, Error *e) {
    UnlearnScore aim;
    s->kept = vector_new(s->u->task->params.values, e);
    s->nearest = INFINITY;
    if (!comm_agree(s->kept != NULL, e) || !unlearn_aim(s->u, "unlearn.scrub.rewind", &aim, e)) return false;
    s->unseen = aim.value;
    return true;
}

static bool pass(Scrub *s, int64_t epoch, Error *e) {
    for (int k = 0; k < 3; k++)
        if (s->set->drops[k] > 0 && (double)epoch + 1 == s->set->drops[k] + 1) s->d.factor *= 0.1;
    for (int64_t i = 0; i < s->forget.steps && epoch < s->set->max_epochs; i++)
        if (!forget_one(s, e)) return false;
    for (int64_t i = 0; i < s->retain.steps; i++)
        if (!retain_one(s, e)) return false;
    return !s->set->rewind || remember(s, e);
}

static bool run(Unlearn *u, const void *settings, Error *e) {
    Scrub s = {.u = u, .set = settings};
    const ScrubSettings *set = settings;
    int64_t max = set->max_epochs < set->epochs ? set->max_epochs : set->epochs;
    bool fine =
        unlearn_teacher(u, &s.teacher, e) && feed_open(&s.retain, u, SET_RETAIN, FEED_TRAIN, 0, e) &&
        feed_open(&s.forget, u, SET_FORGET, FEED_TRAIN, 0, e) &&
        descent_open(&s.d, u, DESCENT_OF(set), max * s.forget.steps + set->epochs * s.retain.steps, e) &&
        (!set->rewind || rewind_begin(&s, e));
    for (int64_t i = 0; i < set->epochs && fine; i++) fine = pass(&s, i, e);
    if (fine && s.kept)
        memcpy(u->task->params.value, s.kept, (size_t)u->task->params.values * sizeof *s.kept);
    mem_free(s.kept);
    descent_close(&s.d);
    feed_close(&s.forget);
    feed_close(&s.retain);
    task_close(&s.teacher);
    return fine;
}

static double cost(const Unlearn *u, const void *settings) {
    const ScrubSettings *set = settings;
    const int64_t *n = u->world->count;
    return 7 / 3.0 * (double)set->epochs * (double)n[SET_RETAIN] +
           4 / 3.0 * (double)set->max_epochs * (double)n[SET_FORGET];
}

const Method method_scrub = {
    .name = "scrub",
    .title = "SCRUB",
    .source = "Kurmanji et al. 2023",
    .about = "away from the old outputs on forgotten samples, close to them on retained ones",
    .needs = NEEDS_RETAIN | NEEDS_FORGET,
    .claim = CLAIM_HEURISTIC,
    .table = &scrub_table,
    .run = run,
    .cost = cost,
};
