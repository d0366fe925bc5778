/* prompt_encoder: points, boxes and masks to tokens and a dense embedding (Kirillov et al. 2023, A). */
#ifndef LETHE_SEGMENT_PROMPT_ENCODER_H
#define LETHE_SEGMENT_PROMPT_ENCODER_H

#include "core/params.h"
#include "core/step.h"

enum { SAM_CHANNELS = 256 };

typedef struct PromptEncoder {
    int64_t grid;
    Tensor *gauss;    /* [2, 128]: positional_encoding_gaussian_matrix */
    Tensor *point[4]; /* background, foreground, the corners of a box; [1, 256] each */
    Tensor *not_a_point, *no_mask;
    Tensor *conv_w[3], *conv_b[3], *norm_w[2], *norm_b[2]; /* of mask_downscaling */
} PromptEncoder;

void prompt_encoder_declare(PromptEncoder *e, Params *p, int64_t grid);
/* point [N, n, 3], label [N, n] -> [N, n, 256]: see SamPrompt */
Tensor *prompt_encoder_sparse(Step *s, const PromptEncoder *e, Tensor *point, Tensor *label);
/* mask [N, 1, 4g, 4g] -> [N, 256, g, g]; NULL -> no_mask [1, 256] */
Tensor *prompt_encoder_dense(Step *s, const PromptEncoder *e, Tensor *mask);
/* The positions of the grid: [1, g g, 256], the same for every image. */
Tensor *prompt_encoder_grid(Step *s, const PromptEncoder *e);

#endif
