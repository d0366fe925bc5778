#include "cli/audit_set.h"
#include "cli/audit_shadows.h"
#include "cli/cli.h"
#include "cli/options.h"

#include "core/comm.h"

#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: lethe audit RECIPE --before DIR --after DIR [--after DIR]... [--reference DIR]... --forget SPEC\n"
    "       --out DIR [--set key=value]... [--seed N] [--shadows N]\n\n"
    "Measures how well a model has forgotten: what it still knows, what membership attacks find, how fast it "
    "learns\n"
    "again, what comes back with weights of few bits. --before is the model that knew, with its manifest; "
    "--after the\n"
    "one that has forgotten, or several, one a seed: figures are then means with intervals; --reference one "
    "that was\n"
    "trained without the samples (lethe unlearn --method retrain), which is what the others are held "
    "against.\n"
    "--shadows N adds U-LiRA, the attack per example, with N models that are trained for it and forget by\n"
    "unlearn.method.\n"
    "RECIPE may say audit.* and what data.test is; all else is the model's own. Writes DIR/audit.json.\n";

typedef struct Command {
    OptionList after, reference, forget, set;
    const char *recipe, *before, *out;
    int64_t seed, shadows;
} Command;

static bool others(AuditSet *s, World *w, Unlearn *u, const Command *c, Error *e) {
    for (int i = 0; i < c->reference.count; i++)
        if (!audit_set_load(w, c->reference.item[i], e) || !audit_set_reference(s, w, u, 0, e)) return false;
    for (int i = 0; i < c->after.count; i++)
        if (!audit_set_load(w, c->after.item[i], e) || !audit_set_after(s, w, u, 0, e)) return false;
    if (!audit_set_compare(s, u, e)) return false;
    return !c->shadows ||
           audit_shadows(s->after_mean, w, u, unlearn_methods[w->setup.unlearn.method], (int)c->shadows, e);
}

static bool write(const AuditSet *s, const char *out, Error *e) {
    char path[FILE_PATH], *text = audit_set_json(s, e);
    bool fine = text && file_make_folder(out, e) && file_join(path, sizeof path, out, "audit.json", e) &&
                file_write(path, text, strlen(text), e);
    mem_free(text);
    if (!fine) return false;
    audit_set_print(s);
    return true;
}

static bool audit(const Command *c, Error *e) {
    World w;
    Unlearn u = {0};
    AuditSet *s = mem_zero(1, sizeof *s);
    if (!s) return error_memory(e, sizeof *s);
    bool opened = world_open(&w, c->recipe, &c->set, c->before, &c->forget, (uint64_t)c->seed, e);
    bool fine = opened && comm_agree(unlearn_open(&u, &w.setup.task, &w.unlearn, &w.setup.unlearn, e), e) &&
                audit_set_before(s, &w, &u, e) && others(s, &w, &u, c, e) &&
                comm_agree(!comm_first() || write(s, c->out, e), e);
    audit_set_close(s);
    mem_free(s);
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
