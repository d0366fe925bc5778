/* recognise: whether weights are of SAM, HQ-SAM or MobileSAM, by the names and shapes of their checkpoints.
 */
#ifndef LETHE_SEGMENT_RECOGNISE_H
#define LETHE_SEGMENT_RECOGNISE_H

#include "core/task.h"

bool sam_recognise(const Weights *w, TaskGuess *out); /* TaskClass.recognise */

#endif
