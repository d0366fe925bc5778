/* mask_decoder: tokens and image attend to each other twice; from the tokens come masks and their predicted
 * IoU (Kirillov et al. 2023, A). HQ-SAM (Ke et al. 2023, 3.2) adds a token whose mask is read from finer
 * features. */
#ifndef LETHE_SEGMENT_MASK_DECODER_H
#define LETHE_SEGMENT_MASK_DECODER_H

#include "segment/prompt_encoder.h"

typedef struct DecoderAttention {
    Tensor *q_w, *q_b, *k_w, *k_b, *v_w, *v_b, *out_w, *out_b;
} DecoderAttention;

typedef struct DecoderNorm {
    Tensor *w, *b;
} DecoderNorm;

typedef struct DecoderLayer {
    DecoderAttention self, to_image, to_token;
    DecoderNorm norm[4];
    Tensor *fc1_w, *fc1_b, *fc2_w, *fc2_b;
} DecoderLayer;

/* Three linear maps with ReLU between. */
typedef struct DecoderMlp {
    Tensor *w[3], *b[3];
} DecoderMlp;

/* Transposed convolution, LayerNorm2d, GELU, transposed convolution: four times the side. (HQ's
 * embedding_maskfeature is the same with plain 3x3 convolutions.) */
typedef struct DecoderUpscale {
    Tensor *conv1_w, *conv1_b, *conv2_w, *conv2_b;
    DecoderNorm norm;
} DecoderUpscale;

typedef struct MaskDecoder {
    int64_t grid;
    Tensor *iou_token, *mask_tokens;
    DecoderLayer layer[2];
    DecoderAttention last;
    DecoderNorm last_norm;
    DecoderUpscale upscale;
    DecoderMlp mask_mlp[4], iou_mlp;
    bool hq;
    Tensor *hf_token;
    DecoderMlp hf_mlp;
    DecoderUpscale from_early, from_embedding, from_mask; /* compress_vit_feat, embedding_encoder,
                                                             embedding_maskfeature */
} MaskDecoder;

/* Is this the name of a parameter that HQ-SAM adds? */
bool mask_decoder_hq(const char *name);

/* early: channels of the encoder's features that HQ reads; used with hq only. */
void mask_decoder_declare(MaskDecoder *d, Params *p, int64_t grid, bool hq, int64_t early);
/* HQ: [B, 256, g, g], early [B, D, g, g] -> [B, 32, 4g, 4g] */
Tensor *mask_decoder_fine(Step *s, const MaskDecoder *d, Tensor *image, Tensor *early);

typedef struct DecoderOut {
    Tensor *mask; /* [N, 4, 4g, 4g] */
    Tensor *iou;  /* f32 [N, 4] */
    Tensor *fine; /* HQ: [N, 1, 4g, 4g]; or NULL */
} DecoderOut;

/* image [N, g g, 256] with the dense prompt added, place [1, g g, 256], sparse [N, n, 256] or NULL,
 * fine [N, 32, 4g, 4g] (HQ). */
DecoderOut mask_decoder_run(Step *s, const MaskDecoder *d, Tensor *image, Tensor *place, Tensor *sparse,
                            Tensor *fine);

#endif
