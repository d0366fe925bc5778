#include "cli/audit_shadows.h"

#include "core/comm.h"
#include "core/json.h"
#include "core/rng.h"
#include "unlearn/lira.h"
#include "unlearn/measures.h"
#include "unlearn/observe.h"
#include "unlearn/roc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const uint32_t DRAW = 0x7FFFFE00; /* an epoch of RNG_UNLEARN that nothing else has */

typedef struct Shadows {
    World *w;
    Unlearn *u;
    const Method *method;
    int count;
    int64_t n;     /* forgotten samples, in the order of the manifest */
    uint8_t *in;   /* [count, n] */
    double *phi;   /* [count, n] */
    uint8_t *part; /* [manifest.count]: WorldPart */
} Shadows;

/* Every sample is in one half of the shadows, and not in the other. */
static bool draw(Shadows *x, Error *e) {
    uint32_t *order = mem_get((size_t)x->count * sizeof *order);
    int64_t k = 0;
    if (!order) return error_memory(e, (size_t)x->count * sizeof *order);
    for (int64_t i = 0; i < x->w->manifest->count; i++) {
        if (!x->w->request.forget[i] || x->w->place[i] < 0) continue;
        Rng r = rng_open(x->u->seed, RNG_UNLEARN, DRAW, (uint64_t)x->w->manifest->line[i].id);
        for (int s = 0; s < x->count; s++) order[s] = (uint32_t)s;
        rng_shuffle(&r, order, (size_t)x->count);
        for (int s = 0; s < x->count; s++) x->in[order[s] * x->n + k] = s < x->count / 2;
        k++;
    }
    mem_free(order);
    return true;
}

/* The forgotten that this shadow has become `mine`, the others are left out. */
static bool split(Shadows *x, int shadow, WorldPart mine, Error *e) {
    const World *w = x->w;
    int64_t k = 0;
    for (int64_t i = 0; i < w->manifest->count; i++) {
        bool asked = w->request.forget[i] && w->place[i] >= 0;
        x->part[i] = !asked ? (w->request.forget[i] ? PART_NONE : PART_RETAIN)
                            : (x->in[shadow * x->n + k] ? mine : PART_NONE);
        k += asked;
    }
    return comm_agree(world_split(x->w, x->part, e), e);
}

/* By the same masks and prompts in every shadow: what is drawn for a sample is no difference of models. */
static bool look(Shadows *x, int shadow, Error *e) {
    Observed o;
    if (!comm_agree(world_split(x->w, NULL, e), e)) return false;
    const AuditDraws own = audit_draws_fix(x->u);
    bool seen = observe(&o, x->u, SET_FORGET, 0, false, e);
    audit_draws_back(x->u, own);
    if (!seen) return false;
    bool fine = o.n == x->n || error_set(e, ERROR_STATE, "a forgotten sample could not be read");
    for (int64_t i = 0; i < x->n && fine; i++)
        x->phi[shadow * x->n + i] =
            o.classes ? measure_logit_confidence(o.logit + i * o.classes, o.classes, o.label[i]) : -o.loss[i];
    observed_close(&o);
    return comm_agree(fine, e);
}

/* Trains a shadow on the retained samples and its half, then lets it forget that half. */
static bool make(Shadows *x, int shadow, Error *e) {
    Unlearn *u = x->u;
    const Method *retrain = method_find("retrain");
    const Params *p = &u->task->params;
    u->seed += 7919; /* another model */
    u->step->seed = u->seed;
    if (comm_first()) printf("shadow model %d of %d\n", shadow + 1, x->count), fflush(stdout);
    if (!split(x, shadow, PART_RETAIN, e) || !method_run(retrain, u, world_settings(x->w, retrain), e))
        return false;
    memcpy(u->origin, p->value, (size_t)p->values * sizeof(real)); /* what the method sets out from */
    return split(x, shadow, PART_FORGET, e) && method_run(x->method, u, world_settings(x->w, x->method), e) &&
           unlearn_refresh(u, e) && look(x, shadow, e);
}

/* The shadows but one, row after row. */
static void others(const Shadows *x, int but, double *phi, uint8_t *in) {
    size_t row = (size_t)x->n;
    for (int s = 0, k = 0; s < x->count; s++) {
        if (s == but) continue;
        memcpy(phi + (size_t)k * row, x->phi + (size_t)s * row, row * sizeof *phi);
        memcpy(in + (size_t)k++ * row, x->in + (size_t)s * row, row);
    }
}

