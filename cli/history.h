/* history: what a run's folder tells: its recipe, the rows of metrics.jsonl sorted into one series a figure,
 * and the number of its parameters. */
#ifndef LETHE_CLI_HISTORY_H
#define LETHE_CLI_HISTORY_H

#include "core/file.h"
#include "core/json.h"

enum { HISTORY_SERIES = 32, HISTORY_NAME = 64 };

/* One figure over time, e.g. the training loss or top1 of "test". */
typedef struct Series {
    char data[HISTORY_NAME]; /* which evaluation; "": training */
    char name[HISTORY_NAME];
    double *step, *epoch, *value; /* a null of the file is NAN */
    int64_t count, capacity;
} Series;

typedef struct History {
    char folder[FILE_PATH];
    JsonFile *recipe;
    char *recipe_text;
    Series series[HISTORY_SERIES];
    int count;
    int64_t parameters; /* 0: no checkpoint to count them in */
} History;

/* Refuses files above 1 GiB and rows whose step or epoch falls out of order. A last row cut short by a kill
 * is left out. */
bool history_open(History *out, const char *folder, Error *e);
void history_close(History *h); /* a zeroed one is fine */

/* NULL if the run has no such series, or none with a value. `data` NULL: of any evaluation. */
const Series *history_series(const History *h, const char *data, const char *name);

double series_last(const Series *s);
double series_end(const Series *s); /* mean of the last twentieth of the values */

/* A number or true (1) or false (0) of the recipe by its path, "train.batch"; NAN if there is none. */
double history_number(const History *h, const char *path);
const char *history_word(const History *h, const char *path); /* a text; NULL if there is none */

/* Images seen in training and the seconds it took, evaluation and checkpoints not counted: from the rates of
 * the rows. False if they do not say. */
bool history_pace(const History *h, double *images, double *seconds);

#endif
