/* coco_inside: what the two halves of the COCO reader share. */
#ifndef LETHE_COCO_INSIDE_H
#define LETHE_COCO_INSIDE_H

#include "core/json.h"
#include "data/coco.h"

/* Memory that lives as long as the Coco. NULL with *e filled when there is none. */
void *coco_get(Coco *c, size_t size, Error *e);

typedef struct CocoScratch {
    Bytes numbers, runs;
} CocoScratch;

/* Fills shape, polygons and rle from an annotation's "segmentation". */
bool coco_shape(Coco *c, CocoScratch *s, Json segmentation, CocoAnnotation *a, Error *e);

#endif
