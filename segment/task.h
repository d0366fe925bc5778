/* task: promptable segmentation as the training loop sees it. Training is SAM's (Kirillov et al. 2023, A),
 * all of it or the decoder alone, or HQ-SAM's of what it adds (Ke et al. 2023, 3.3). */
#ifndef LETHE_SEGMENT_TASK_H
#define LETHE_SEGMENT_TASK_H

#include "core/task.h"

extern const TaskClass segment_class;

#endif
