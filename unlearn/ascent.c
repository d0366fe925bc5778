/* Gradient ascent (Graves et al. 2021; Thudi et al. 2022): up the loss of the forgotten samples. The loss has
 * no upper end, so it stops by itself: a batch whose mean loss is above `bound` is left alone (for classes,
 * log K is that of a guess), and with unseen samples at hand it ends after the pass in which the forgotten
 * are no better than those. */
#include "core/comm.h"
#include "unlearn/method.h"

#include <math.h>

#define ASCENT_FIELDS(X)                                                                                     \
    DESCENT_FIELDS(X, "ascent", "5", "sgd", "1e-4", "0.9", "5e-4")                                           \
    X(REAL, bound, "unlearn.ascent.bound", "0", 0, 1e6, "",                                                  \
      "a batch with a greater loss is left alone; 0: log K of K classes, else none")                         \
    X(BOOL, stop, "unlearn.ascent.stop", "true", 0, 0, "",                                                   \
      "end when the forgotten do no better than unseen samples (unlearn.validation)")
typedef struct AscentSettings {
    RECIPE_MEMBERS(ASCENT_FIELDS)
} AscentSettings;
RECIPE_TABLE(ascent_table, "Unlearning: gradient ascent", AscentSettings, ASCENT_FIELDS);

/* Are the forgotten no better known than they should be? */
static bool enough(Unlearn *u, bool *yes, Error *e) {
    UnlearnScore aim, now;
    if (!unlearn_aim(u, "unlearn.ascent.stop", &aim, e) || !unlearn_score(u, SET_FORGET, &now, e))
        return false;
    *yes = unlearn_reached(&now, &aim);
    return true;
}

static bool run(Unlearn *u, const void *settings, Error *e) {
    const AscentSettings *set = settings;
    Feed f = {0};
    Descent d = {0};
    bool stops = set->stop && (u->world->whole || u->world->count[SET_VALID] > 0), done = false;
    double bound = set->bound > 0 ? set->bound : u->task->classes > 1 ? log(u->task->classes) : INFINITY;
    bool fine = feed_open(&f, u, SET_FORGET, FEED_TRAIN, 0, e);
    fine = fine && descent_open(&d, u, DESCENT_OF(set), f.steps * set->epochs, e);
    if (fine && stops) fine = enough(u, &done, e);
    for (int64_t i = 0; i < f.steps * set->epochs && fine && !done; i++) {
        const Batch *b;
        if (!(fine = feed_next(&f, &b, e))) break;
        unlearn_zero(u);
        unlearn_loss(u, b, true, -1);
        double sum[] = {-u->loss, (double)u->images};
        comm_sum(sum, COUNT(sum));
        if (isfinite(sum[0]) && sum[0] >= bound)
            u->passes += sum[1];
        else /* what is not finite is an error there */
            fine = descent_update(&d, e);
        if (fine && stops && (i + 1) % f.steps == 0) fine = enough(u, &done, e);
    }
    descent_close(&d);
    feed_close(&f);
    return fine;
}

static double cost(const Unlearn *u, const void *settings) {
    return (double)((const AscentSettings *)settings)->epochs * (double)u->world->count[SET_FORGET];
}

const Method method_ascent = {
    .name = "ascent",
    .title = "Gradient ascent",
    .source = "Graves et al. 2021; Thudi et al. 2022",
    .about = "goes up the loss of the forgotten samples",
    .needs = NEEDS_FORGET,
    .claim = CLAIM_HEURISTIC,
    .table = &ascent_table,
    .run = run,
    .cost = cost,
};
