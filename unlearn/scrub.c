/* SCRUB (Kurmanji et al. 2023): away from the old model's outputs on the forgotten samples, in passes of
 * their own, by turns with passes that stay close to them on the retained ones: gamma L + alpha KL. SCRUB+R,
 * for privacy, goes back to the pass after which the forgotten were known as well as the model at the end,
 * which has forgotten too much, knows unseen samples: the weights after each pass are kept until then. */
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
      "SCRUB+R: back to the pass whose forgotten score is nearest that of unseen samples at the end")
typedef struct ScrubSettings {
    RECIPE_MEMBERS(SCRUB_FIELDS)
} ScrubSettings;
RECIPE_TABLE(scrub_table, "Unlearning: SCRUB", ScrubSettings, SCRUB_FIELDS);

/* Of one pass. */
typedef struct Kept {
    real *value;  /* the weights after it */
    double score; /* of the forgotten */
} Kept;

typedef struct Scrub {
    Unlearn *u;
    const ScrubSettings *set;
    Task teacher;
    Feed retain, forget;
    Descent d;
    Kept *kept; /* rewind: [passes] */
    int64_t passes;
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

static bool rewind_begin(Scrub *s, Error *e) {
    s->kept = mem_zero((size_t)s->set->epochs + 1, sizeof *s->kept);
    if (!comm_agree(s->kept ? true : error_memory(e, sizeof *s->kept), e)) return false;
    return unlearn_has_aim(s->u, "unlearn.scrub.rewind", e);
}

static bool remember(Scrub *s, Error *e) {
    const Params *p = &s->u->task->params;
    size_t bytes = (size_t)p->values * sizeof(real);
    UnlearnScore now;
    if (!unlearn_score(s->u, SET_FORGET, &now, e)) return false;
    real *value = mem_get(bytes);
    if (!comm_agree(value ? true : error_memory(e, bytes), e)) {
        mem_free(value);
        return false;
    }
    memcpy(value, p->value, bytes);
    s->kept[s->passes++] = (Kept){value, now.value};
    return true;
}

static bool go_back(Scrub *s, Error *e) {
    const Kept *best = s->kept;
    UnlearnScore unseen;
    if (!s->passes) return true;
    if (!unlearn_aim(s->u, "unlearn.scrub.rewind", &unseen, e)) return false;
    for (const Kept *k = best; k < s->kept + s->passes; k++)
        if (fabs(k->score - unseen.value) < fabs(best->score - unseen.value)) best = k;
    memcpy(s->u->task->params.value, best->value, (size_t)s->u->task->params.values * sizeof(real));
    return true;
}

static bool pass(Scrub *s, int64_t epoch, Error *e) {
    for (int k = 0; k < 3; k++)
        if (s->set->drops[k] > 0 && epoch == (int64_t)ceil(s->set->drops[k])) s->d.factor *= 0.1;
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
    bool done = false;
    for (int64_t i = 0; i < set->epochs && fine && !done; i++)
        fine = pass(&s, i, e) && unlearn_stop(u, &done, e);
    fine = fine && go_back(&s, e);
    for (int64_t i = 0; i < s.passes; i++) mem_free(s.kept[i].value);
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
