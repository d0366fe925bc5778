/* progress: one line about where a run stands, for a terminal (with a bar, cut to its width) or for a pipe.
 */
#ifndef LETHE_PROGRESS_H
#define LETHE_PROGRESS_H

#include "core/base.h"

typedef struct Progress {
    int64_t step, steps;  /* steps 0: not known */
    double epoch, epochs; /* passes over the data */
    double loss, lr;
    double rate; /* images a second; 0: not known yet */
    double left; /* seconds to the end; negative: not known yet */
} Progress;

/* "epoch 1.50/100  step 120/8000  loss 0.4120  lr 1.50e-04  812 images/s  ETA 1:02:03" */
void progress_line(char *out, size_t size, const Progress *p);

/* The same with "[####>      ] " before it where at least ten columns are left; at most `width` columns. */
void progress_bar(char *out, size_t size, int width, const Progress *p);

/* A bar of a share 0 .. 1 before any line, the same way. */
void progress_share(char *out, size_t size, int width, double share, const char *line);

/* "0:07", "12:34", "1:02:03", "2d 03:04:05"; "?" if negative. */
void progress_time(char out[32], double seconds);

#endif
