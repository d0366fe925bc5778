#include "cli/audit_set.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "cli/place.h"
#include "cli/reference.h"
#include "cli/unlearn_output.h"
#include "cli/unlearn_plan.h"
#include "cli/unlearn_record.h"
#include "cli/unlearn_report_world.h"
#include "cli/unlearn_world.h"

#include "core/clock.h"
#include "core/comm.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: lethe unlearn RECIPE --checkpoint DIR --forget SPEC [--forget SPEC]... --out DIR [--method "
    "NAME]\n"
    "       [--reference DIR]... [--set key=value]... [--seed N] [--no-pictures] [--key FILE] [--operator "
    "NAME]\n"
    "       [--dry-run]\n\n"
    "  RECIPE        what the checkpoint's own recipe does not say: unlearn.method and its settings\n"
    "  --checkpoint  a run or a checkpoint, with its manifest; it stays as it is\n"
    "  --forget      identity=NAME[,NAME..]  class=NAME  sample=ID[,ID..]  file=PATH  path=END-OF-A-PATH\n"
    "                random=SHARE  @LIST (one of these a line)\n"
    "  --out         a new folder: the model that has forgotten, audit.json and report.html\n"
    "  --method      --set unlearn.method=NAME\n"
    "  --reference   a model that was trained without them, for the audit to hold the result against\n"
    "  --seed        of random=SHARE; 0 unless given\n"
    "  --no-pictures no OUT.report.html, which shows and names the forgotten beside the output\n"
    "  --key         signs the record (lethe keygen); else $LETHE_KEY, or ~/.config/lethe/key.pem, made if "
    "need be\n"
    "  --operator    who answers for it, for the record\n"
    "  --dry-run     say what would be forgotten, what each method needs, and what it would cost\n";

typedef struct Command {
    const char *recipe, *checkpoint, *out, *key, *operator_name;
    OptionList set, forget, reference;
    int64_t seed;
    bool dry, bare; /* bare: a report without pictures */
} Command;

static bool log_of(Log **out, const Output *o, Error *e) {
    const LogTotals totals = {.interval = 10, .console = comm_first() ? STDOUT_FILENO : -1};
    return log_open(out, comm_first() ? o->partial : NULL, &totals, 0, e);
}

/* What was measured, and pictures for the report. */
typedef struct Result {
    AuditSet audits;
    ReportPictures pictures;
    ReportWork work;
    bool unchanged; /* not a weight differs from before */
} Result;

/* audit.json and the record, beside the checkpoint. */
static bool audit_write(const World *w, const Record *r, const Method *m, const Output *o, const Result *from,
                        Error *e) {
    char path[FILE_PATH], *text = audit_set_json(&from->audits, e);
    const RecordResult result = {
        .audit = text, .seconds = from->work.unlearn_seconds, .unchanged = from->unchanged};
    bool fine = text && file_join(path, sizeof path, o->partial, "audit.json", e) &&
                file_write(path, text, strlen(text), e) && record_write(r, w, m, o, &result, e);
    mem_free(text);
    return fine;
}

/* The weights in u->task, then the model before, then the reference if there is one. */
static bool audit(World *w, Unlearn *u, Result *to, const Command *c, double seconds, Error *e) {
    AuditSet *s = &to->audits;
    ReportPictures *p = &to->pictures;
    double whole;
    if (!c->bare && (!pictures_take_before(p, w, u, e) || !pictures_take(p, w, u, REPORT_AFTER, e)))
        return false;
    if (!audit_set_before(s, w, u, e) || !audit_set_after(s, w, u, seconds, e)) return false;
    for (int i = 0; i < c->reference.count; i++) {
        if (!audit_set_load(w, c->reference.item[i], &whole, e) || !audit_set_reference(s, w, u, whole, e))
            return false;
        if (!c->bare && i == 0 && !pictures_take(p, w, u, REPORT_REFERENCE, e)) return false;
    }
    return audit_set_compare(s, u, e);
}

/* The page that goes with the model: it names nobody. */
static bool page_write(const World *w, const Output *o, const Result *from, Error *e) {
    char path[FILE_PATH];
    return file_join(path, sizeof path, o->partial, "report.html", e) &&
           report_world_write(path, w, &from->audits, &from->work, e);
}

/* The page for who has to answer for it, beside the output: with names, and pictures of the forgotten. */
static bool private_write(const World *w, const Output *o, const Result *from, const Command *c, Error *e) {
    char path[FILE_PATH];
    ReportWork work = from->work;
    work.asked = &c->forget;
    work.pictures = &from->pictures;
    return c->bare || (output_page(o, true, path, e) && report_world_write(path, w, &from->audits, &work, e));
}

/* A method that did nothing is no error, but nobody shall take it for forgetting. */
static bool unchanged_tell(const Unlearn *u, const Method *m) {
    const Params *p = &u->task->params;
    bool same = memcmp(p->value, u->origin, (size_t)p->values * sizeof(real)) == 0;
    if (same && comm_first())
        fprintf(stderr,
                "lethe: warning: %s changed no weight: the model is what it was, and knows what it knew; see "
                "its settings\n",
                m->name);
    return same;
}

