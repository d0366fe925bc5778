/* batch: what a task is fed. Declared here, filled by data/; the engine never looks inside.
 * Every array has n entries and belongs to whoever made the batch (the loader keeps two and swaps them). */
#ifndef LETHE_BATCH_H
#define LETHE_BATCH_H

#include "core/tensor.h"

/* One mask of an image as its file has it: runs of pixels in column order, outside first (COCO's RLE). */
typedef struct BatchMask {
    int32_t image; /* place in the batch */
    int32_t height, width;
    int64_t runs;
    const uint32_t *run;
    int64_t id; /* the annotation's, or its number in its file */
} BatchMask;

typedef struct Batch {
    int n;                /* samples: of this rank */
    int whole;            /* samples that all ranks have together */
    Tensor image;         /* f32 [n, 3, H, W], normalised; */
    const uint8_t *pixel; /* or, for the GPU to normalise, [n, H, W, 3], and image has a shape but no data: */
    const float *level;   /* [3, 256] the normalised value of each byte of each channel */
    const int64_t *id;    /* sample ids: the sample's place in its data set, stable for ever */
    const int32_t *label; /* class of each sample; -1 where the data set has none */
    const int32_t *identity; /* who is on it; -1 where unknown. ImageFolder: the class */
    Tensor target; /* f32 [n, classes]: soft targets after mixup/cutmix/smoothing; data NULL if unused */
    const int32_t *size; /* [n, 2]: height, width of the original file */
    /* Segmentation, training: `each` masks of every image, drawn among its own (again and again where it has
     * fewer), under the same geometry as the image: [n, each, H, W], 0 .. 255 (128 and more: inside). 0 and
     * NULL else. */
    int each;
    const uint8_t *mask;
    /* Segmentation, evaluation: every mask of every image, as the files have them, in order of `image`. */
    int64_t truths;
    const BatchMask *truth;
    const int32_t *fit; /* [n, 2]: height and width that the picture takes of the square, from its upper left;
                           NULL where pictures are cropped (data.geometry) */
    uint32_t epoch;     /* which pass over the data: keys masks and drop path */
    bool fixed;         /* what is drawn for a sample (masks) never changes: made for evaluation */
    /* Wrong targets, of TaskClass.relabel: a picture to reconstruct instead of the image, f32 [n, 3, H, W]
     * (data NULL: the image's own); masks to aim at, like `mask`, which then only prompts (NULL: the same).
     */
    Tensor goal;
    const uint8_t *goal_mask;
} Batch;

/* Where batches come from. The training loop knows no more of data than this. */
typedef struct Source Source;
struct Source {
    void *self;
    int64_t samples;         /* in the data set */
    int64_t steps_per_epoch; /* batches a pass */
    /* Makes ready the batch of global step `step` (epoch = step / steps_per_epoch). Steps may be asked for in
     * any order, any of them twice, and give the same batch every time; asking for step k starts reading
     * k+1 in the background. The batch is valid until the next call. */
    bool (*get)(void *self, int64_t step, const Batch **out, Error *e);
    /* One line of JSON about sample i for the manifest: {"id":..,"path":..,"sha256":..,"identity":..}. */
    bool (*describe)(void *self, int64_t i, char *line, size_t size, Error *e);
    void (*close)(void *self);
};

#endif
