#include "cli/cli.h"
#include "cli/options.h"
#include "cli/unlearn_output.h"
#include "cli/unlearn_plan.h"
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
    "       [--set key=value]... [--seed N] [--dry-run]\n\n"
    "  RECIPE        what the checkpoint's own recipe does not say: unlearn.method and its settings\n"
    "  --checkpoint  a run or a checkpoint, with its manifest; it stays as it is\n"
    "  --forget      identity=NAME[,NAME..]  class=NAME  sample=ID[,ID..]  file=PATH  path=END-OF-A-PATH\n"
    "                random=SHARE  @LIST (one of these a line)\n"
    "  --out         a new folder: the model that has forgotten\n"
    "  --method      --set unlearn.method=NAME\n"
    "  --seed        of random=SHARE; 0 unless given\n"
    "  --dry-run     say what would be forgotten, what each method needs, and what it would cost\n";

typedef struct Command {
    const char *recipe, *checkpoint, *out;
    OptionList set, forget;
    int64_t seed;
    bool dry;
} Command;

static bool log_of(Log **out, const Output *o, Error *e) {
    const LogTotals totals = {.interval = 10, .console = comm_first() ? STDOUT_FILENO : -1};
    return log_open(out, comm_first() ? o->partial : NULL, &totals, 0, e);
}

/* The method, the statistics, the checkpoint. */
static bool forget(World *w, Unlearn *u, const Method *m, Output *o, Error *e) {
    double began = clock_seconds();
    if (!method_run(m, u, world_settings(w, m), e) || !unlearn_refresh(u, e)) return false;
    double took = clock_seconds() - began;
    if (!comm_agree(!comm_first() || output_checkpoint(o, w, e), e)) return false;
    if (comm_first()) printf("%s: %" PRId64 " updates in %.1f s\n", m->title, u->updates, took);
    return true;
}

static bool run(World *w, const Command *c, Error *e) {
    Unlearn u;
    Output o = {.lock = -1};
    const Method *m = unlearn_methods[w->setup.unlearn.method];
    bool fine = comm_agree(unlearn_open(&u, &w->setup.task, &w->unlearn, &w->setup.unlearn, e), e);
    if (fine && c->dry) {
        fine = plan_print(w, &u, m, e);
    } else if (fine) {
        fine = comm_agree(method_check(m, &u, e), e) &&
               comm_agree(!comm_first() || output_open(&o, c->out, e), e) &&
               comm_agree(log_of(&u.log, &o, e), e) && forget(w, &u, m, &o, e);
        log_close(u.log);
        u.log = NULL;
        fine = fine && comm_agree(!comm_first() || output_finish(&o, e), e);
        output_close(&o);
        if (fine && comm_first()) printf("the model that has forgotten: %s\n", o.folder);
    }
    unlearn_close(&u);
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
        {"set", OPTION_LIST, &c.set},
        {"seed", OPTION_INT, &c.seed},
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
    World w;
    c.recipe = rest.item[0];
    bool fine =
        world_open(&w, c.recipe, &c.set, c.checkpoint, &c.forget, (uint64_t)c.seed, &e) && run(&w, &c, &e);
    world_close(&w);
    return fine ? 0 : cli_fail(&e);
}
