/* tiny_vit: MobileSAM's image encoder, TinyViT-5M (Wu et al. 2022) with SAM's neck. */
#ifndef LETHE_SEGMENT_TINY_VIT_H
#define LETHE_SEGMENT_TINY_VIT_H

#include "segment/image_encoder.h"

enum { TINY_VIT_BLOCKS = 12, TINY_VIT_EARLY = 160 }; /* channels of what Light HQ-SAM reads */

typedef struct TinyVit TinyVit;
struct TinyVit {
    struct TinyVitInner *inner; /* owned: every stage's parameters */
};

bool tiny_vit_declare(TinyVit *v, Params *p, const SamSettings *set, Error *e);
void tiny_vit_free(TinyVit *v);
/* image [B, 3, S, S] -> [B, 256, g, g]; *early (may be NULL): [B, 160, g, g], what Light HQ-SAM reads (stage
 * 1's output after its down-sampling) */
Tensor *tiny_vit_run(Step *s, const TinyVit *v, Tensor *image, Tensor **early, const SamWatch *watch);

#endif
