/* trace: when each rank did what, as Chrome trace JSON (chrome://tracing, ui.perfetto.dev): a process a rank,
 * a row for the steps' own work and one for what travels between ranks meanwhile. Kept in memory until
 * trace_close. */
#ifndef LETHE_TRACE_H
#define LETHE_TRACE_H

#include "core/base.h"

typedef enum { TRACE_STEP, TRACE_REDUCE, TRACE_GPU, TRACE_LANES } TraceLane;

enum { TRACE_MOST = 1 << 16 }; /* spans a rank keeps: the first ones */

/* Collective. From now on spans are kept. Rank 0 makes sure that `path` can be written. */
bool trace_open(const char *path, Error *e);
/* A span from .. to by clock_seconds. `name` is static; `number` tells spans of one name apart; -1: none.
 * Does nothing without trace_open. One thread. */
void trace_span(TraceLane lane, const char *name, int64_t number, double from, double to);
/* Collective. Writes the spans of all ranks to the file. Nothing without trace_open. */
bool trace_close(Error *e);
bool trace_on(void);

#endif
