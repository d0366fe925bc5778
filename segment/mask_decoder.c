#include "segment/mask_decoder.h"

#include "core/ops.h"
#include "segment/declare.h"
#include "segment/moves.h"

#include <stdio.h>
#include <string.h>

static const double EPS = 1e-5, EPS_2D = 1e-6;
enum { HEADS = 8, HIDDEN = 2048, MASKS = 4, FINE = SAM_CHANNELS / 8 };

/* ---- parameters ---- */

static DecoderAttention attention_declare(Params *p, const char *at, const char *name, int64_t inside) {
    DecoderAttention a;
    declare_linear(p, &a.q_w, &a.q_b, inside, SAM_CHANNELS, "%s.%s.q_proj", at, name);
    declare_linear(p, &a.k_w, &a.k_b, inside, SAM_CHANNELS, "%s.%s.k_proj", at, name);
    declare_linear(p, &a.v_w, &a.v_b, inside, SAM_CHANNELS, "%s.%s.v_proj", at, name);
    declare_linear(p, &a.out_w, &a.out_b, SAM_CHANNELS, inside, "%s.%s.out_proj", at, name);
    return a;
}

static void layer_declare(DecoderLayer *l, Params *p, int n) {
    const char *layers = "mask_decoder.transformer.layers";
    char at[64];
    snprintf(at, sizeof at, "%s.%d", layers, n);
    l->self = attention_declare(p, at, "self_attn", SAM_CHANNELS);
    declare_norm(p, &l->norm[0].w, &l->norm[0].b, SAM_CHANNELS, "%s.norm1", at);
    l->to_image = attention_declare(p, at, "cross_attn_token_to_image", SAM_CHANNELS / 2);
    declare_norm(p, &l->norm[1].w, &l->norm[1].b, SAM_CHANNELS, "%s.norm2", at);
    declare_linear(p, &l->fc1_w, &l->fc1_b, HIDDEN, SAM_CHANNELS, "%s.mlp.lin1", at);
    declare_linear(p, &l->fc2_w, &l->fc2_b, SAM_CHANNELS, HIDDEN, "%s.mlp.lin2", at);
    declare_norm(p, &l->norm[2].w, &l->norm[2].b, SAM_CHANNELS, "%s.norm3", at);
    declare_norm(p, &l->norm[3].w, &l->norm[3].b, SAM_CHANNELS, "%s.norm4", at);
    l->to_token = attention_declare(p, at, "cross_attn_image_to_token", SAM_CHANNELS / 2);
}

static DecoderMlp mlp_declare(Params *p, int64_t out, const char *at) {
    DecoderMlp m;
    for (int i = 0; i < 3; i++)
        declare_linear(p, &m.w[i], &m.b[i], i < 2 ? SAM_CHANNELS : out, SAM_CHANNELS,
                       "mask_decoder.%s.layers.%d", at, i);
    return m;
}

static DecoderUpscale upscale_declare(Params *p, const char *at, int64_t in, int64_t middle) {
    DecoderUpscale u;
    declare_up(p, &u.conv1_w, &u.conv1_b, in, middle, "mask_decoder.%s.0", at);
    declare_norm(p, &u.norm.w, &u.norm.b, middle, "mask_decoder.%s.1", at);
    declare_up(p, &u.conv2_w, &u.conv2_b, middle, FINE, "mask_decoder.%s.3", at);
    return u;
}

bool mask_decoder_hq(const char *name) {
    static const char *const with[] = {"mask_decoder.hf_token", "mask_decoder.hf_mlp",
                                       "mask_decoder.compress_vit_feat", "mask_decoder.embedding_encoder",
                                       "mask_decoder.embedding_maskfeature"};
    for (int i = 0; i < COUNT(with); i++)
        if (strncmp(name, with[i], strlen(with[i])) == 0) return true;
    return false;
}

static void hq_declare(MaskDecoder *d, Params *p, int64_t early) {
    DecoderUpscale *m = &d->from_mask;
    d->hf_token = declare_embedding(p, 1, SAM_CHANNELS, "mask_decoder.hf_token");
    d->hf_mlp = mlp_declare(p, FINE, "hf_mlp");
    d->from_early = upscale_declare(p, "compress_vit_feat", early, SAM_CHANNELS);
    d->from_embedding = upscale_declare(p, "embedding_encoder", SAM_CHANNELS, SAM_CHANNELS / 4);
    declare_conv(p, &m->conv1_w, &m->conv1_b, SAM_CHANNELS / 4, FINE, 3,
                 "mask_decoder.embedding_maskfeature.0");
    declare_norm(p, &m->norm.w, &m->norm.b, SAM_CHANNELS / 4, "mask_decoder.embedding_maskfeature.1");
    declare_conv(p, &m->conv2_w, &m->conv2_b, FINE, SAM_CHANNELS / 4, 3,
                 "mask_decoder.embedding_maskfeature.3");
}

