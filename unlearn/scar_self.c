/* SCAR self-forget (Bonato et al. 2024): SCAR without the forgotten images. In their place stand those
 * outside images that the model takes for a class that goes; it ends when it takes them for others. Classes
 * can be forgotten so, single samples cannot: nothing outside stands for them. */
#include "unlearn/method.h"
#include "unlearn/scar.h"

#define SCAR_SELF_FIELDS(X) SCAR_FIELDS(X, "scar_self")
typedef struct SelfSettings {
    RECIPE_MEMBERS(SCAR_SELF_FIELDS)
} SelfSettings;
RECIPE_TABLE(scar_self_table, "Unlearning: SCAR self-forget", SelfSettings, SCAR_SELF_FIELDS);

static bool run(Unlearn *u, const void *settings, Error *e) {
    const SelfSettings *s = settings;
    const ScarSettings set = {.epochs = s->epochs,
                              .optimizer = s->optimizer,
                              .lr = s->lr,
                              .momentum = s->momentum,
                              .weight_decay = s->weight_decay,
                              .clip = s->clip,
                              .schedule = s->schedule,
                              .forget_weight = s->forget_weight,
                              .outside_weight = s->outside_weight,
                              .temperature = s->temperature,
                              .power = s->power,
                              .diagonal = s->diagonal,
                              .rest = s->rest,
                              .margin = s->margin};
    if (!u->world->whole)
        return error_set(e, ERROR_VALUE,
                         "forgets whole classes, by outside images that look like them, and retained samples "
                         "are of the same ones here; use scar");
    return scar_run(u, &set, true, e);
}

static double cost(const Unlearn *u, const void *settings) {
    const int64_t *n = u->world->count;
    return 8 / 3.0 * (double)((const SelfSettings *)settings)->epochs * (double)n[SET_OUTSIDE] +
           (double)n[SET_RETAIN] / 3;
}

const Method method_scar_self = {
    .name = "scar_self",
    .title = "SCAR self-forget",
    .source = "Bonato et al. 2024",
    .about = "SCAR by outside images that look like the forgotten class; needs none of its own",
    .needs = NEEDS_RETAIN | NEEDS_LABELS | NEEDS_OUTSIDE,
    .claim = CLAIM_HEURISTIC,
    .table = &scar_self_table,
    .run = run,
    .cost = cost,
};
