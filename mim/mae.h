/* mae: the masked autoencoder of He et al. 2021 as facebookresearch/mae has it (models_mae.py): an encoder
 * that sees the visible patches only, a light decoder that sees all, the loss on hidden patches only. */
#ifndef LETHE_MAE_H
#define LETHE_MAE_H

#include "core/task.h"
#include "mim/vit.h"

#define MAE_FIELDS(X)                                                                                        \
    X(INT, decoder_dim, "model.decoder_dim", "0", 0, 8192, "",                                               \
      "width of the decoder (0: 512; micro 96; tiny 128; small 256)")                                        \
    X(INT, decoder_depth, "model.decoder_depth", "0", 0, 64, "",                                             \
      "decoder blocks (0: 8; micro 2; tiny, small 4)")                                                       \
    X(INT, decoder_heads, "model.decoder_heads", "0", 0, 256, "",                                            \
      "decoder heads (0: 16; micro 3; tiny 4; small 8)")                                                     \
    X(REAL, mask_ratio, "model.mask_ratio", "0.75", 0, 0.99, "", "share of patches hidden from the encoder") \
    X(BOOL, norm_pix, "model.norm_pix_loss", "true", 0, 0, "",                                               \
      "predict each patch normalised by its own mean and deviation")
typedef struct MaeSettings {
    RECIPE_MEMBERS(MAE_FIELDS)
} MaeSettings;

typedef struct Mae {
    VitSettings vit_set;
    MaeSettings set;
    VitEncoder vit;
    Tensor *decoder_embed_w, *decoder_embed_b, *mask_token, *decoder_pos_embed;
    VitBlock *decoder_block;
    Tensor *decoder_norm_w, *decoder_norm_b, *decoder_pred_w, *decoder_pred_b;
    struct MaeDraw *draw; /* [L]: room to draw a mask in */
} Mae;

extern const TaskClass mae_class;

/* Which patches of each sample are hidden, and what follows from that. All i32 but mask. */
typedef struct MaeMask {
    Tensor *keep;    /* [B, K] patches the encoder sees, in shuffled order */
    Tensor *restore; /* [B, L] place of patch l in that order among all L; below K: visible */
    Tensor *mask;    /* f32 [B, L] 0 is keep, 1 is remove */
    VitPlaces at;    /* of the visible ones */
    Tensor *order;   /* [B, 1 + L] for the decoder: the encoder's token of each place, -1: the mask token */
    Tensor *patches; /* [B, L] = 1 .. L: all but the class token */
} MaeMask;

/* From noise [B, L]: the K = int(L (1 - ratio)) patches with the least noise stay. Equal noise: lower index.
 */
MaeMask mae_mask(Step *s, const Mae *m, const Tensor *noise);
/* From a stream a sample, keyed by its id: that of s->batch's epoch, or, where fixed, one that never changes.
 */
MaeMask mae_mask_drawn(Step *s, const Mae *m, const Batch *batch, bool fixed);

Tensor *mae_encoder(Step *s, const Mae *m, Tensor *image,
                    const MaeMask *mask); /* [B, 1 + K, D] latent, normed */
Tensor *mae_decoder(Step *s, const Mae *m, Tensor *latent,
                    const MaeMask *mask);                 /* [B, L, p p 3] prediction */
Tensor *mae_target(Step *s, const Mae *m, Tensor *image); /* [B, L, p p 3]; off the tape */

#endif
