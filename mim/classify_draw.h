/* classify_draw: the images of a batch in a grid, framed green where the classifier is right and red where it
 * is wrong, grey where the class is not known. A sample's note: label, predicted class, its probability. */
#ifndef LETHE_CLASSIFY_DRAW_H
#define LETHE_CLASSIFY_DRAW_H

#include "core/task.h"

bool classify_draw(Task *task, Step *s, const Batch *batch, Picture *out, char (*note)[TASK_NOTE], Error *e);

#endif
