/* Random labels (Golatkar et al. 2020; Amnesiac: Graves et al. 2021): the forgotten samples are learnt with
 * wrong targets, the retained with their own. */
#include "unlearn/method.h"
#include "unlearn/relabel.h"

#define RANDOM_LABEL_FIELDS(X)                                                                               \
    DESCENT_FIELDS(X, "random_label", "10", "sgd", "0.013", "0.9", "5e-4")                                   \
    RELABEL_FIELDS(X, "random_label")
typedef struct RandomLabelSettings {
    RECIPE_MEMBERS(RANDOM_LABEL_FIELDS)
} RandomLabelSettings;
RECIPE_TABLE(random_label_table, "Unlearning: random labels", RandomLabelSettings, RANDOM_LABEL_FIELDS);

static bool run(Unlearn *u, const void *settings, Error *e) {
    const RandomLabelSettings *set = settings;
    return relabel_descend(u, DESCENT_OF(set), RELABEL_OF(set), NULL, NULL, NULL, e);
}

static double cost(const Unlearn *u, const void *settings) {
    const RandomLabelSettings *set = settings;
    const int64_t *n = u->world->count;
    return (double)set->epochs * ((double)n[SET_FORGET] + set->retain * (double)n[SET_RETAIN]);
}

const Method method_random_label = {
    .name = "random_label",
    .title = "Random labels",
    .source = "Golatkar et al. 2020; Amnesiac: Graves et al. 2021",
    .about = "learns wrong targets for the forgotten samples",
    .needs = NEEDS_RETAIN | NEEDS_FORGET,
    .claim = CLAIM_HEURISTIC,
    .table = &random_label_table,
    .run = run,
    .cost = cost,
};
