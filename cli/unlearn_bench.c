#include "cli/cli.h"
#include "cli/grid.h"
#include "cli/options.h"
#include "cli/place.h"
#include "cli/reference.h"

#include "core/clock.h"
#include "core/comm.h"
#include "core/nearest.h"
#include "core/progress.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: lethe unlearn-bench RECIPE --checkpoint DIR --forget SPEC --out DIR [--methods all|NAME,NAME..]\n"
    "       [--seeds 3] [--set key=value]... [--seed N]\n\n"
    "Runs methods side by side on one checkpoint, each with several seeds, and audits each result. "
    "Retraining comes\n"
    "first: it is what the others are held against. Writes DIR/table.html, table.csv and table.json. Each "
    "result is\n"
    "kept as soon as it is there: the same command goes on where it was interrupted, and where the settings "
    "of a\n"
    "method are others than before, that method alone runs anew. Methods that are not asked for, but were "
    "before,\n"
    "keep their results, and the settings these were made with.\n";

typedef struct Command {
    const char *recipe, *checkpoint, *out, *methods;
    OptionList forget, set;
    int64_t seeds, seed;
} Command;

/* What stays the same from cell to cell. */
typedef struct Bench {
    World w;
    Unlearn u;
    Grid *grid;
    Audit before, reference;
    int reference_seed; /* of the audit above; -1: none yet */
    double seconds;     /* retraining's, of that seed */
    double passes;      /* and samples */
    double cost, total; /* of the cells that are done, of all: for the progress bar */
    double spent, paid; /* seconds and cost of the cells made in this process */
} Bench;

/* ---- which methods ---- */

static bool method_add(Grid *g, const char *name, Error *e) {
    const Method *m = method_find(name), *near = NULL;
    int distance = nearest_limit(name) + 1;
    for (int i = 0; i < g->methods && m; i++)
        if (g->method[i] == m) return true;
    if (m) {
        g->method[g->methods++] = m;
        return true;
    }
    for (int i = 0; unlearn_methods[i]; i++) {
        int d = nearest_distance(name, unlearn_methods[i]->name);
        if (d < distance) near = unlearn_methods[i], distance = d;
    }
    return error_set(e, ERROR_VALUE, "--methods: there is no method \"%.60s\"%s%s", name,
                     near ? "; did you mean " : "; lethe unlearn --dry-run lists them",
                     near ? near->name : "");
}

static bool methods_take(Grid *g, const char *list, Error *e) {
    g->methods = 0;
    if (!method_add(g, "retrain", e)) return false;
    if (!strcmp(list, "all")) {
        for (int i = 0; unlearn_methods[i]; i++)
            if (!method_add(g, unlearn_methods[i]->name, e)) return false;
        return true;
    }
    char *copy = mem_string(list), *next = copy;
    if (!copy) return error_memory(e, strlen(list));
    bool fine = true;
    for (char *word; fine && (word = strsep(&next, ","));) fine = method_add(g, word, e);
    mem_free(copy);
    return fine;
}

/* What runs before left, for the table. Collective. */
static bool others_take(Grid *g, Error *e) {
    bool others[GRID_METHODS] = {false};
    if (!comm_agree(!comm_first() || grid_others(g, others, e), e)) return false;
    comm_share(others, sizeof others);
    for (int m = 0; unlearn_methods[m]; m++)
        if (others[m]) g->method[g->methods++] = unlearn_methods[m];
    return true;
}

/* ---- progress ---- */

static double cost_of(const Bench *b, int method) {
    const Method *m = b->grid->method[method];
    Error ignored;
    double audit = (double)(b->w.unlearn.count[SET_RETAIN] + b->w.unlearn.count[SET_FORGET]);
    return method_check(m, &b->u, &ignored) ? m->cost(&b->u, world_settings(&b->w, m)) + audit : 0;
}

