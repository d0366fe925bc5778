/* bench: what the measurements of `lethe bench` share. */
#ifndef LETHE_CLI_BENCH_H
#define LETHE_CLI_BENCH_H

#include "core/step.h"

/* Most resident memory of the process so far, from /proc/self/status; 0 where that cannot be read. Of the
 * GPU: what is taken of it now, which only grows, with all that libraries and others hold. */
int64_t bench_peak_bytes(void);

double bench_median(double *x, int64_t n); /* sorts x */

/* The time of each op that was called, and what is left of `seconds`, as lines of a table. */
void bench_tell_ops(const StepClock *clock, double seconds, const char *rest);

/* Answers prompts on a random image with random weights: how long an embedding and a prompt take. */
typedef struct BenchSegment {
    const char *preset, *dtype;
    int threads;
    int64_t steps; /* embeddings; prompts: ten times as many */
    char *const *set;
    int sets;
    const char *json; /* NULL: none */
} BenchSegment;
bool bench_segment(const BenchSegment *b, Error *e);

#endif
