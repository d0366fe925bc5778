#include "data/synth.h"
#include "cli/cli.h"
#include "cli/options.h"

#include <stdio.h>
#include <time.h>

static const char usage[] =
    "usage: lethe synth faces|shapes|cells --out DIR --count N [OPTIONS]\n"
    "\n"
    "Draws a data set; every fifth picture is for testing.\n"
    "  faces   people with stable identities: DIR/train/person_0007/0001.jpg, DIR/test/...\n"
    "  shapes  things of ten kinds, overlapping: DIR/train.json, DIR/train/*.jpg, DIR/test...\n"
    "  cells   stained tissue, nuclei with masks: laid out like shapes (COCO JSON)\n"
    "\n"
    "  --out DIR         where to; a folder that is not empty is refused\n"
    "  --count N         pictures in all; faces: at least 5 an identity\n"
    "  --identities K    faces: how many people (20)\n"
    "  --seed S          the same seed gives the same bytes (0)\n"
    "  --size PIXELS     width and height, even, 32 to 1024 (faces 128, shapes and cells 256)\n"
    "  --force           replace a set that synth drew there with other settings\n";

static bool plan_read(SynthPlan *plan, const OptionList *rest, int64_t seed, Error *e) {
    if (rest->count == 0)
        return error_set(e, ERROR_VALUE, "synth: what? give faces, shapes or cells; see lethe synth --help");
    if (rest->count > 1)
        return error_set(e, ERROR_VALUE, "synth: one kind at a time, not also \"%s\"", rest->item[1]);
    if (!synth_kind_of(rest->item[0], &plan->kind))
        return error_set(e, ERROR_VALUE, "synth: unknown kind \"%s\"; there are faces, shapes and cells",
                         rest->item[0]);
    if (!plan->out || !plan->out[0]) return error_set(e, ERROR_VALUE, "synth: --out DIR is missing");
    if (plan->count < 0) return error_set(e, ERROR_VALUE, "synth: --count N is missing or negative");
    if (seed < 0) return error_set(e, ERROR_VALUE, "--seed: %lld is negative", (long long)seed);
    if (plan->identities >= 0 && plan->kind != SYNTH_FACES)
        return error_set(e, ERROR_VALUE, "--identities is for faces; %s have none", rest->item[0]);
    if (plan->identities < 0) plan->identities = 20;
    if (plan->size < 0) plan->size = synth_kind_size(plan->kind);
    plan->seed = (uint64_t)seed;
    return true;
}

int cli_synth(int argc, char **argv) {
    static OptionList rest;
    SynthPlan plan = {.count = -1, .identities = -1, .size = -1};
    SynthTally tally;
    int64_t seed = 0;
    Error e;
    const Option list[] = {{"out", OPTION_TEXT, &plan.out},
                           {"count", OPTION_INT, &plan.count},
                           {"identities", OPTION_INT, &plan.identities},
                           {"seed", OPTION_INT, &seed},
                           {"size", OPTION_INT, &plan.size},
                           {"force", OPTION_FLAG, &plan.force},
                           {NULL, OPTION_FLAG, NULL}};
    rest.count = 0;
    int end = options_read(argc, argv, usage, list, &rest, &e);
    if (end >= 0) return end == 0 ? 0 : cli_fail(&e);
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    if (!plan_read(&plan, &rest, seed, &e) || !synth_run(&plan, &tally, &e)) return cli_fail(&e);
    clock_gettime(CLOCK_MONOTONIC, &to);
    double seconds = (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
    printf("%s: %lld pictures for training, %lld for testing", plan.out, (long long)tally.train,
           (long long)tally.test);
    if (plan.kind == SYNTH_FACES) printf(", of %lld people", (long long)plan.identities);
    if (plan.kind != SYNTH_FACES) printf(", %lld objects", (long long)tally.instances);
    printf(" (%.1f s)\n", seconds);
    return 0;
}
