/* settings: the model keys of SAM. */
#ifndef LETHE_SEGMENT_SETTINGS_H
#define LETHE_SEGMENT_SETTINGS_H

#include "core/recipe.h"

/* micro: dim 64, 4 blocks, 2 heads, window 7, the last block global; for tests. tiny: MobileSAM. small: dim
 * 192, 6 blocks, 3 heads, window 8, every third block global; for training on two cores. */
typedef enum { SAM_MICRO, SAM_TINY, SAM_SMALL, SAM_BASE, SAM_LARGE, SAM_HUGE, SAM_SIZES } SamSize;

#define SAM_FIELDS(X)                                                                                        \
    X(CHOICE, size, "model.size", "\"base\"", 0, 0, "micro|tiny|small|base|large|huge",                      \
      "image encoder: SAM's ViT-B, ViT-L, ViT-H; tiny: MobileSAM's TinyViT; small, micro: of our own, "      \
      "for small machines")                                                                                  \
    X(INT, image_size, "model.image_size", "1024", 64, 4096, "",                                             \
      "side of the square the encoder sees, a multiple of 64")                                               \
    X(BOOL, hq, "model.hq", "false", 0, 0, "", "HQ-SAM: a further token and fused features of the encoder")  \
    X(REAL, drop_path, "model.drop_path", "0", 0, 0.99, "",                                                  \
      "stochastic depth of the last block; earlier less")                                                    \
    X(BOOL, recompute, "model.recompute", "false", 0, 0, "", "keep one tensor a block and compute again")

typedef struct SamSettings {
    RECIPE_MEMBERS(SAM_FIELDS)
} SamSettings;

extern const RecipeTable sam_table;

#endif
