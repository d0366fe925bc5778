/* prompts: first prompts and targets of training, worked out on the host from the masks of a batch. Each
 * object's draws are keyed by seed, epoch, sample id and the mask's place among its image's. */
#ifndef LETHE_SEGMENT_PROMPTS_H
#define LETHE_SEGMENT_PROMPTS_H

#include "core/rng.h"
#include "segment/task_inside.h"

/* Of a training mask, [side, side] bytes. Its box: first and last column and row that are inside. */
typedef struct PromptBox {
    int64_t area, x0, y0, x1, y1; /* area 0: the rest is undefined */
} PromptBox;
PromptBox prompt_box(const uint8_t *mask, int64_t side, int inside); /* values of `inside` and more are */

/* Mask o of the step's batch, and its streams of random numbers, one a purpose. */
typedef enum { PROMPT_FIRST, PROMPT_KIND, PROMPT_HQ, PROMPT_PLACES, PROMPT_PURPOSES } PromptPurpose;
const uint8_t *prompt_mask(const Step *s, const Segment *m, int64_t o);
/* What is aimed at: the same, or the wrong one that relabel drew. */
const uint8_t *prompt_goal(const Step *s, const Segment *m, int64_t o);
Rng prompt_rng(const Step *s, int64_t o, PromptPurpose purpose);
/* A prompt's point at pixel x, y of the square, as SamPrompt has it; kind -1: padding. */
void prompt_point(Tensor *point, Tensor *label, int64_t at, double x, double y, int32_t kind, int64_t side);

/* SAM (A, "Training algorithm"): a point inside the mask or its box with noise, and all that is decided
 * beforehand. N objects, R rounds: */
enum {
    FIRST_POINT,  /* f32 [N, 2, 3]: a point and padding, or two corners; see SamPrompt */
    FIRST_LABEL,  /* i32 [N, 2] */
    FIRST_DRAW,   /* f32 [max(R - 1, 1), N] in 0 .. 1: which place of an error is clicked */
    FIRST_BAR,    /* f32 [N, 4]: 0, or much where this mask does not answer the first prompt */
    FIRST_SHARE,  /* f32 [N, 4]: of the masks' predicted IoU in the first round's loss; sums to 1 */
    FIRST_WEIGHT, /* f32 [N]: 1, or 0 where the mask is empty */
    FIRST_TARGET, /* f32 [N, side, side], 0 or 1 */
    FIRST_OF,     /* i32 [1, N]: the image */
    FIRST_GIVEN
};
void prompts_first(Step *s, const Segment *m, int64_t images, int64_t each, Tensor *out[FIRST_GIVEN]);

/* HQ-SAM's (train/train.py). Decides each object's kind of prompt and sorts the objects by it. */
void prompts_hq_order(const Step *s, Segment *m, int64_t images, int64_t each);
/* The prompts of one kind, in that order; of: i32 [1, n], the image of each. */
SamPrompt prompts_hq(Step *s, const Segment *m, HqKind kind, Tensor **of);
/* Where the masks are compared, in that order. N objects, P points: */
enum {
    PLACES_DRAWN,  /* f32 [N, P oversample, 2]: shares of the square, of which the least certain stay */
    PLACES_ANY,    /* f32 [N, P (1 - uncertain), 2]; NULL where all are uncertain ones */
    PLACES_TARGET, /* f32 [N, 1, S, S], 0 .. 1 */
    PLACES_WEIGHT, /* f32 [N]: 1, or 0 where the mask is empty */
    PLACES_GIVEN
};
void prompts_hq_places(Step *s, const Segment *m, Tensor *out[PLACES_GIVEN]);
int64_t prompts_hq_uncertain(const Segment *m); /* how many of the points are the least certain */

#endif
