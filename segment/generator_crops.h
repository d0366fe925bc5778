/* generator_crops: where the mask generator looks: parts of the image, and the points asked on each (SAM's
 * utils/amg.py). */
#ifndef LETHE_SEGMENT_GENERATOR_CROPS_H
#define LETHE_SEGMENT_GENERATOR_CROPS_H

#include "data/image.h"
#include "segment/generator.h"

typedef struct GeneratorCrop {
    ImageBox box; /* within the image */
    int layer;    /* 0: the whole image */
} GeneratorCrop;

/* The image, then the crops of layers 1 .. set->crop_layers, column by column. mem_free(*out). False where a
 * side is too short to be cut so often, or a layer's grid would have no point. */
bool generator_crops(int width, int height, const GeneratorSettings *set, GeneratorCrop **out, int *count,
                     Error *e);

/* Points a side of a layer's grid. */
int generator_side(const GeneratorSettings *set, int layer);

/* Place i of n evenly spaced ones, as a share of the side: 1 / 2n, ..., 1 - 1 / 2n. */
double generator_place(int n, int i);

/* Does the box (in pixels of the image) end within 20 pixels of an edge of the crop that is none of the
 * image's? Then something was cut off. */
bool generator_cut(MaskBox box, ImageBox crop, int width, int height);

#endif
