#include "segment/prompt_encoder.h"

#include "core/ops.h"
#include "segment/declare.h"

static const double EPS = 1e-6;
enum { MASK_CHANNELS = 16 };

void prompt_encoder_declare(PromptEncoder *e, Params *p, int64_t grid) {
    const char *at = "prompt_encoder";
    int64_t gauss[2] = {2, SAM_CHANNELS / 2};
    *e = (PromptEncoder){.grid = grid};
    e->gauss = params_add(p, "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", 2, gauss,
                          (Init){INIT_NORMAL, 1});
    params_of(e->gauss)->buffer = params_of(e->gauss)->frozen = true;
    for (int i = 0; i < 4; i++)
        e->point[i] = declare_embedding(p, 1, SAM_CHANNELS, "%s.point_embeddings.%d", at, i);
    e->not_a_point = declare_embedding(p, 1, SAM_CHANNELS, "%s.not_a_point_embed", at);
    const int64_t width[4] = {1, MASK_CHANNELS / 4, MASK_CHANNELS, SAM_CHANNELS};
    for (int i = 0; i < 3; i++) {
        declare_conv(p, &e->conv_w[i], &e->conv_b[i], width[i + 1], width[i], i < 2 ? 2 : 1,
                     "%s.mask_downscaling.%d", at, 3 * i);
        if (i < 2)
            declare_norm(p, &e->norm_w[i], &e->norm_b[i], width[i + 1], "%s.mask_downscaling.%d", at,
                         3 * i + 1);
    }
    e->no_mask = declare_embedding(p, 1, SAM_CHANNELS, "%s.no_mask_embed", at);
}

Tensor *prompt_encoder_sparse(Step *s, const PromptEncoder *e, Tensor *point, Tensor *label) {
    Scope scope = scope_open(s);
    Tensor *table = op_concat(s, e->point, COUNT(e->point), 0);
    table = op_reshape(s, table, 3, (int64_t[]){1, COUNT(e->point), SAM_CHANNELS});
    Tensor *kind = op_gather(s, table, label, e->not_a_point); /* [N, n, 256] */
    return scope_close(s, scope, op_add(s, kind, op_fourier(s, point, e->gauss)));
}

Tensor *prompt_encoder_dense(Step *s, const PromptEncoder *e, Tensor *mask) {
    if (!mask) return e->no_mask;
    Scope scope = scope_open(s);
    for (int i = 0; i < 2; i++) {
        mask = op_conv2d(s, mask, e->conv_w[i], e->conv_b[i], 2, 0, 1);
        mask = op_layernorm2d(s, mask, e->norm_w[i], e->norm_b[i], EPS);
        mask = op_pointwise(s, mask, POINT_GELU);
    }
    return scope_close(s, scope, op_conv2d(s, mask, e->conv_w[2], e->conv_b[2], 1, 0, 1));
}

/* The middles of the grid's cells, and weight 1. */
static void grid_fill(const Step *s, const void *self, Tensor *const *host) {
    const PromptEncoder *e = self;
    real *at = tensor_real(host[0]);
    (void)s;
    for (int64_t i = 0; i < e->grid * e->grid; i++) {
        at[3 * i] = ((real)(i % e->grid) + (real)0.5) / (real)e->grid;
        at[3 * i + 1] = ((real)(i / e->grid) + (real)0.5) / (real)e->grid;
        at[3 * i + 2] = 1;
    }
}

Tensor *prompt_encoder_grid(Step *s, const PromptEncoder *e) {
    Scope scope = scope_open(s);
    Tensor *at,
        like = {.ndim = 3, .dim = {1, e->grid * e->grid, 3}, .dtype = DT_F32, .name = "middles of the grid"};
    step_given(s, 1, &at, &like, grid_fill, e);
    return scope_close(s, scope, op_fourier(s, at, e->gauss));
}
