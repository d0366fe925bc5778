/* generator: every mask of an image, unasked: a grid of points, each a prompt, the answers filtered (SAM's
 * automatic_mask_generator.py; Kirillov et al. 2023, B). With crop layers the same again on parts of the
 * image, which finds smaller things. Masks are kept as runs: memory is that of a batch of points, however
 * many masks there are. */
#ifndef LETHE_SEGMENT_GENERATOR_H
#define LETHE_SEGMENT_GENERATOR_H

#include "data/bytes.h"
#include "segment/mask.h"
#include "segment/predictor.h"

enum { GENERATOR_MOST_LAYERS = 6, GENERATOR_MOST_SIDE = 1024 };

typedef struct GeneratorSettings {
    int points_per_side;                       /* of the whole image's grid */
    int points_per_batch;                      /* asked at once */
    double iou_threshold, stability_threshold; /* predicted IoU > , stability >= ; 0: no filter */
    double stability_offset;                   /* of the logits */
    double box_nms, crop_nms;                  /* boxes that overlap by more: within a crop, between crops */
    int crop_layers;                           /* layer i has 2^i x 2^i crops */
    double crop_overlap;                       /* share of the shorter side, in layer 1; later ones less */
    int crop_point_shrink;                     /* layer i has points_per_side / this^i points a side */
    int64_t min_area;                          /* smaller islands and holes go; 0: all stay */
    PredictorHq hq;
} GeneratorSettings;

extern const GeneratorSettings generator_standard; /* the reference's: 32, 64, 0.88, 0.95, 1, 0.7, 0.7, 0,
                                                      512 / 1500, 1, 0 */

typedef struct GeneratorMask {
    Rle rle; /* of the whole image; runs borrowed from the list */
    int64_t area;
    MaskBox box; /* as mask_box */
    double iou;  /* predicted */
    double stability;
    double x, y;   /* the point asked */
    ImageBox crop; /* the part of the image it was asked of */
} GeneratorMask;

/* In the reference's order: by predicted IoU within a crop; small crops first, if there are several. */
typedef struct GeneratorMasks {
    GeneratorMask *mask; /* [count] */
    int64_t count, room;
    Bytes runs;
} GeneratorMasks;

/* Told of points asked, of all points of all crops, between batches and while an image is embedded; returns
 * false to give up (then the call fails with ERROR_STATE "given up"). */
typedef bool (*GeneratorProgress)(void *self, int64_t points, int64_t all);

/* `progress` may be NULL. On error *out is empty. */
bool generator_run(Predictor *p, const Image *im, const GeneratorSettings *set, GeneratorProgress progress,
                   void *self, GeneratorMasks *out, Error *e);
void generator_free(GeneratorMasks *m); /* a zeroed one is fine */

#endif
