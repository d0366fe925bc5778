/* mae_draw: what a masked autoencoder saw and what it made of it, as a picture: one row a sample, side by
 * side the original, what the encoder saw, the reconstruction, and the reconstruction with the visible
 * patches. */
#ifndef LETHE_MAE_DRAW_H
#define LETHE_MAE_DRAW_H

#include "core/task.h"

bool mae_draw(Task *task, Step *s, const Batch *batch, Picture *out, char (*note)[TASK_NOTE], Error *e);

#endif
