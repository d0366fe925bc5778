#include "cli/cli.h"
#include "cli/options.h"
#include "cli/setup.h"

#include "core/comm.h"
#include "core/device.h"
#include "core/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: lethe train RECIPE [--out DIR] [--set key=value]... [--resume] [--init FILE] [--keep N]\n"
    "       [--trace FILE]\n\n"
    "  RECIPE      a recipe, or a run's folder: the recipe in it\n"
    "  --out DIR   the run's folder (default: runs/ and the recipe's name; where RECIPE is a run's folder, "
    "that)\n"
    "  --set k=v   overrides one key; `lethe help recipe` lists them\n"
    "  --resume    go on from the last whole checkpoint in DIR; begin if there is none\n"
    "  --init FILE weights to start from: a run, a checkpoint or a file of weights (.safetensors, .pth)\n"
    "  --keep N    newest checkpoints kept beside the best; 0: all (--set train.keep=N)\n"
    "  --device D  cpu, cuda or auto (--set device=D)\n"
    "  --trace F   when each rank loads, computes and sums gradients, as Chrome trace JSON\n\n"
    "mpirun -np N lethe train ... shares the batch among N processes; the result is the same. SIGTERM, "
    "SIGUSR1 "
    "and\nthe first SIGINT write a checkpoint and end the run.\n"
    "DIR holds recipe.json, metrics.jsonl, TensorBoard events, manifest.jsonl and checkpoints/STEP with "
    "links\n"
    "checkpoints/last and checkpoints/best.\n";

/* runs/NAME of recipes/x/NAME.json; a run's folder itself. */
static bool default_out(char *out, size_t size, const char *recipe, Error *e) {
    const char *base = file_base(recipe);
    if (file_kind(recipe) == FILE_FOLDER) return file_join(out, size, recipe, "", e);
    size_t n = strlen(base);
    if (n > 5 && !strcmp(base + n - 5, ".json")) n -= 5;
    if ((size_t)snprintf(out, size, "runs/%.*s", (int)n, base) < size) return true;
    return error_set(e, ERROR_LIMIT, "%s: the path is too long", recipe);
}

/* Both data sets, each rank with its part of every batch. */
static bool sources_open(Source *train, Source *test, Setup *u, const char *recipe, Log *warn, Error *e) {
    LoaderOptions options = {.set = &u->data,
                             .image_size = u->task.image_size,
                             .batch = u->train.batch,
                             .rank = comm_rank(),
                             .ranks = comm_size(),
                             .processors = comm_processors(),
                             .train = true,
                             .device = device_opened(),
                             .seed = (uint64_t)u->run.seed,
                             .masks = u->task.class->wants_masks,
                             .classes = u->task.classes,
                             .log = warn};
    if (!setup_load(train, recipe, u->train_set, &options, e)) return false;
    options.train = options.device = false;
    return !u->test_set || setup_load(test, recipe, u->test_set, &options, e);
}

/* --init on rank 0, which will share its weights when the run begins. */
static bool init_take(Setup *u, const char *init, const char *into, bool resume, Error *e) {
    char note[2000];
    if (!init || !comm_first() || (resume && checkpoint_any(into))) return true;
    if (!task_init_from(&u->task, init, note, sizeof note, e)) return false;
    printf("%s\n", note);
    fflush(stdout);
    return true;
}

static bool train(const char *recipe, const char *out, const OptionList *set, bool resume, const char *init,
                  const char *trace, Error *e) {
    Setup u;
    Source train = {0}, test = {0};
    Log *warn = NULL; /* of the loaders: console only, beside the run's own log */
    char folder[FILE_PATH];
    const LogTotals quiet = {.interval = 1, .console = STDERR_FILENO};
    if (!out && !default_out(folder, sizeof folder, recipe, e)) return false;
    if (!setup_open(&u, recipe, set->item, set->count, SETUP_TRAIN | SETUP_TEST | SETUP_DEVICE, NULL, e))
        return false;
    const char *into = out ? out : folder;
    bool fine = log_open(&warn, NULL, &quiet, 0, e) && sources_open(&train, &test, &u, recipe, warn, e) &&
                init_take(&u, init, into, resume, e) && (!trace || trace_open(trace, e));
    if (fine && comm_first() && (double)u.train.epochs <= u.schedule.warmup)
        fprintf(stderr,
                "warning: schedule.warmup_epochs is %g, and train.epochs %" PRId64
                ": the learning rate never reaches its peak\n",
                u.schedule.warmup, u.train.epochs);
    if (fine) {
        const TrainJob job = {.task = &u.task,
                              .train = &train,
                              .test = u.test_set ? &test : NULL,
                              .run = &u.run,
                              .train_set = &u.train,
                              .optim = &u.optim,
                              .schedule = &u.schedule,
                              .out = into,
                              .recipe = u.text,
                              .resume = resume};
        fine = train_run(&job, e) && trace_close(e);
    }
    setup_tell_skipped(u.train_set, &train);
    setup_tell_skipped(u.test_set, &test);
    if (train.close) train.close(train.self);
    if (test.close) test.close(test.self);
    log_close(warn);
    setup_close(&u);
    return fine;
}

int cli_train(int argc, char **argv) {
    Error e = {0};
    const char *out = NULL, *init = NULL, *keep = NULL, *trace = NULL, *device = NULL;
    char setting[64], place[64];
    bool resume = false;
    OptionList set = {0}, rest = {0};
    const Option options[] = {
        {"out", OPTION_TEXT, &out},       {"set", OPTION_LIST, &set},
        {"resume", OPTION_FLAG, &resume}, {"init", OPTION_TEXT, &init},
        {"keep", OPTION_TEXT, &keep},     {"trace", OPTION_TEXT, &trace},
        {"device", OPTION_TEXT, &device}, {0},
    };
    int done = options_read(argc, argv, usage, options, &rest, &e);
    if (done >= 0) return done ? cli_fail(&e) : 0;
    if (rest.count != 1) {
        error_set(&e, ERROR_VALUE, "train takes one recipe; see lethe train --help");
        return cli_fail(&e);
    }
    if (keep && !setup_put(&set, "train.keep", keep, setting, sizeof setting, &e)) return cli_fail(&e);
    if (device && !setup_put(&set, "device", device, place, sizeof place, &e)) return cli_fail(&e);
    return train(rest.item[0], out, &set, resume, init, trace, &e) ? 0 : cli_fail(&e);
}
