/* sa1b: the JSON that lies beside each picture of SA-1B (Kirillov et al. 2023, "dataset" of the repository):
 *
 *     {"image": {"image_id": .., "width": .., "height": .., "file_name": ".."},
 *      "annotations": [{"id": .., "segmentation": {"size": [height, width], "counts": "compressed runs"},
 *                       "bbox": .., "area": .., "predicted_iou": .., ...}, ...]}
 *
 * Only "id", which may be missing, and "segmentation" are looked at. Every mask has the picture's size. */
#ifndef LETHE_SA1B_H
#define LETHE_SA1B_H

#include "data/bytes.h"

/* One mask: its runs are `count` of uint32 from byte `begin` of `runs` on. */
typedef struct Sa1bMask {
    int64_t id;
    size_t begin;
    int64_t count;
} Sa1bMask;

/* Appends a Sa1bMask to `list` and its runs to `runs` for each annotation. `name` is for messages. Reading
 * JSON takes memory and gives it back. */
bool sa1b_parse(Bytes *list, Bytes *runs, const char *name, const char *text, size_t size, int height,
                int width, Error *e);

#endif
