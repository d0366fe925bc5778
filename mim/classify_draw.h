/* classify_draw: the images of a batch in a grid, framed green where the classifier is right and red where it
 * is wrong, and a line of text a sample: true and predicted class with its probability. */
#ifndef LETHE_CLASSIFY_DRAW_H
#define LETHE_CLASSIFY_DRAW_H

#include "core/task.h"

bool classify_draw(Task *task, Step *s, const Batch *batch, Picture *out, char *text, size_t text_size,
                   Error *e);

#endif