/* The method, the statistics, the checkpoint, the audit. */
static bool forget(World *w, Unlearn *u, const Method *m, const Command *c, Output *o, const Record *r,
                   Result *to, Error *e) {
    double began = clock_seconds();
    if (!method_run(m, u, world_settings(w, m), e) || !unlearn_refresh(u, e)) return false;
    double took = clock_seconds() - began;
    if (!comm_agree(!comm_first() || output_checkpoint(o, w, e), e)) return false;
    if (comm_first())
        printf("%s: %" PRId64 " updates in %.1f s; now the audit\n", m->title, u->updates, took);
    fflush(stdout);
    to->unchanged = unchanged_tell(u, m);
    to->work = (ReportWork){.method = m, .record = r, .unlearn_seconds = took, .updates = u->updates};
    began = clock_seconds();
    if (!audit(w, u, to, c, took, e)) return false;
    to->work.audit_seconds = clock_seconds() - began;
    return comm_agree(!comm_first() || (audit_write(w, r, m, o, to, e) && page_write(w, o, to, e) &&
                                        private_write(w, o, to, c, e)),
                      e);
}

/* What stands beside the output first: an output that is there has it, and nothing of one that was there
 * before: without pictures no page of another model under this one's name. */
static bool finish(Output *o, bool bare, Error *e) {
    if (!output_free(o, e) || !record_finish(o, e)) return false;
    if (bare) output_page_drop(o, false);
    bool page = bare || output_page_finish(o, e);
    if (page && output_finish(o, e)) return true;
    if (o->lock < 0) return false;
    record_drop(o, false);
    if (page && !bare) output_page_drop(o, false);
    return false;
}

static void tell(const Output *o, const Result *from, bool bare) {
    char path[FILE_PATH];
    Error ignored;
    audit_set_print(&from->audits);
    printf("\nthe model that has forgotten: %s\nwhat this means: %s/report.html\n", o->folder, o->folder);
    if (!bare && output_page(o, false, path, &ignored))
        printf("with names and pictures, for you alone: %s\n", path);
}

static bool run(World *w, const Command *c, Result *to, Error *e) {
    Unlearn u;
    Output o = {.lock = -1};
    Record r = {0};
    const Method *m = unlearn_methods[w->setup.unlearn.method];
    const RecordAsk ask = {.key = c->key,
                           .forget = &c->forget,
                           .reference = &c->reference,
                           .seed = c->seed,
                           .operator_name = c->operator_name ? c->operator_name : ""};
    bool fine = comm_agree(unlearn_open(&u, &w->setup.task, &w->unlearn, &w->setup.unlearn, e), e);
    if (fine && c->dry) {
        fine = plan_print(w, &u, m, e);
    } else if (fine) {
        fine = comm_agree(method_check(m, &u, e), e) &&
               comm_agree(!comm_first() || output_open(&o, c->out, e), e) &&
               comm_agree(!comm_first() || record_open(&r, w, m, &ask, e), e) &&
               comm_agree(log_of(&u.log, &o, e), e) && forget(w, &u, m, c, &o, &r, to, e);
        log_close(u.log);
        u.log = NULL;
        fine = fine && comm_agree(!comm_first() || finish(&o, c->bare, e), e);
        if (!fine && o.lock >= 0) {
            record_drop(&o, true);
            output_page_drop(&o, true);
        }
        record_close(&r);
        output_close(&o);
        if (fine && comm_first()) tell(&o, to, c->bare);
    }
    unlearn_close(&u);
    return fine;
}

static bool place_check(const Command *c, Error *e) {
    return place_apart(c->out, c->checkpoint, e) && place_apart_all(c->out, &c->reference, e);
}

static bool unlearn(const Command *c, Error *e) {
    World w = {0};
    Result *to = mem_zero(1, sizeof *to);
    if (!to) return error_memory(e, sizeof *to);
    bool fine = comm_agree(c->dry || !comm_first() || place_check(c, e), e) &&
                world_open(&w, c->recipe, &c->set, c->checkpoint, &c->forget, (uint64_t)c->seed, e) &&
                reference_check(&w, &c->reference, NULL, e) && run(&w, c, to, e);
    audit_set_close(&to->audits);
    pictures_close(&to->pictures);
    mem_free(to);
    world_close(&w);
    return fine;
}

int cli_unlearn(int argc, char **argv) {
    Error e = {0};
    Command c = {0};
    const char *method = NULL;
    char setting[100];
    OptionList rest = {0};
    const Option options[] = {
        {"checkpoint", OPTION_TEXT, &c.checkpoint},
        {"forget", OPTION_LIST, &c.forget},
        {"out", OPTION_TEXT, &c.out},
        {"method", OPTION_TEXT, &method},
        {"reference", OPTION_LIST, &c.reference},
        {"set", OPTION_LIST, &c.set},
        {"seed", OPTION_INT, &c.seed},
        {"no-pictures", OPTION_FLAG, &c.bare},
        {"key", OPTION_TEXT, &c.key},
        {"operator", OPTION_TEXT, &c.operator_name},
        {"dry-run", OPTION_FLAG, &c.dry},
        {0},
    };
    int done = options_read(argc, argv, usage, options, &rest, &e);
    if (done >= 0) return done ? cli_fail(&e) : 0;
    if (rest.count != 1 || !c.checkpoint || !(c.out || c.dry)) {
        error_set(&e, ERROR_VALUE,
                  "unlearn takes one recipe, --checkpoint, --forget and --out; see lethe unlearn --help");
        return cli_fail(&e);
    }
    if (method && !setup_put(&c.set, "unlearn.method", method, setting, sizeof setting, &e))
        return cli_fail(&e);
    c.recipe = rest.item[0];
    return unlearn(&c, &e) ? 0 : cli_fail(&e);
}
