#include "cli/cli.h"
#include "core/device.h"
#include "core/nearest.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

typedef struct Verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
} Verb;

static const Verb verbs[] = {
    {"train", cli_train, "train what a recipe says; resume after a kill"},
    {"eval", cli_eval, "measure a checkpoint on the test data"},
    {"predict", cli_predict, "draw what a checkpoint makes of images"},
    {"inspect", cli_inspect, "list what is in a checkpoint or a .safetensors file"},
    {"synth", cli_synth, "draw a data set: faces, shapes or cells"},
    {"report", cli_report, "write a page about runs: curves, pictures, accuracy"},
    {"bench", cli_bench, "measure training speed and memory"},
    {"help", cli_help, "this list; `lethe help recipe`: every key of a recipe"},
};

int cli_fail(const Error *e) {
    fprintf(stderr, "lethe: %s\n", e->text);
    return 1;
}

static void usage(FILE *out) {
    fputs("usage: lethe VERB [ARGUMENTS]; lethe VERB --help says more\n\n", out);
    for (int i = 0; i < COUNT(verbs); i++) fprintf(out, "  %-8s %s\n", verbs[i].name, verbs[i].about);
}

int cli_help(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "recipe")) return cli_help_recipe(argc - 1, argv + 1);
    usage(stdout);
    return 0;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN); /* a closed console must not end a run */
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is met as an error of write */
    if (argc < 2) {
        usage(stderr);
        return 1;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("lethe %s\n", LETHE_VERSION);
        device_report(stdout);
        return 0;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) return cli_help(1, argv);
    const Verb *near = NULL;
    int distance = nearest_limit(argv[1]) + 1;
    for (int i = 0; i < COUNT(verbs); i++) {
        if (!strcmp(argv[1], verbs[i].name)) return verbs[i].run(argc - 1, argv + 1);
        int d = nearest_distance(argv[1], verbs[i].name);
        if (d < distance) near = &verbs[i], distance = d;
    }
    Error e;
    if (near)
        error_set(&e, ERROR_VALUE, "unknown verb \"%s\"; did you mean \"%s\"?", argv[1], near->name);
    else
        error_set(&e, ERROR_VALUE, "unknown verb \"%s\"; lethe help lists them", argv[1]);
    return cli_fail(&e);
}
