/* segment: what the parts of `lethe segment` share. */
#ifndef LETHE_CLI_SEGMENT_H
#define LETHE_CLI_SEGMENT_H

#include "cli/model.h"
#include "cli/names.h"
#include "cli/options.h"
#include "data/coco.h"
#include "data/walk.h"
#include "segment/generator.h"

typedef struct SegmentOptions {
    const char *checkpoint, *out, *mask, *prompts, *images, *from, *dtype;
    OptionList point, box, path;
    bool multimask, hq_only, everything, masks, pictures, save_logits;
    int64_t points_per_side, points_per_batch, crop_layers, crop_shrink, min_area;
    GeneratorSettings generator;
} SegmentOptions;

typedef struct Segment Segment;
/* About image i, which is in s->image. ERROR_VALUE: something is wrong with this image alone. */
typedef bool (*SegmentWork)(Segment *s, int64_t i, Error *e);

struct Segment {
    const SegmentOptions *set;
    SegmentWork work;
    PredictorHq hq;
    Model model;
    char **path;  /* [images] */
    Walk found;   /* behind them, of a folder; */
    char *joined; /* or of a COCO file: [images, FILE_PATH] */
    int64_t images;
    char (*name)[NAMES_SIZE]; /* [images] */
    NamesGuard guard;         /* of what was read */
    Coco *coco;
    bool centre;   /* of its masks: --from centre */
    Bytes results; /* of this rank's images, then (rank 0) of all */
    Image image;
    Bytes skipped; /* lines */
    int64_t done, skips;
};

/* segment_prompt.c: --point, --box, --mask about one image. Reads them before the model is opened. */
bool segment_prompt_check(const SegmentOptions *set, Error *e);
bool segment_prompt(Segment *s, int64_t i, Error *e);

/* segment_all.c: --everything. */
bool segment_all(Segment *s, int64_t i, Error *e);

/* segment_coco.c: --prompts. segment_coco_list fills path and images. */
bool segment_coco_list(Segment *s, Error *e);
bool segment_coco(Segment *s, int64_t i, Error *e);
bool segment_coco_write(Segment *s, Error *e); /* Collective. */

/* A bitmap as 8-bit grey, 255 inside. `mask` is changed. */
bool segment_write_mask(const char *path, uint8_t *mask, int width, int height, Error *e);

#endif
