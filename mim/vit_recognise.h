/* vit_recognise: the ViT that a file of weights holds, by names and shapes: those of timm, DeiT and MAE. */
#ifndef LETHE_VIT_RECOGNISE_H
#define LETHE_VIT_RECOGNISE_H

#include "core/json.h"
#include "core/weights.h"

enum { VIT_NAME = 48 };

typedef struct VitGuess {
    char name[VIT_NAME]; /* "ViT-B/16" */
    const char *size;    /* of the recipe: the preset it is, or the one nearest to nothing: "base" */
    int64_t image_size, patch, dim, depth, heads;
    const char *odd; /* a tensor that Lethe's ViT does not have, so that it is another model; NULL: none */
} VitGuess;

/* False: no ViT with a class token and one table of positions. heads is 0 where shapes cannot tell. */
bool vit_recognise(const Weights *w, VitGuess *out);
/* Opens "model" and puts the fields of VIT_FIELDS that shapes tell; the caller closes it. */
void vit_guess_put(JsonWriter *w, const VitGuess *g);

/* A tensor of so many dimensions; NULL: there is none. */
const SafeEntry *weights_shaped(const Weights *w, const char *name, int ndim);

#endif
