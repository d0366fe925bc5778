#include "cli/cli.h"
#include "core/comm.h"
#include "core/device.h"
#include "core/nearest.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

typedef struct Verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
    bool ranks; /* may run under mpirun */
} Verb;

static const Verb verbs[] = {
    {"train", cli_train, "train what a recipe says; resume after a kill", true},
    {"eval", cli_eval, "measure a checkpoint on the test data", true},
    {"predict", cli_predict, "draw what a checkpoint makes of images", false},
    {"segment", cli_segment, "cut out what a prompt points at, or everything", true},
    {"serve", cli_serve, "a page on this machine: click in an image, get masks", false},
    {"unlearn", cli_unlearn, "forget people or samples that a model was trained on", true},
    {"unlearn-bench", cli_unlearn_bench, "methods of unlearning side by side, in a table", true},
    {"audit", cli_audit, "measure what a model still knows of what it should have forgotten", true},
    {"inspect", cli_inspect, "list what is in a checkpoint or a file of weights", false},
    {"import", cli_import, "make a checkpoint of a PyTorch or safetensors file", false},
    {"synth", cli_synth, "draw a data set: faces, shapes or cells", false},
    {"keygen", cli_keygen, "make a pair of keys to sign certificates of deletion with", false},
    {"verify", cli_verify, "check a certificate of deletion, and what it speaks of", false},
    {"report", cli_report, "write a page about runs: curves, pictures, accuracy", false},
    {"bench", cli_bench, "measure training speed and memory", false},
    {"plan", cli_plan, "predict time and memory of a recipe on many GPUs", false},
    {"help", cli_help, "this list; `lethe help recipe`: every key of a recipe", false},
};

/* Why the verb failed; main tells it when the ranks have agreed on it. */
static Error failure;

int cli_fail(const Error *e) {
    failure = *e;
    return 1;
}

static void usage(FILE *out) {
    fputs("usage: lethe VERB [ARGUMENTS]; lethe VERB --help says more\n\n", out);
    for (int i = 0; i < COUNT(verbs); i++) fprintf(out, "  %-13s %s\n", verbs[i].name, verbs[i].about);
}

static int one_process(const char *verb) {
    Error e;
    error_set(&e, ERROR_STATE,
              "lethe %s runs as one process, and mpirun started %d; train, eval, segment, unlearn, audit and "
              "unlearn-bench share work",
              verb, comm_size());
    return cli_fail(&e);
}

/* The verb argv[0], with its arguments. */
static int verb_run(int argc, char **argv) {
    const Verb *near = NULL;
    int distance = nearest_limit(argv[0]) + 1;
    for (int i = 0; i < COUNT(verbs); i++) {
        if (!strcmp(argv[0], verbs[i].name) && !verbs[i].ranks && comm_size() > 1)
            return one_process(argv[0]);
        if (!strcmp(argv[0], verbs[i].name)) return verbs[i].run(argc, argv);
        int d = nearest_distance(argv[0], verbs[i].name);
        if (d < distance) near = &verbs[i], distance = d;
    }
    Error e;
    if (near)
        error_set(&e, ERROR_VALUE, "unknown verb \"%s\"; did you mean \"%s\"?", argv[0], near->name);
    else
        error_set(&e, ERROR_VALUE, "unknown verb \"%s\"; lethe help lists them", argv[0]);
    return cli_fail(&e);
}

int cli_help(int argc, char **argv) {
    static char help[] = "--help";
    if (argc > 1 && !strcmp(argv[1], "recipe")) return cli_help_recipe(argc - 1, argv + 1);
    if (argc > 1 && argv[1][0] != '-' && strcmp(argv[1], "help") != 0)
        return verb_run(2, (char *[]){argv[1], help, NULL});
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
    int status = 0;
    if (!strcmp(argv[1], "--version")) {
        printf("lethe %s\n", LETHE_VERSION);
        device_report(stdout);
    } else if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        usage(stdout);
    } else {
        Error e = {0};
        status = comm_open(&e) ? verb_run(argc - 1, argv + 1) : cli_fail(&e);
        if (!comm_agree_last(status == 0, &failure)) status = 1;
        if (status && comm_first() && failure.text[0]) fprintf(stderr, "lethe: %s\n", failure.text);
        fflush(stdout);
        comm_close();
    }
    if ((fflush(stdout) == 0 && !ferror(stdout)) || errno == EPIPE) return status; /* `| head` is no error */
    fputs("lethe: standard output cannot be written\n", stderr);
    return 1;
}
