/* Bad teacher (Chundawat et al. 2023): the model follows what it was on the retained samples, and a model of
 * random weights on the forgotten ones. The divergence is summed over classes and averaged over samples; the
 * authors' code also divides by the number of classes, so that its rates are K times these. */
#include "core/comm.h"
#include "unlearn/method.h"

#define BAD_TEACHER_FIELDS(X)                                                                                \
    DESCENT_FIELDS(X, "bad_teacher", "1", "adamw", "1e-4", "0.9", "0")                                       \
    X(REAL, temperature, "unlearn.bad_teacher.temperature", "1", 0.01, 1000, "", "of both teachers")         \
    X(REAL, retain, "unlearn.bad_teacher.retain", "0.3", 0, 1, "",                                           \
      "share of the retained samples seen in a pass")
typedef struct BadTeacherSettings {
    RECIPE_MEMBERS(BAD_TEACHER_FIELDS)
} BadTeacherSettings;
RECIPE_TABLE(bad_teacher_table, "Unlearning: bad teacher", BadTeacherSettings, BAD_TEACHER_FIELDS);

static void follow(Unlearn *u, Task *teacher, const Batch *b, double temperature, double weight) {
    unlearn_forward(u, b, true);
    if (!b->n) return;
    const TaskClass *class = u->task->class;
    Tensor *to = unlearn_outputs_of(u, teacher, b), *x = class->outputs(u->task, u->step, b);
    unlearn_backward(u, class->distance(u->task, u->step, x, to, temperature, NULL), weight, b);
}

/* A batch of each set a step, the sizes of the sets as weights: as if they were shuffled together. */
static bool descend(Unlearn *u, const BadTeacherSettings *set, Task *good, Task *bad, Error *e) {
    Feed retain = {0}, forget = {0};
    Descent d = {0};
    const int64_t *n = u->world->count;
    double seen = set->retain * (double)n[SET_RETAIN], share = seen / (seen + (double)n[SET_FORGET]);
    bool fine = feed_open(&retain, u, SET_RETAIN, FEED_TRAIN, 0, e) &&
                feed_open(&forget, u, SET_FORGET, FEED_TRAIN, 0, e);
    int64_t pass = (int64_t)(set->retain * (double)retain.steps + 0.5);
    if (pass < forget.steps) pass = forget.steps;
    fine = fine && descent_open(&d, u, DESCENT_OF(set), pass * set->epochs, e);
    bool done = false;
    for (int64_t i = 0; i < pass * set->epochs && fine && !done; i++) {
        const Batch *r, *f;
        double t2 = set->temperature * set->temperature; /* this loss has no T^2 */
        if (!(fine = feed_next(&retain, &r, e) && feed_next(&forget, &f, e))) break;
        unlearn_zero(u);
        follow(u, good, r, set->temperature, share / t2);
        follow(u, bad, f, set->temperature, (1 - share) / t2);
        fine = descent_update(&d, e) && ((i + 1) % pass || unlearn_stop(u, &done, e));
    }
    descent_close(&d);
    feed_close(&forget);
    feed_close(&retain);
    return fine;
}

static bool run(Unlearn *u, const void *settings, Error *e) {
    Task good = {0}, bad = {0};
    bool fine = unlearn_teacher(u, &good, e) &&
                comm_agree(u->world->model(u->world->self, 0, u->seed + 1, &bad, e), e) &&
                descend(u, settings, &good, &bad, e);
    task_close(&good);
    task_close(&bad);
    return fine;
}

static double cost(const Unlearn *u, const void *settings) {
    const BadTeacherSettings *set = settings;
    const int64_t *n = u->world->count;
    return 4 / 3.0 * (double)set->epochs * ((double)n[SET_FORGET] + set->retain * (double)n[SET_RETAIN]);
}

const Method method_bad_teacher = {
    .name = "bad_teacher",
    .title = "Bad teacher",
    .source = "Chundawat et al. 2023",
    .about = "follows the old model on retained samples and a random one on the forgotten",
    .needs = NEEDS_RETAIN | NEEDS_FORGET,
    .claim = CLAIM_HEURISTIC,
    .table = &bad_teacher_table,
    .run = run,
    .cost = cost,
};
