/* coco_write: masks as COCO JSON (cocodataset.org, "Data format" and "Results format"), compressed RLE. What
 * is written can be read by pycocotools, and by `lethe` as a data set or as prompts. */
#ifndef LETHE_CLI_COCO_WRITE_H
#define LETHE_CLI_COCO_WRITE_H

#include "data/rle.h"
#include "segment/generator.h"

typedef struct CocoRecord {
    int64_t image, category; /* ids */
    const Rle *rle;
    double box[4]; /* left, top, width, height */
    double iou;    /* predicted; of a result: its score */
    double stability;
    const char *more; /* further members, as the inside of a JSON object: "\"crop_box\": [0, 0, 9, 9]"; NULL:
                         none */
} CocoRecord;

/* COCO's box of a mask: width and height count pixels. */
void coco_box(const Rle *rle, double box[4]);

enum { COCO_MORE = 300 };
/* What the mask generator found, as the reference records it: its box ends with the last column and row, not
 * behind them. The record borrows from both. */
CocoRecord coco_generated(const GeneratorMask *m, char more[COCO_MORE]);

/* One more object behind those in `list`: an annotation of a data set, or a result. */
bool coco_put_annotation(Bytes *list, int64_t id, const CocoRecord *r, Error *e);
bool coco_put_result(Bytes *list, const CocoRecord *r, Error *e);

/* A file about one image (id 1, category 1 "object") with the annotations of `list`. */
bool coco_write_image(const char *path, const char *image, int width, int height, const Bytes *list,
                      Error *e);
/* A file of results. `list` may be several lists, one behind the other. */
bool coco_write_results(const char *path, const Bytes *list, Error *e);

#endif