static void tell(const Bench *b, const char *what, int seed) {
    char text[300], line[200], time[32] = "?";
    int cells = 0;
    if (!comm_first()) return;
    for (int m = 0; m < b->grid->methods; m++)
        for (int s = 0; s < b->grid->seeds; s++) cells += b->grid->cell[m][s].done;
    if (b->paid > 0) progress_time(time, (b->total - b->cost) * b->spent / b->paid);
    snprintf(line, sizeof line, "%d of %d  %s, seed %d  ETA %s", cells, b->grid->methods * b->grid->seeds,
             what, seed + 1, time);
    progress_share(text, sizeof text, 100, b->total > 0 ? b->cost / b->total : 0, line);
    printf("%s%s", isatty(STDOUT_FILENO) ? "\r\033[K" : "", text);
    if (!isatty(STDOUT_FILENO)) printf("\n");
    fflush(stdout);
}

/* ---- cells ---- */

/* What a model cost. */
typedef struct Cost {
    double samples, seconds;
} Cost;

/* The retrained weights of a seed, kept for the cells of its seed that are still to come, and for audits of
 * another kind. */
static bool reference_path(const Bench *b, int seed, char path[FILE_PATH], Error *e) {
    return grid_path(b->grid, "retrain", seed, "safetensors", path, e);
}

static bool reference_save(const Bench *b, int seed, Cost cost, Error *e) {
    char path[FILE_PATH], text[2][32];
    const Params *p = &b->u.task->params;
    SafeItem *item = mem_get((size_t)p->count * sizeof *item);
    if (!item) return error_memory(e, (size_t)p->count * sizeof *item);
    snprintf(text[0], sizeof text[0], "%.17g", cost.samples);
    snprintf(text[1], sizeof text[1], "%.17g", cost.seconds);
    const SafeMeta meta[] = {{"samples", text[0]}, {"seconds", text[1]}};
    for (int i = 0; i < p->count; i++) item[i] = safe_item(p->list[i]->name, &p->host[i]);
    bool fine =
        reference_path(b, seed, path, e) && safe_save(path, item, p->count, meta, COUNT(meta), NULL, e);
    mem_free(item);
    return fine;
}

/* The weights of reference_save into u->task, with what they cost; false with `found` unset where there are
 * none. */
static bool reference_load(Bench *b, int seed, bool *found, Cost *cost, Error *e) {
    char path[FILE_PATH], note[CHECKPOINT_NOTE];
    Checkpoint *c = NULL;
    if (!reference_path(b, seed, path, e)) return false;
    *found = file_kind(path) != FILE_NONE;
    if (!*found) return true;
    bool fine = checkpoint_open(&c, path, note, e) && task_load(&b->w.setup.task, c, e);
    const SafeFile *f = fine ? weights_safe(checkpoint_file(c, CHECKPOINT_MODEL)) : NULL;
    const char *samples = f ? safe_meta(f, "samples") : NULL, *took = f ? safe_meta(f, "seconds") : NULL;
    *cost = (Cost){samples ? strtod(samples, NULL) : 0, took ? strtod(took, NULL) : 0};
    if (fine &&
        !(cost->samples > 0 && cost->seconds > 0 && isfinite(cost->samples) && isfinite(cost->seconds)))
        fine = error_set(e, ERROR_FORMAT, "%s: says nothing of what retraining cost; remove it to retrain",
                         path);
    checkpoint_close(c);
    return comm_agree(fine, e);
}

/* The audit of this seed's reference, from its weights if it was made by a process before. */
static bool reference_ready(Bench *b, int seed, Error *e) {
    bool found;
    Cost cost;
    if (b->reference_seed == seed) return true;
    if (b->reference_seed >= 0) audit_close(&b->reference);
    b->reference_seed = -1;
    if (!reference_load(b, seed, &found, &cost, e)) return false;
    if (!found)
        return error_set(
            e, ERROR_STATE,
            "%s: cells/retrain-%d.safetensors is gone, without retrain-%d.json; remove that, too, "
            "to retrain",
            b->grid->out, seed + 1, seed + 1);
    if (!audit_measure(&b->reference, &b->u, &b->w.setup.audit, &b->before, e)) return false;
    b->reference_seed = seed;
    b->reference.figure[FIGURE_seconds] = (Interval){cost.seconds, NAN, NAN};
    return true;
}

