/* sam: Segment Anything (Kirillov et al. 2023), HQ-SAM (Ke et al. 2023) and MobileSAM (Zhang et al. 2023): an
 * image is embedded once, then any number of prompts are answered from the embedding. Parameters bear the
 * names of the published checkpoints.
 *
 * S: side of the square the encoder sees (model.image_size); g = S / 16: side of the grid; C = 256 channels.
 */
#ifndef LETHE_SAM_H
#define LETHE_SAM_H

#include "segment/image_encoder.h"
#include "segment/mask_decoder.h"
#include "segment/prompt_encoder.h"
#include "segment/settings.h"
#include "segment/tiny_vit.h"

typedef struct Sam {
    SamSettings set; /* presets resolved */
    int64_t side, grid;
    SamEncoder vit; /* micro, base, large, huge; */
    TinyVit tiny;   /* or MobileSAM's */
    PromptEncoder prompt;
    MaskDecoder decoder;
} Sam;

/* Declares every parameter. HQ's own are declared when set->hq. */
bool sam_declare(Sam *m, Params *p, const SamSettings *set, Error *e);
void sam_free(Sam *m);

/* What is known of a batch of images. */
typedef struct SamEmbedding {
    Tensor *image; /* [B, C, g, g] */
    Tensor
        *fine; /* HQ: [B, 32, 4g, 4g], features of the encoder's first global block and of `image`; or NULL */
    Tensor *place; /* [1, g g, C], the positions of the grid */
} SamEmbedding;

/* image [B, 3, S, S]: normalised, then padded with zeros at the right and below. `watch` may be NULL; where
 * it says stop, the result's image is NULL. */
SamEmbedding sam_embed(Step *s, const Sam *m, Tensor *image, const SamWatch *watch);

/* N prompts, each of n points. */
typedef struct SamPrompt {
    Tensor
        *point; /* f32 [N, n, 3]: x, y as shares of S (the half pixel added), and 1; or 0, 0, 0 for padding */
    Tensor *label; /* i32 [N, n]: -1 padding, 0 background, 1 foreground, 2 and 3 a box's corners. NULL with
                      point:    no sparse prompt. Without a box one padding point ends the list
                      (sam_prompt_pads). */
    Tensor *mask;  /* f32 [N, 1, 4g, 4g] logits of an earlier answer; NULL: none */
} SamPrompt;

typedef struct SamAnswer {
    Tensor *mask; /* [N, 4, 4g, 4g] logits; 0 for several prompts, 1 .. 3 for an ambiguous one */
    Tensor *iou;  /* f32 [N, 4], predicted */
    Tensor *fine; /* HQ: [N, 1, 4g, 4g], to be added to the mask chosen, or taken alone; or NULL */
} SamAnswer;

/* Prompt i is about image of[i] of the embedding (of: i32 [1, N], or NULL: all about image 0). */
SamAnswer sam_answer(Step *s, const Sam *m, const SamEmbedding *on, Tensor *of, const SamPrompt *prompt);

#endif
