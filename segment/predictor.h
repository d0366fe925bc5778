/* predictor: a trained model that answers prompts about images (SAM's predictor.py). An image is embedded
 * once (seconds), a prompt takes tens of milliseconds.
 *
 * One predictor runs one call at a time; callers with several threads take turns (a mutex of their own).
 * Embeddings are independent of it and of each other: keep as many as memory allows. */
#ifndef LETHE_SEGMENT_PREDICTOR_H
#define LETHE_SEGMENT_PREDICTOR_H

#include "core/step.h"
#include "core/task.h"
#include "data/image.h"
#include "data/rle.h"
#include "segment/sam.h"

typedef struct Predictor Predictor;
typedef struct Embedding Embedding;

/* On a segment task whose weights are in place (borrowed). compute: f32 or bf16. */
bool predictor_open(Predictor **out, Task *task, DType compute, Error *e);
void predictor_close(Predictor *p); /* NULL is fine */
bool predictor_hq(const Predictor *p);
/* The step that embeds, or the one that answers: for `lethe bench`. */
Step *predictor_step(Predictor *p, bool embed);

/* `progress` (may be NULL) is told of shares 0 .. 1 of the work; it returns false to give up (then the call
 * fails with ERROR_STATE "given up"). */
typedef bool (*PredictorProgress)(void *self, double share);
bool predictor_embed(Predictor *p, const Image *im, PredictorProgress progress, void *self, Embedding **out,
                     Error *e);
void embedding_close(Embedding *b);      /* NULL is fine */
int embedding_width(const Embedding *b); /* of the image */
int embedding_height(const Embedding *b);
int64_t embedding_low(const Embedding *b); /* side of the low-resolution masks, 4g */

/* What the user marked, in pixels of the image. */
typedef struct PredictorPoint {
    double x, y;
    int label; /* 1: inside, 0: outside */
} PredictorPoint;

typedef struct PredictorPrompt {
    const PredictorPoint *point;
    int points;
    const double *box;   /* x0, y0, x1, y1; NULL: none */
    const float *logits; /* [4g, 4g] of an earlier answer; NULL: none */
} PredictorPrompt;

typedef enum {
    PREDICTOR_HQ_SUM,  /* HQ: SAM's mask plus HQ's (the default of the reference) */
    PREDICTOR_HQ_ONLY, /* HQ's alone: one large object */
} PredictorHq;

/* The answers to n prompts of one form (equally many points, all with or all without box and logits). Each
 * prompt has `each` masks: 3 with multimask, else 1; HQ has 1 in either case, as in the reference. */
typedef struct PredictorMasks {
    int prompts, each;
    int height, width; /* of the image */
    const float *iou;  /* [prompts, each] */
    const float *low;  /* [prompts, each, 4g, 4g] logits */
} PredictorMasks;

/* Valid until the next call of this predictor. */
bool predictor_ask(Predictor *p, const Embedding *on, const PredictorPrompt *prompt, int n, bool multimask,
                   PredictorHq hq, PredictorMasks *out, Error *e);

/* One low-resolution mask at the size of the image: bilinear to S x S, cropped, bilinear to height x width,
 * both align_corners = False, as Sam.postprocess_masks. */
void predictor_upscale(const Embedding *on, const float *low, float *full /* [height, width] */);

/* count(logit > offset) / count(logit > -offset): SAM's stability; 0 where the mask is empty. */
double predictor_stability(const float *full, int64_t pixels, double offset);

#endif