void mask_decoder_declare(MaskDecoder *d, Params *p, int64_t grid, bool hq, int64_t early) {
    char name[64];
    *d = (MaskDecoder){.grid = grid, .hq = hq};
    for (int i = 0; i < COUNT(d->layer); i++) layer_declare(&d->layer[i], p, i);
    d->last = attention_declare(p, "mask_decoder.transformer", "final_attn_token_to_image", SAM_CHANNELS / 2);
    declare_norm(p, &d->last_norm.w, &d->last_norm.b, SAM_CHANNELS,
                 "mask_decoder.transformer.norm_final_attn");
    d->iou_token = declare_embedding(p, 1, SAM_CHANNELS, "mask_decoder.iou_token");
    d->mask_tokens = declare_embedding(p, MASKS, SAM_CHANNELS, "mask_decoder.mask_tokens");
    d->upscale = upscale_declare(p, "output_upscaling", SAM_CHANNELS, SAM_CHANNELS / 4);
    for (int i = 0; i < MASKS; i++) {
        snprintf(name, sizeof name, "output_hypernetworks_mlps.%d", i);
        d->mask_mlp[i] = mlp_declare(p, FINE, name);
    }
    d->iou_mlp = mlp_declare(p, MASKS, "iou_prediction_head");
    if (hq) hq_declare(d, p, early);
}

/* ---- the two-way transformer ---- */

static Tensor *attend(Step *s, const DecoderAttention *a, Tensor *q, Tensor *k, Tensor *v) {
    Scope scope = scope_open(s);
    Tensor *out =
        op_attention(s, op_linear(s, q, a->q_w, a->q_b, ACT_NONE), op_linear(s, k, a->k_w, a->k_b, ACT_NONE),
                     op_linear(s, v, a->v_w, a->v_b, ACT_NONE), NULL, HEADS, false);
    return scope_close(s, scope, op_linear(s, out, a->out_w, a->out_b, ACT_NONE));
}

static Tensor *norm_of(Step *s, const DecoderNorm *n, Tensor *x) {
    return op_layernorm(s, x, n->w, n->b, EPS);
}

/* Tokens q [N, T, 256] and image k [N, g g, 256]; t: the tokens as they came, their positions in every layer.
 * The first layer's attention among the tokens knows no positions and replaces them. */
static void layer_run(Step *s, const DecoderLayer *l, bool first, Tensor *t, Tensor *place, Tensor **token,
                      Tensor **image) {
    Tensor *q = *token, *k = *image, *qt, *kp;
    if (first) {
        q = attend(s, &l->self, q, q, q);
    } else {
        qt = op_add(s, q, t);
        q = op_add(s, q, attend(s, &l->self, qt, qt, q));
    }
    q = norm_of(s, &l->norm[0], q);
    kp = op_add(s, k, place);
    q = norm_of(s, &l->norm[1], op_add(s, q, attend(s, &l->to_image, op_add(s, q, t), kp, k)));
    Tensor *h = op_linear(s, q, l->fc1_w, l->fc1_b, ACT_RELU);
    q = norm_of(s, &l->norm[2], op_add(s, q, op_linear(s, h, l->fc2_w, l->fc2_b, ACT_NONE)));
    k = norm_of(s, &l->norm[3], op_add(s, k, attend(s, &l->to_token, kp, op_add(s, q, t), q)));
    *token = q;
    *image = k;
}

/* ---- masks ---- */

static Tensor *mlp_run(Step *s, const DecoderMlp *m, Tensor *x) {
    for (int i = 0; i < 3; i++) x = op_linear(s, x, m->w[i], m->b[i], i < 2 ? ACT_RELU : ACT_NONE);
    return x;
}

static Tensor *upscale_run(Step *s, const DecoderUpscale *u, Tensor *x) {
    Scope scope = scope_open(s);
    x = op_conv_transpose2d(s, x, u->conv1_w, u->conv1_b, 2, 0, 0, 1);
    x = op_pointwise(s, op_layernorm2d(s, x, u->norm.w, u->norm.b, EPS_2D), POINT_GELU);
    return scope_close(s, scope, op_conv_transpose2d(s, x, u->conv2_w, u->conv2_b, 2, 0, 0, 1));
}

Tensor *mask_decoder_fine(Step *s, const MaskDecoder *d, Tensor *image, Tensor *early) {
    Scope scope = scope_open(s);
    Tensor *x = upscale_run(s, &d->from_embedding, image);
    return scope_close(s, scope, op_add(s, x, upscale_run(s, &d->from_early, early)));
}

/* Token `n` of q [N, T, 256] as [N, 1, 256]. */
static Tensor *token_of(Step *s, Tensor *q, int64_t n) {
    return op_slice(s, q, 1, n, 1);
}

