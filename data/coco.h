/* coco: a COCO JSON file of images, categories, boxes and masks (cocodataset.org, "Data format", object
 * detection). Strict: every reference must lead somewhere, every box be finite, every mask have its image's
 * size; errors name the file, the line and the field. A file without annotations (a test set) is fine. */
#ifndef LETHE_COCO_H
#define LETHE_COCO_H

#include "data/rle.h"

typedef enum { COCO_NONE, COCO_POLYGONS, COCO_RLE } CocoShape;

typedef struct CocoPolygon {
    int64_t points;
    const double *xy; /* [points, 2] pixels, closed by its first point */
} CocoPolygon;

typedef struct CocoAnnotation {
    int64_t id;
    int32_t image, category; /* places in Coco's lists, not the file's ids */
    bool crowd;
    double box[4]; /* left, top, width, height in pixels */
    double area;   /* of the mask, as the file says; the box's where it says nothing */
    CocoShape shape;
    int64_t polygons;
    const CocoPolygon *polygon; /* COCO_POLYGONS: [polygons], the mask is their union */
    Rle rle;                    /* COCO_RLE; compressed strings are decoded */
} CocoAnnotation;

typedef struct CocoImage {
    int64_t id;
    const char *file;     /* as the file says: relative, without ".." */
    int width, height;    /* as the file says; 0: it does not */
    int64_t first, count; /* its annotations: annotation[first] .. [first + count - 1] */
} CocoImage;

typedef struct CocoCategory {
    int64_t id;
    const char *name;
} CocoCategory;

typedef struct Coco {
    int64_t images, annotations, categories;
    CocoImage *image;           /* sorted by file, numbers by value */
    CocoAnnotation *annotation; /* sorted by image, then in the file's order */
    CocoCategory *category;     /* in the file's order: place k is class k */
    struct CocoChunk *chunk;    /* memory behind the pointers above */
} Coco;

bool coco_open(Coco **out, const char *path, Error *e);
/* From text in memory; `name` is for messages. */
bool coco_parse(Coco **out, const char *name, const char *text, size_t size, Error *e);
void coco_close(Coco *c); /* NULL is fine */

/* Where the images lie: `given` if not empty, else the first that exists of DIR/NAME, DIR/../NAME,
 * DIR/../images and DIR for DIR/NAME.json or DIR/instances_NAME.json. */
bool coco_folder(char *out, size_t size, const char *path, const char *given, Error *e);

#endif
