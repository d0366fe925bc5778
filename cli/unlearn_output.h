/* unlearn_output: a folder that is whole or absent. Everything is written into OUT.partial beside it; the
 * last thing is its renaming. A kill leaves OUT.partial, which the next run to the same place clears away.
 * Two private files stand beside OUT, not in it: OUT.opening.json (cli/unlearn_record.h) and OUT.report.html.
 * They have their lasting names before OUT has its own, so that an OUT that is there has both. */
#ifndef LETHE_CLI_UNLEARN_OUTPUT_H
#define LETHE_CLI_UNLEARN_OUTPUT_H

#include "cli/unlearn_world.h"

typedef struct Output {
    char folder[FILE_PATH], partial[FILE_PATH];
    int lock; /* of the partial folder; -1: not open */
} Output;

/* Rank 0 alone. An OUT that is there already is an error, and so is another process at the same work. */
bool output_open(Output *o, const char *out, Error *e);
/* The weights in the world's task, its recipe, and the manifest without the lines of what was forgotten, as a
 * checkpoint of a run; no moments, no average. */
bool output_checkpoint(const Output *o, World *w, Error *e);
/* The path of the model's file that output_checkpoint wrote. */
bool output_model(const Output *o, const World *w, char path[FILE_PATH], Error *e);
/* The private page's path: until output_page_finish the one for the time being. */
bool output_page(const Output *o, bool partial, char path[FILE_PATH], Error *e);
bool output_page_finish(const Output *o, Error *e); /* just before the output stands */
void output_page_drop(const Output *o, bool partial);
/* Has nobody else made OUT meanwhile? Else what was made stays where it is, and output_close leaves it. */
bool output_free(Output *o, Error *e);
bool output_finish(Output *o, Error *e);
void output_close(Output *o); /* without output_finish: leaves nothing */

#endif
