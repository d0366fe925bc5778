/* recognise: whether weights are of a masked autoencoder, or of a ViT with a class head. */
#ifndef LETHE_MIM_RECOGNISE_H
#define LETHE_MIM_RECOGNISE_H

#include "core/task.h"

bool mae_recognise(const Weights *w, TaskGuess *out);      /* TaskClass.recognise */
bool classify_recognise(const Weights *w, TaskGuess *out); /* the same; timm's, DeiT's, MAE's fine-tuned */

#endif
