/* vit: the Vision Transformer (Dosovitskiy et al. 2021) as timm 0.3.2 and MAE have it: pre-norm blocks, qkv
 * with bias, exact GELU, layer norm with eps 1e-6, no dropout but stochastic depth. Parameter names are
 * timm's. */
#ifndef LETHE_VIT_H
#define LETHE_VIT_H

#include "core/ops.h"
#include "core/params.h"
#include "core/recipe.h"

enum { VIT_MICRO, VIT_TINY, VIT_SMALL, VIT_BASE, VIT_LARGE, VIT_HUGE, VIT_SIZES };

/* The fields of model.* that every ViT task shares. 0 takes the size's own number. */
#define VIT_FIELDS(X)                                                                                        \
    X(CHOICE, size, "model.size", "\"base\"", 0, 0, "micro|tiny|small|base|large|huge",                      \
      "preset for the fields left at 0")                                                                     \
    X(INT, image_size, "model.image_size", "224", 8, 4096, "", "side of the square input, pixels")           \
    X(INT, patch, "model.patch", "0", 0, 256, "", "side of a patch, pixels (16; huge: 14; micro: 8)")        \
    X(INT, dim, "model.dim", "0", 0, 8192, "", "width of the encoder")                                       \
    X(INT, depth, "model.depth", "0", 0, 256, "", "encoder blocks")                                          \
    X(INT, heads, "model.heads", "0", 0, 256, "", "attention heads; must divide the width")                  \
    X(BOOL, recompute, "model.recompute", "false", 0, 0, "",                                                 \
      "activation checkpointing: keep a block's input only")

typedef struct VitSettings {
    RECIPE_MEMBERS(VIT_FIELDS)
} VitSettings;

extern const RecipeTable vit_table;

/* How matrices start: MAE's Xavier, or timm's truncated normal 0.02 with the class token and table likewise.
 */
typedef enum { VIT_INIT_MAE, VIT_INIT_TIMM } VitInit;

typedef struct VitBlock {
    Tensor *norm1_w, *norm1_b, *qkv_w, *qkv_b, *proj_w, *proj_b;
    Tensor *norm2_w, *norm2_b, *fc1_w, *fc1_b, *fc2_w, *fc2_b;
    int heads, layer; /* layer: tells drop path draws apart */
    double drop_path;
} VitBlock;

typedef struct VitEncoder {
    Tensor *cls_token, *pos_embed; /* [1, 1, D], [1, 1 + L, D] */
    Tensor *patch_w, *patch_b;     /* [D, 3, p, p], [D] */
    VitBlock *block;
    Tensor *norm_w, *norm_b; /* NULL where the model pools before its norm */
    int64_t image_size, patch, dim, depth, heads, grid;
    bool recompute;
} VitEncoder;

/* Replaces the zeros in *set by the preset's numbers; checks that patch and heads divide. */
bool vit_resolve(VitSettings *set, Error *e);

/* Declares patch_embed.proj, cls_token, pos_embed, blocks.N.*, and norm.* (unless without_norm). */
bool vit_declare(VitEncoder *vit, Params *p, const VitSettings *set, VitInit init, double drop_path,
                 bool without_norm, Error *e);
void vit_free(VitEncoder *vit);

/* Declares one block under "PREFIX.N.". Its drop path rate is the caller's. */
VitBlock vit_block_declare(Params *p, const char *prefix, int n, int64_t dim, int heads, VitInit init);
Tensor *vit_block(Step *s, const VitBlock *b, Tensor *x, bool recompute); /* [B, N, D] -> [B, N, D] */

/* Where tokens come from, on the host's account: both i32 [B, 1 + T]. */
typedef struct VitPlaces {
    Tensor *order; /* the patch a token is, among those that are embedded; -1: the class token */
    Tensor *place; /* its row of the table of positions; NULL: as they come */
} VitPlaces;

/* Shapes of order and place for `count` patches; and row b of both, the patches being keep[0 .. count - 1],
 * or all if that is NULL. */
void vit_places_like(Tensor like[2], int64_t batch, int64_t count);
void vit_places_fill(Tensor *order, Tensor *place, int64_t b, const int32_t *keep);
/* Of all patches. */
VitPlaces vit_places_all(Step *s, const VitEncoder *vit, int64_t batch);

/* Tokens of an image [B, 3, H, W]: patches (those of index [B, T], or all), embedded, with their positions,
 * the class token in front: [B, 1 + T, D]. */
Tensor *vit_tokens(Step *s, const VitEncoder *vit, Tensor *image, Tensor *index, VitPlaces at);
/* All blocks, without the last norm. */
Tensor *vit_blocks(Step *s, const VitEncoder *vit, Tensor *x);
Tensor *vit_norm(Step *s, Tensor *x, Tensor *w, Tensor *b); /* layer norm with the ViT's eps */

/* MAE's fixed sin-cos table for a grid x grid image: row 0 (class token) zero, then for each patch,
 * row-major, [sin(x w), cos(x w), sin(y w), cos(y w)], w_k = 10000^(-4k/D): the first half encodes the
 * column. In double. */
void vit_sincos(Tensor *pos_embed, int64_t grid);

/* Resizes a [1, 1 + g g, D] table to [1, 1 + h h, D]: row 0 kept, the rest bicubic as torch's interpolate
 * (a = -0.75, align_corners false), as MAE's interpolate_pos_embed. */
void vit_resize_positions(const Tensor *from, Tensor *to);
/* The same of a grid alone: from [g, g, D] to [h, h, D]. */
void vit_resize_grid(const real *from, int64_t g, real *to, int64_t h, int64_t d);

#endif