static bool attack(const Shadows *x, Interval figure[FIGURES], Error *e) {
    size_t all = (size_t)x->count * (size_t)x->n;
    double *score = mem_get(all * sizeof *score), *phi = mem_get(all * sizeof *phi);
    uint8_t *in = mem_get(all);
    Roc roc;
    bool fine = (score && phi && in) || error_memory(e, all * sizeof *score);
    for (int s = 0; s < x->count && fine; s++) {
        others(x, s, phi, in);
        const LiraShadows shadows = {.phi = phi, .in = in, .models = x->count - 1, .examples = x->n};
        fine = lira_score(score + s * x->n, &shadows, x->phi + s * x->n, 1, LIRA_ONLINE, NULL, e);
    }
    fine = fine && roc_measure(&roc, score, x->in, (int64_t)all, e);
    if (fine) {
        figure[FIGURE_lira_auc] = (Interval){roc.auc, NAN, NAN};
        figure[FIGURE_lira_tpr] = (Interval){100 * roc.tpr[1], NAN, NAN};
    }
    mem_free(score);
    mem_free(phi);
    mem_free(in);
    return fine;
}

/* ---- whose method it is ---- */

typedef struct Other {
    const World *w;
    const Method *method;
    char text[300]; /* the first setting that is another; "" */
} Other;

/* unlearn.* but the seed, and of the methods' own settings those of the two that run. */
static bool concerns(const Other *o, const char *key) {
    const Method *next = o->method->then ? o->method->then(world_settings(o->w, o->method)) : NULL;
    if (strncmp(key, "unlearn.", 8) != 0 || !strcmp(key, "unlearn.seed")) return false;
    const char *name = key + 8, *dot = strchr(name, '.');
    if (!strncmp(name, "outside", 7)) return o->method->needs & NEEDS_OUTSIDE;
    size_t n = dot ? (size_t)(dot - name) : 0;
    return !dot || (!strncmp(name, o->method->name, n) && !o->method->name[n]) ||
           (next && !strncmp(name, next->name, n) && !next->name[n]);
}

static bool is_other(void *self, const RecipeChange *is, Error *e) {
    Other *o = self;
    (void)e;
    if (!concerns(o, is->path) || o->text[0]) return true;
    snprintf(o->text, sizeof o->text, "%s is %.60s in its recipe, and %.60s here", is->path, is->was, is->is);
    return true;
}

static bool method_known(const char *recipe, const char *path, bool *known, Error *e) {
    JsonFile *f = NULL;
    if (!recipe) return true;
    if (!json_open(&f, path, recipe, strlen(recipe), e)) return false;
    *known = json_exists(json_get(json_get(json_root(f), "unlearn"), "method"));
    json_close(f);
    return true;
}

bool audit_shadows_warn(const World *w, const Method *m, const char *path, Error *e) {
    Other o = {.w = w, .method = m};
    Checkpoint *c = NULL;
    char note[CHECKPOINT_NOTE];
    bool known = false, fine = checkpoint_open(&c, path, note, e);
    const char *recipe = fine ? checkpoint_recipe(c) : NULL;
    fine = fine && method_known(recipe, path, &known, e);
    if (fine && known) fine = recipe_changes(recipe, w->setup.text, is_other, &o, e);
    if (fine && !known) snprintf(o.text, sizeof o.text, "its recipe names no method");
    checkpoint_close(c);
    if (fine && o.text[0] && comm_first())
        fprintf(
            stderr,
            "lethe: warning: %s: U-LiRA judges unlearn.method \"%s\" as the recipe has it, which is not how "
            "this model forgot: %s\n",
            path, m->name, o.text);
    return comm_agree(fine, e);
}

/* ---- all of it ---- */

static bool room(Shadows *x, Error *e) {
    size_t all = (size_t)x->count * (size_t)x->n;
    x->in = mem_zero(all, 1);
    x->phi = mem_get(all * sizeof *x->phi);
    x->part = mem_get((size_t)x->w->manifest->count);
    return (x->in && x->phi && x->part) || error_memory(e, all * sizeof *x->phi);
}

bool audit_shadows(Interval figure[FIGURES], World *w, Unlearn *u, const Method *m, int shadows, Error *e) {
    Shadows x = {.w = w, .u = u, .method = m, .count = shadows, .n = w->unlearn.count[SET_FORGET]};
    const Params *p = &u->task->params;
    size_t bytes = (size_t)p->values * sizeof(real);
    uint64_t seed = u->seed;
    real *origin = mem_get(bytes);
    Error why;
    bool fine = comm_agree((origin ? true : error_memory(e, bytes)) && room(&x, e) && draw(&x, e), e);
    if (fine) memcpy(origin, u->origin, bytes);
    for (int s = 0; s < shadows && fine; s++) fine = make(&x, s, e);
    fine = fine && comm_agree(attack(&x, figure, e), e);
    if (!world_split(w, NULL, &why) && fine) *e = why, fine = false;
    if (origin) memcpy(u->origin, origin, bytes);
    u->seed = u->step->seed = seed;
    unlearn_restore(u);
    mem_free(origin);
    mem_free(x.in);
    mem_free(x.phi);
    mem_free(x.part);
    return fine;
}
