#include "cli/audit_set.h"
#include "cli/audit_shadows.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "cli/place.h"
#include "cli/reference.h"
#include "cli/unlearn_report_world.h"

#include "core/clock.h"
#include "core/comm.h"

#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: lethe audit RECIPE --before DIR --after DIR [--after DIR]... [--reference DIR]... --forget SPEC\n"
    "       --out DIR [--set key=value]... [--seed N] [--shadows N] [--no-pictures]\n\n"
    "Measures how well a model has forgotten: what it still knows, what membership attacks find, how fast it "
    "learns\n"
    "again, what comes back with weights of few bits. --before is the model that knew, with its manifest; "
    "--after the\n"
    "one that has forgotten, or several, one a seed: figures are then means with intervals; --reference one "
    "that was\n"
    "trained without the samples (lethe unlearn --method retrain), which is what the others are held "
    "against.\n"
    "--shadows N adds U-LiRA, the attack per example, with N models that are trained for it and forget by\n"
    "unlearn.method as the recipe has it: it judges the method, not the weights of --after.\n"
    "RECIPE may say audit.* and what data.test is; all else is the model's own. Writes DIR/audit.json and "
    "DIR/report.html,\n"
    "which shows pictures of what was forgotten unless --no-pictures is given.\n";

typedef struct Command {
    OptionList after, reference, forget, set;
    const char *recipe, *before, *out;
    int64_t seed, shadows;
    bool bare; /* a report without pictures */
} Command;

/* What was measured, and pictures for the report. */
typedef struct Result {
    AuditSet audits;
    ReportPictures pictures;
} Result;

static bool look(Result *to, World *w, Unlearn *u, const Command *c, ReportModel which, int i, Error *e) {
    return c->bare || i > 0 || pictures_take(&to->pictures, w, u, which, e);
}

static bool others(Result *to, World *w, Unlearn *u, const Command *c, Error *e) {
    AuditSet *s = &to->audits;
    const Method *m = unlearn_methods[w->setup.unlearn.method];
    double seconds;
    for (int i = 0; i < c->after.count && c->shadows; i++)
        if (!audit_shadows_warn(w, m, c->after.item[i], e)) return false;
    for (int i = 0; i < c->reference.count; i++)
        if (!audit_set_load(w, c->reference.item[i], &seconds, e) ||
            !audit_set_reference(s, w, u, seconds, e) || !look(to, w, u, c, REPORT_REFERENCE, i, e))
            return false;
    for (int i = 0; i < c->after.count; i++)
        if (!audit_set_load(w, c->after.item[i], &seconds, e) || !audit_set_after(s, w, u, seconds, e) ||
            !look(to, w, u, c, REPORT_AFTER, i, e))
            return false;
    if (!audit_set_compare(s, u, e)) return false;
    return !c->shadows || audit_shadows(s->after_mean, w, u, m, (int)c->shadows, e);
}

static bool write(const Result *from, const World *w, const Command *c, double seconds, Error *e) {
    char path[FILE_PATH], *text = audit_set_json(&from->audits, e);
    const ReportWork work = {
        .asked = &c->forget, .pictures = c->bare ? NULL : &from->pictures, .audit_seconds = seconds};
    bool fine =
        text && file_make_folder(c->out, e) && file_join(path, sizeof path, c->out, "audit.json", e) &&
        file_write(path, text, strlen(text), e) && file_join(path, sizeof path, c->out, "report.html", e) &&
        report_world_write(path, w, &from->audits, &work, e);
    mem_free(text);
    if (!fine) return false;
    audit_set_print(&from->audits);
    printf("\nwhat this means: %s/report.html\n", c->out);
    return true;
}

/* A folder of another kind, a run or an output, is never written into: its page may be seen by more people.
 */
static bool place_check(const Command *c, Error *e) {
    static const char *const names[] = {"audit.json", "report.html", NULL};
    return place_apart(c->out, c->before, e) && place_apart_all(c->out, &c->after, e) &&
           place_apart_all(c->out, &c->reference, e) && place_ours(c->out, names, e);
}

static bool audit(const Command *c, Error *e) {
    World w;
    Unlearn u = {0};
    double began = clock_seconds();
    Result *to = mem_zero(1, sizeof *to);
    if (!to) return error_memory(e, sizeof *to);
    bool opened = comm_agree(!comm_first() || place_check(c, e), e) &&
                  world_open(&w, c->recipe, &c->set, c->before, &c->forget, (uint64_t)c->seed, e);
    bool fine = opened && reference_check(&w, &c->reference, &c->after, e) &&
                comm_agree(unlearn_open(&u, &w.setup.task, &w.unlearn, &w.setup.unlearn, e), e) &&
                look(to, &w, &u, c, REPORT_BEFORE, 0, e) && audit_set_before(&to->audits, &w, &u, e) &&
                others(to, &w, &u, c, e) &&
                comm_agree(!comm_first() || write(to, &w, c, clock_seconds() - began, e), e);
    audit_set_close(&to->audits);
    pictures_close(&to->pictures);
    mem_free(to);
    unlearn_close(&u);
    if (opened) world_close(&w);
    return fine;
}

int cli_audit(int argc, char **argv) {
    Error e = {0};
    Command c = {0};
    OptionList rest = {0};
    const Option options[] = {
        {"before", OPTION_TEXT, &c.before},
        {"after", OPTION_LIST, &c.after},
        {"reference", OPTION_LIST, &c.reference},
        {"forget", OPTION_LIST, &c.forget},
        {"out", OPTION_TEXT, &c.out},
        {"set", OPTION_LIST, &c.set},
        {"shadows", OPTION_INT, &c.shadows},
        {"seed", OPTION_INT, &c.seed},
        {"no-pictures", OPTION_FLAG, &c.bare},
        {0},
    };
    int done = options_read(argc, argv, usage, options, &rest, &e);
    if (done >= 0) return done ? cli_fail(&e) : 0;
    if (rest.count != 1 || !c.before || !c.after.count || !c.out) {
        error_set(&e, ERROR_VALUE,
                  "audit takes one recipe, --before, --after, --forget and --out; see lethe audit --help");
        return cli_fail(&e);
    }
    if (c.shadows && (c.shadows < SHADOWS_LEAST || c.shadows > SHADOWS_MOST)) {
        error_set(&e, ERROR_VALUE, "--shadows: expected 0, or %d to %d", SHADOWS_LEAST, SHADOWS_MOST);
        return cli_fail(&e);
    }
    c.recipe = rest.item[0];
    return audit(&c, &e) ? 0 : cli_fail(&e);
}
