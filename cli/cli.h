/* cli: one file a verb. Each gets the arguments after its own name in argv[1..], prints help with --help, and
 * returns the exit status: 0, or 1 after one line on stderr. */
#ifndef LETHE_CLI_H
#define LETHE_CLI_H

#include "core/base.h"

int cli_train(int argc, char **argv);
int cli_eval(int argc, char **argv);
int cli_predict(int argc, char **argv);
int cli_segment(int argc, char **argv);
int cli_serve(int argc, char **argv);
int cli_inspect(int argc, char **argv);
int cli_import(int argc, char **argv);
int cli_unlearn(int argc, char **argv);
int cli_audit(int argc, char **argv);
int cli_unlearn_bench(int argc, char **argv);
int cli_synth(int argc, char **argv);
int cli_bench(int argc, char **argv);
int cli_plan(int argc, char **argv);
int cli_keygen(int argc, char **argv);
int cli_verify(int argc, char **argv);
int cli_report(int argc, char **argv);
int cli_help(int argc, char **argv);
int cli_help_recipe(int argc, char **argv);

/* Prints "lethe: TEXT" to stderr; returns 1. */
int cli_fail(const Error *e);

#endif
