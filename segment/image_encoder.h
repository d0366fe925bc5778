/* image_encoder: SAM's plain ViT with windows (ViTDet, Li et al. 2022): most blocks attend within 14 x 14
 * windows, a few globally; attention has decomposed relative positions; a neck brings the result to 256
 * channels. */
#ifndef LETHE_SEGMENT_IMAGE_ENCODER_H
#define LETHE_SEGMENT_IMAGE_ENCODER_H

#include "core/params.h"
#include "core/step.h"
#include "segment/settings.h"

typedef struct SamBlock {
    Tensor *norm1_w, *norm1_b, *rel_h, *rel_w, *qkv_w, *qkv_b, *proj_w, *proj_b;
    Tensor *norm2_w, *norm2_b, *fc1_w, *fc1_b, *fc2_w, *fc2_b;
    int64_t grid, window; /* window 0: global */
    int heads, layer;
    double drop_path;
} SamBlock;

/* 1x1 convolution, LayerNorm2d, 3x3 convolution, LayerNorm2d; no biases. MobileSAM has the same. */
typedef struct SamNeck {
    Tensor *conv1_w, *norm1_w, *norm1_b, *conv2_w, *norm2_w, *norm2_b;
} SamNeck;

typedef struct SamEncoder {
    int64_t grid, dim, depth;
    Tensor *patch_w, *patch_b, *pos_embed;
    SamBlock *block; /* [depth] */
    SamNeck neck;
    int64_t early; /* the first global block: HQ reads its output */
    bool recompute;
} SamEncoder;

/* Is told of the share of the work that is done; returns false to stop. */
typedef struct SamWatch {
    bool (*tell)(void *self, double share);
    void *self;
} SamWatch;

/* Width and blocks of a preset; 0: MobileSAM's, which is not of this kind. */
int64_t sam_encoder_dim(SamSize size);
int64_t sam_encoder_depth(SamSize size);

bool sam_encoder_declare(SamEncoder *v, Params *p, const SamSettings *set, Error *e);
void sam_encoder_free(SamEncoder *v);
/* image [B, 3, S, S] -> [B, 256, g, g]; *early (may be NULL): [B, D, g, g]. NULL where `watch` (may be NULL)
 * says stop. */
Tensor *sam_encoder_run(Step *s, const SamEncoder *v, Tensor *image, Tensor **early, const SamWatch *watch);

SamNeck sam_neck_declare(Params *p, int64_t dim);
Tensor *sam_neck_run(Step *s, const SamNeck *n, Tensor *x, int64_t grid); /* [B, g g, D] -> [B, 256, g, g] */

#endif
