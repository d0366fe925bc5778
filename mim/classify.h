/* classify: a ViT with a class head, as MAE fine-tunes it (models_vit.py, main_finetune.py), trains it from
 * scratch, or probes it (main_linprobe.py: everything frozen but a batch norm without gain and a linear
 * layer). */
#ifndef LETHE_CLASSIFY_H
#define LETHE_CLASSIFY_H

#include "core/task.h"
#include "mim/vit.h"

enum { CLASSIFY_MEAN, CLASSIFY_CLS };
enum { TRAIN_ALL, TRAIN_PROBE };

#define CLASSIFY_FIELDS(X)                                                                                   \
    X(CHOICE, pool, "model.pool", "\"mean\"", 0, 0, "mean|cls",                                              \
      "mean of the patch tokens, then a norm; or the norm, then the class token")                            \
    X(CHOICE, train, "model.train", "\"all\"", 0, 0, "all|probe",                                            \
      "all: fine-tune; probe: only batch norm and a linear layer on frozen features")                        \
    X(INT, classes, "model.classes", "0", 0, 1000000, "", "0: those of data.train")                          \
    X(REAL, drop_path, "model.drop_path", "0", 0, 0.9, "",                                                   \
      "stochastic depth of the last block; block i has i / (depth - 1) of it")
typedef struct ClassifySettings {
    RECIPE_MEMBERS(CLASSIFY_FIELDS)
} ClassifySettings;
extern const RecipeTable classify_table;

typedef struct Classify {
    VitSettings vit_set;
    ClassifySettings set;
    VitEncoder vit;
    Tensor *fc_norm_w, *fc_norm_b;       /* CLASSIFY_MEAN */
    Tensor *bn_mean, *bn_var, *bn_count; /* TRAIN_PROBE */
    Tensor *head_w, *head_b;
} Classify;

extern const TaskClass classify_class;

#endif
