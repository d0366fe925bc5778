/* model: what `segment` and `serve` open: a segmentation model that answers prompts. */
#ifndef LETHE_CLI_MODEL_H
#define LETHE_CLI_MODEL_H

#include "cli/setup.h"
#include "core/checkpoint.h"
#include "segment/predictor.h"

typedef struct Model {
    Setup setup;
    Predictor *predictor;
    char name[FILE_PATH]; /* the folder or file that was taken */
} Model;

/* `checkpoint` is a run's folder, a checkpoint, or a file of weights. A model of another task is an error.
 * compute: f32 or bf16. Runs on the processor. */
bool model_open(Model *out, const char *checkpoint, DType compute, Error *e);
void model_close(Model *m); /* a zeroed one is fine */

#endif
