#include "cli/cli.h"
#include "cli/options.h"
#include "cli/setup.h"

#include "core/comm.h"
#include "core/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: lethe eval RECIPE --checkpoint DIR [--set key=value]... [--json FILE]\n"
    "       [--device cpu|cuda|auto]\n\n"
    "Measures a checkpoint on data.test (or on the part of data.train that data.per_class_train leaves "
    "out).\n"
    "RECIPE may be a run's folder. --checkpoint takes a run, a checkpoint or a file of weights: "
    ".safetensors,\n"
    "or PyTorch's .pth and .pt, which as RECIPE, too, stands for the model it holds.\n";

static bool write_json(const char *path, const Setup *u, const char *checkpoint, int64_t samples,
                       int64_t skipped, const Metric *metric, int count, Error *e) {
    char text[8192];
    JsonWriter w = json_writer(text, sizeof text, 2);
    json_put_open(&w, NULL, '{');
    json_put_text(&w, "task", u->task.class->name);
    json_put_text(&w, "checkpoint", checkpoint);
    json_put_int(&w, "samples", samples);
    json_put_int(&w, "skipped", skipped);
    for (int i = 0; i < count; i++) json_put_real(&w, metric[i].name, metric[i].value);
    json_put_close(&w, '}');
    size_t n = strlen(text);
    if (w.full) return error_set(e, ERROR_LIMIT, "%s: the result does not fit", path);
    text[n++] = '\n';
    return file_write(path, text, n, e);
}

/* The batch, or a little more, so that the ranks can share it. */
static int64_t shared_batch(int64_t batch) {
    return (batch + comm_size() - 1) / comm_size() * comm_size();
}

static bool eval(const char *recipe, const char *checkpoint, const OptionList *set, const char *json,
                 Error *e) {
    Setup u = {0};
    Checkpoint *c = NULL;
    Source test = {0};
    Step *step = NULL;
    Log *warn = NULL;
    char note[CHECKPOINT_NOTE];
    Metric metric[TASK_METRICS];
    int count = 0;
    int64_t skipped = 0;
    const LogTotals quiet = {.interval = 1, .console = STDERR_FILENO};
    bool fine = checkpoint_open(&c, checkpoint, note, e);
    if (fine && note[0] && comm_first()) fprintf(stderr, "lethe: warning: %s\n", note);
    fine = fine && setup_open(&u, recipe, set->item, set->count, SETUP_TEST | SETUP_DEVICE, c, e);
    if (fine && !u.test_set)
        fine = error_set(e, ERROR_VALUE,
                         "%s: data.test is empty: nothing to evaluate on (--set data.test=FOLDER)", recipe);
    fine = fine && log_open(&warn, NULL, &quiet, 0, e) && setup_weights(&u, c, e);
    if (fine) {
        const LoaderOptions options = {.set = &u.data,
                                       .image_size = u.task.image_size,
                                       .batch = shared_batch(u.train.batch),
                                       .rank = comm_rank(),
                                       .ranks = comm_size(),
                                       .processors = comm_processors(),
                                       .seed = (uint64_t)u.run.seed,
                                       .masks = u.task.class->wants_masks,
                                       .classes = u.task.classes,
                                       .log = warn};
        fine = setup_load(&test, recipe, u.test_set, &options, e);
    }
    if (!comm_agree(fine, e)) fine = false;
    fine = fine && (step = step_create(run_dtype(&u.run), run_backend(), 0, e)) != NULL;
    if (fine && device_opened()) params_to_device(&u.task.params);
    if (fine) {
        step->seed = (uint64_t)u.run.seed;
        fine = u.task.class->evaluate(&u.task, step, &test, metric, &count, e);
    }
    if (fine) {
        double all = (double)setup_tell_skipped(u.test_set, &test);
        comm_sum(&all, 1);
        skipped = (int64_t)all;
    }
    if (fine && comm_first()) {
        printf("%s on %" PRId64 " samples:", checkpoint_path(c), test.samples - skipped);
        for (int i = 0; i < count; i++) printf(" %s %.6g", metric[i].name, metric[i].value);
        putchar('\n');
        if (json)
            fine =
                write_json(json, &u, checkpoint_path(c), test.samples - skipped, skipped, metric, count, e);
    }
    step_free(step);
    if (test.close) test.close(test.self);
    log_close(warn);
    checkpoint_close(c);
    setup_close(&u);
    return fine;
}

int cli_eval(int argc, char **argv) {
    Error e = {0};
    const char *checkpoint = NULL, *json = NULL, *device = NULL;
    char place[64];
    OptionList set = {0}, rest = {0};
    const Option options[] = {
        {"checkpoint", OPTION_TEXT, &checkpoint},
        {"set", OPTION_LIST, &set},
        {"json", OPTION_TEXT, &json},
        {"device", OPTION_TEXT, &device},
        {0},
    };
    int done = options_read(argc, argv, usage, options, &rest, &e);
    if (done >= 0) return done ? cli_fail(&e) : 0;
    if (rest.count != 1 || !checkpoint) {
        error_set(&e, ERROR_VALUE, "eval takes one recipe and --checkpoint; see lethe eval --help");
        return cli_fail(&e);
    }
    if (device && !setup_put(&set, "device", device, place, sizeof place, &e)) return cli_fail(&e);
    return eval(rest.item[0], checkpoint, &set, json, &e) ? 0 : cli_fail(&e);
}
