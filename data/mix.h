/* mix: mixup (Zhang et al. 2018) and cutmix (Yun et al. 2019) of a whole batch, as timm 0.3.2's Mixup in mode
 * "batch": one lambda a batch, sample i is mixed with sample n - 1 - i. Targets become soft. */
#ifndef LETHE_MIX_H
#define LETHE_MIX_H

#include "core/rng.h"
#include "data/settings.h"

typedef struct Mix {
    double lambda;                /* the share of a sample that stays its own; 1: not mixed */
    bool cut;                     /* cutmix: the box comes from the partner; else all pixels are blended */
    int top, left, bottom, right; /* of the box; bottom and right are the first outside */
} Mix;

bool mix_wanted(const DataSettings *set); /* mixup or cutmix is on */

/* What to do to the batch of `epoch` that begins with sample `first`. */
Mix mix_draw(const DataSettings *set, uint64_t seed, uint32_t epoch, int64_t first, int size);

/* image: f32 [n, 3, size, size], in place. Sample i and n - 1 - i are partners. */
void mix_images(const Mix *m, float *image, int n, int size);

/* target: f32 [n, classes]. Each row sums to 1: a label has 1 - s + s / classes, the others s / classes,
 * blended with the partner's row by lambda. */
void mix_targets(const Mix *m, double smoothing, const int32_t *label, float *target, int n, int classes);

#endif