static void figures_keep(GridCell *c, const Audit *a) {
    c->done = true;
    for (int i = 0; i < FIGURES; i++) {
        c->figure[i] = a->figure[i].value;
        c->beyond[i] = audit_is_beyond(&a->figure[i]);
    }
}

static bool measure(Bench *b, int method, int seed, Cost spent, Audit *a, Error *e) {
    if (!audit_measure(a, &b->u, &b->w.setup.audit, &b->before, e)) return false;
    a->figure[FIGURE_seconds] = (Interval){spent.seconds, NAN, NAN};
    a->figure[FIGURE_work] = (Interval){spent.samples, NAN, NAN};
    GridCell *c = &b->grid->cell[method][seed];
    if (method > 0) {
        const double *whole = b->grid->cell[0][seed].figure;
        if (!reference_ready(b, seed, e) || !audit_compare(a, &b->u, &b->before, &b->reference, e))
            return false;
        a->figure[FIGURE_work].value *= 100 / whole[FIGURE_work];
        figures_keep(c, a);
        return true;
    }
    if (!audit_compare(a, &b->u, &b->before, NULL, e)) return false;
    figures_keep(c, a);
    if (b->reference_seed >= 0) audit_close(&b->reference);
    b->reference = *a; /* what the others of this seed are held against */
    b->reference_seed = seed;
    *a = (Audit){0};
    return true;
}

/* A method that cannot be used here, or fails, is a result too. */
static bool cell_make(Bench *b, int method, int seed, Error *e) {
    const Method *m = b->grid->method[method];
    GridCell *c = &b->grid->cell[method][seed];
    Audit a = {0};
    Error why;
    *c = (GridCell){0};
    for (int i = 0; i < FIGURES; i++) c->figure[i] = NAN;
    tell(b, m->title, seed);
    b->u.seed = (uint64_t)b->w.setup.run.seed * 1000003 + (uint64_t)(b->w.setup.unlearn.seed + seed + 1);
    b->u.step->seed = b->u.seed;
    b->u.passes = 0;
    double began = clock_seconds();
    bool made = false, fine = true;
    Cost spent;
    if (method == 0 && !reference_load(b, seed, &made, &spent, e)) return false;
    if (!made) {
        fine = method_run(m, &b->u, world_settings(&b->w, m), &why) && unlearn_refresh(&b->u, &why);
        spent = (Cost){b->u.passes, clock_seconds() - began};
    }
    if (fine && method == 0 && !made && !comm_agree(!comm_first() || reference_save(b, seed, spent, e), e))
        return false;
    if (!fine && (method == 0 || why.code == ERROR_MEMORY || why.code == ERROR_IO)) {
        *e = why;
        return false;
    }
    if (!fine) {
        snprintf(c->why, sizeof c->why, "%.390s", why.text);
        c->done = true;
    } else if (!measure(b, method, seed, spent, &a, e)) {
        return false;
    }
    audit_close(&a);
    double cost = cost_of(b, method);
    b->spent += made ? 0 : clock_seconds() - began;
    b->paid += made ? 0 : cost;
    b->cost += cost;
    return comm_agree(!comm_first() || grid_write(b->grid, method, seed, e), e);
}

static bool cells_read(Bench *b, Error *e) {
    Grid *g = b->grid;
    for (int m = 0; m < g->methods; m++)
        for (int s = 0; s < g->seeds; s++) {
            bool fine = comm_agree(!comm_first() || grid_read(g, m, s, e), e);
            if (!fine) return false;
            comm_share(&g->cell[m][s], sizeof g->cell[m][s]);
            b->total += cost_of(b, m);
            if (g->cell[m][s].done) b->cost += cost_of(b, m);
        }
    return true;
}

