/* report: the parts of the page that `lethe report` writes. */
#ifndef LETHE_CLI_REPORT_H
#define LETHE_CLI_REPORT_H

#include "cli/answers.h"
#include "cli/history.h"
#include "cli/html.h"

/* <style> of the page: light and dark, wide and narrow, screen and paper. */
extern const char report_style[];

/* Everything up to <main>, which is open then. `meta` and `style`: what more the page wants of either, our
 * own. */
void report_begin(Html *h, const char *title, const char *meta, const char *style);
/* The same with the title in <header>, which the caller closes. */
void report_head(Html *h, const char *title);

/* A figure that stands large at the head of the page. `value` is ours. */
void report_tile(Html *h, const char *value, const char *about);

/* One large figure for a run: its accuracy, or else its loss. */
void report_run_tile(Html *h, const History *run);

/* One row a run: how long, how fast, how good. */
void report_runs_table(Html *h, const History *run, int n);

/* A section on one run: curves, what was set, the complete recipe. */
void report_run(Html *h, const History *run);

/* What a run is called on the page: its recipe's task and the folder's own name. */
void report_run_name(Html *h, const History *run);

/* A section on what a classifier said: how much is right, which classes are taken for which, examples.
 * Pictures that cannot be read are left out and counted in *missing. */
bool report_answers(Html *h, const Answers *a, int *missing, Error *e);

#endif