/* hyper [N, K, 32] times x [N, 32, 4g, 4g] -> [N, K, 4g, 4g] */
static Tensor *masks_of(Step *s, Tensor *hyper, Tensor *x) {
    int64_t high = x->dim[2], wide = x->dim[3];
    Tensor *flat = op_reshape(s, x, 3, (int64_t[]){x->dim[0], x->dim[1], high * wide});
    Tensor *y = op_matmul(s, hyper, flat);
    return op_reshape(s, y, 4, (int64_t[]){x->dim[0], hyper->dim[1], high, wide});
}

/* hyper [1, 1, 32] times the second convolution of x, without its 32 channels: a convolution is linear, so
 * that its kernels are summed with these weights first, and one channel is all that is computed. */
static Tensor *folded(Step *s, const DecoderUpscale *u, Tensor *hyper, Tensor *x) {
    int64_t inside = SAM_CHANNELS / 4, each = inside * 9, one = 1;
    Tensor *w = op_matmul(s, hyper, op_reshape(s, u->conv2_w, 3, (int64_t[]){1, FINE, each}));
    Tensor *b = op_matmul(s, hyper, op_reshape(s, u->conv2_b, 3, (int64_t[]){1, FINE, 1}));
    w = op_reshape(s, w, 4, (int64_t[]){1, inside, 3, 3});
    return op_conv2d(s, x, w, op_reshape(s, b, 1, &one), 1, 1, 1);
}

/* HQ's mask, from its token and SAM's upscaled features made finer. */
static Tensor *fine_run(Step *s, const MaskDecoder *d, Tensor *q, Tensor *up, Tensor *fine) {
    const DecoderUpscale *u = &d->from_mask;
    Scope scope = scope_open(s);
    Tensor *x = op_conv2d(s, up, u->conv1_w, u->conv1_b, 1, 1, 1);
    x = op_pointwise(s, op_layernorm2d(s, x, u->norm.w, u->norm.b, EPS_2D), POINT_GELU);
    Tensor *hyper = mlp_run(s, &d->hf_mlp, token_of(s, q, 1 + MASKS));
    if (x->dim[0] == 1 && !s->recording)
        return scope_close(s, scope, op_add(s, folded(s, u, hyper, x), masks_of(s, hyper, fine)));
    x = op_add(s, op_conv2d(s, x, u->conv2_w, u->conv2_b, 1, 1, 1), fine);
    return scope_close(s, scope, masks_of(s, hyper, x));
}

static void order_fill(const Step *s, const void *self, Tensor *const *host) {
    int64_t each = host[0]->dim[1];
    (void)s, (void)self;
    for (int64_t i = 0; i < tensor_count(host[0]); i++) tensor_i32(host[0])[i] = (int32_t)(i % each);
}

/* [N, T, 256]: the model's own tokens, then the prompt's. */
static Tensor *tokens_make(Step *s, const MaskDecoder *d, int64_t n, Tensor *sparse) {
    Scope scope = scope_open(s);
    int64_t own = 1 + MASKS + d->hq;
    Tensor *order, like = {.ndim = 2, .dim = {n, own}, .dtype = DT_I32, .name = "order of the tokens"};
    step_given(s, 1, &order, &like, order_fill, NULL);
    Tensor *t = op_concat(s, (Tensor *[]){d->iou_token, d->mask_tokens, d->hf_token}, d->hq ? 3 : 2, 0);
    t = op_gather(s, op_reshape(s, t, 3, (int64_t[]){1, own, SAM_CHANNELS}), order, NULL);
    return scope_close(s, scope, sparse ? op_concat(s, (Tensor *[]){t, sparse}, 2, 1) : t);
}

DecoderOut mask_decoder_run(Step *s, const MaskDecoder *d, Tensor *image, Tensor *place, Tensor *sparse,
                            Tensor *fine) {
    DecoderOut out = {0};
    int64_t n = image->dim[0];
    Tensor *t = tokens_make(s, d, n, sparse), *q = t, *hyper[MASKS];
    for (int i = 0; i < COUNT(d->layer); i++) layer_run(s, &d->layer[i], i == 0, t, place, &q, &image);
    Tensor *kp = op_add(s, image, place);
    q = norm_of(s, &d->last_norm, op_add(s, q, attend(s, &d->last, op_add(s, q, t), kp, image)));
    Tensor *up = upscale_run(s, &d->upscale, picture_of(s, image, d->grid));
    up = op_pointwise(s, up, POINT_GELU); /* [N, 32, 4g, 4g] */
    for (int i = 0; i < MASKS; i++) hyper[i] = mlp_run(s, &d->mask_mlp[i], token_of(s, q, 1 + i));
    out.mask = masks_of(s, op_concat(s, hyper, MASKS, 1), up);
    Tensor *iou = mlp_run(s, &d->iou_mlp, token_of(s, q, 0));
    out.iou = f32_of(s, op_reshape(s, iou, 2, (int64_t[]){n, MASKS}));
    if (d->hq && fine) out.fine = fine_run(s, d, q, up, fine);
    return out;
}