/* A grid of before, or nothing. */
static bool place_check(const Command *c, Error *e) {
    static const char *const names[] = {GRID_SUBJECT, NULL};
    char path[FILE_PATH];
    return place_apart(c->out, c->checkpoint, e) && file_join(path, sizeof path, c->out, GRID_SUBJECT, e) &&
           (file_kind(path) == FILE_REGULAR || place_ours(c->out, names, e));
}

/* What all else is held against begins with weights that ought not to know them. */
static bool first_check(const Bench *b, Error *e) {
    Known known;
    Checkpoint *c = NULL;
    bool fine = reference_first(&known, &c, &b->w, e);
    checkpoint_close(c);
    return fine;
}

static bool bench(Bench *b, const Command *c, Error *e) {
    Grid *g = b->grid;
    if (!comm_agree(!comm_first() || place_check(c, e), e)) return false;
    if (!comm_agree(methods_take(g, c->methods, e), e) ||
        !world_open(&b->w, c->recipe, &c->set, c->checkpoint, &c->forget, (uint64_t)c->seed, e))
        return false;
    if (!comm_agree(unlearn_open(&b->u, &b->w.setup.task, &b->w.unlearn, &b->w.setup.unlearn, e), e) ||
        !comm_agree(!comm_first() || (grid_claim(g, &b->w, e) && first_check(b, e)), e) ||
        !others_take(g, e) || !cells_read(b, e))
        return false;
    if (!audit_measure(&b->before, &b->u, &b->w.setup.audit, NULL, e)) return false;
    g->score = b->before.score;
    g->share = b->before.share;
    memcpy(g->before, b->before.figure, sizeof g->before);
    for (int s = 0; s < g->seeds; s++)
        for (int m = 0; m < g->methods; m++)
            if (!g->cell[m][s].done && !cell_make(b, m, s, e)) return false;
    if (!grid_average(g, e)) return false;
    if (!comm_first()) return true;
    grid_print(g);
    return grid_tables(g, file_base(c->checkpoint), e);
}

static bool run(const Command *c, Error *e) {
    Bench b = {.reference_seed = -1};
    if (!(b.grid = mem_zero(1, sizeof *b.grid))) return error_memory(e, sizeof *b.grid);
    b.grid->out = c->out;
    b.grid->seeds = (int)c->seeds;
    bool fine = bench(&b, c, e);
    if (b.reference_seed >= 0) audit_close(&b.reference);
    audit_close(&b.before);
    unlearn_close(&b.u);
    world_close(&b.w);
    mem_free(b.grid);
    return fine;
}

int cli_unlearn_bench(int argc, char **argv) {
    Error e = {0};
    Command c = {.methods = "all", .seeds = 3};
    OptionList rest = {0};
    const Option options[] = {
        {"checkpoint", OPTION_TEXT, &c.checkpoint},
        {"forget", OPTION_LIST, &c.forget},
        {"out", OPTION_TEXT, &c.out},
        {"methods", OPTION_TEXT, &c.methods},
        {"seeds", OPTION_INT, &c.seeds},
        {"set", OPTION_LIST, &c.set},
        {"seed", OPTION_INT, &c.seed},
        {0},
    };
    int done = options_read(argc, argv, usage, options, &rest, &e);
    if (done >= 0) return done ? cli_fail(&e) : 0;
    if (rest.count != 1 || !c.checkpoint || !c.out) {
        error_set(&e, ERROR_VALUE,
                  "unlearn-bench takes one recipe, --checkpoint, --forget and --out; see lethe unlearn-bench "
                  "--help");
        return cli_fail(&e);
    }
    if (c.seeds < 1 || c.seeds > GRID_SEEDS) {
        error_set(&e, ERROR_VALUE, "--seeds: expected 1 to %d", GRID_SEEDS);
        return cli_fail(&e);
    }
    c.recipe = rest.item[0];
    return run(&c, &e) ? 0 : cli_fail(&e);
}
