/* log: what a run says. On a terminal one progress bar, redrawn in place; piped, a plain line every
 * `interval` steps. In the run's folder metrics.jsonl, one JSON object a line, and a TensorBoard event file
 * with the same scalars:
 *     {"step": 120, "epoch": 1.5, "loss": 0.41, "lr": 0.00015, "images_per_second": 812.4}
 *     {"step": 120, "epoch": 1.5, "eval": "test", "top1": 0.912}
 * Each row is one write, so a kill leaves at most one row cut short, and the next log_open removes it.
 * No call after log_open allocates memory. A file that cannot be written (a full disk) is warned of once and
 * training goes on; rows are then missing, never broken. Calls may come from any thread. */
#ifndef LETHE_LOG_H
#define LETHE_LOG_H

#include "core/base.h"

typedef struct Log Log;
struct Metric; /* core/task.h */

typedef struct LogTotals {
    int64_t steps;    /* of the whole run; 0: not known, then no bar and no ETA */
    double epochs;    /* of the whole run */
    int64_t interval; /* steps between two rows; step 1 and the last are always rows */
    int console;      /* where lines go: STDOUT_FILENO; -1: nowhere (every rank but the first) */
} LogTotals;

typedef struct LogStep {
    int64_t step;              /* optimizer steps done, this one included: 1, 2, ... */
    double epoch;              /* passes over the data done, with the fraction of the current one */
    double loss;               /* of this step */
    double lr;                 /* used in this step */
    int64_t images;            /* seen in this step, on all ranks */
    const struct Metric *more; /* `mores` further scalars of the row; may be NULL */
    int mores;
} LogStep;

/* `folder` exists, or is NULL: console only. Rows of metrics.jsonl with a step above resume_step (0: a new
 * run) are cut off, so that no step ever stands there twice. */
bool log_open(Log **out, const char *folder, const LogTotals *totals, int64_t resume_step, Error *e);
void log_close(Log *l); /* NULL is fine */

/* After every step; decides itself what is due. images_per_second is the rate since the last row. */
void log_step(Log *l, const LogStep *s);

/* The time since the last step went to something else (evaluation, a checkpoint): not counted in rates. */
void log_restart_clock(Log *l);

/* A row of evaluation figures: `name` is the data ("test"), a list of n metrics. One that is not finite is
 * null in metrics.jsonl. */
void log_eval(Log *l, int64_t step, double epoch, const char *name, const struct Metric *list, int n);

/* A picture for TensorBoard: a PNG file in memory, width x height. Dropped where there is no folder. */
void log_image(Log *l, int64_t step, const char *tag, const void *png, size_t size, int width, int height);

/* A line on the console that leaves the bar whole. log_warn begins it with "warning: " and uses stderr. At
 * most 2000 bytes; no newline at the end. */
void log_line(Log *l, const char *format, ...) PRINTF_LIKE(2, 3);
void log_warn(Log *l, const char *format, ...) PRINTF_LIKE(2, 3);

/* Makes the rows so far survive a power cut; call it before a checkpoint of the same step is made. */
void log_sync(Log *l);

#endif
