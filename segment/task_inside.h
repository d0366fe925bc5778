/* task_inside: what the files of the task share. */
#ifndef LETHE_SEGMENT_TASK_INSIDE_H
#define LETHE_SEGMENT_TASK_INSIDE_H

#include "core/task.h"
#include "segment/sam.h"
#include "segment/train_settings.h"

typedef struct Segment Segment;

/* One round of interactive training: what round_run reads, forward and when it runs again. */
typedef struct SegmentRound {
    const Segment *m;
    bool first; /* its prompts may be ambiguous: three masks answer a point */
    Tensor *of, *place, *mask, *point, *label, *target, *weight, *bar, *share;
} SegmentRound;

/* HQ training: the objects of a batch, those of one kind of prompt side by side. */
typedef struct HqOrder {
    int64_t count[HQ_KINDS];
    int32_t *object; /* [n each]: image times `each` plus mask */
    size_t room;
} HqOrder;

struct Segment {
    Sam sam; /* first: the predictor reads a task that begins with its model */
    SegmentSettings set;
    int64_t low, loss_side; /* 4g; side at which masks are compared */
    bool recompute;
    SegmentRound round[SEGMENT_ROUNDS];
    HqOrder order;
    real *small; /* [low / 8, low / 8]: see prompts_hq.c */
};

/* The embedding of a batch's images, with a tape only where the encoder trains. */
SamEmbedding segment_embed(Step *s, const Segment *m, const Batch *batch);
/* What reads the batch on the host finds it in the step. */
void segment_batch(Step *s, const Batch *batch);
/* Objects of a batch, and the masks of one image of it. A plan's batch has none: it counts on Task.masks. */
int64_t segment_each(const Task *task, const Batch *batch);

/* x at the side at which masks are compared: [N, C, 4g, 4g] -> [N, C, side, side]. */
Tensor *segment_sized(Step *s, Tensor *x, int64_t side);

Tensor *segment_loss_sam(Task *task, Step *s, const Batch *batch, Tensor **each);
Tensor *segment_loss_hq(Task *task, Step *s, const Batch *batch, Tensor **each);
bool segment_evaluate(Task *task, Step *s, Source *source, Metric metric[TASK_METRICS], int *count, Error *e);
bool segment_draw(Task *task, Step *s, const Batch *batch, Picture *out, char (*note)[TASK_NOTE], Error *e);

#endif
