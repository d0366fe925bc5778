#include "segment/image_encoder.h"

#include "core/ops.h"
#include "segment/declare.h"
#include "segment/moves.h"
#include "segment/prompt_encoder.h"

#include <stdio.h>
#include <string.h>

static const double EPS = 1e-6;
enum { PATCH = 16, GLOBALS = 4 };

/* global: the blocks that attend globally; GLOBALS places, the last repeated. */
static const struct {
    int64_t dim, depth, heads, window, global[GLOBALS];
} preset[SAM_SIZES] = {
    [SAM_MICRO] = {64, 4, 2, 7, {3, 3, 3, 3}},        [SAM_SMALL] = {192, 6, 3, 8, {2, 5, 5, 5}},
    [SAM_BASE] = {768, 12, 12, 14, {2, 5, 8, 11}},    [SAM_LARGE] = {1024, 24, 16, 14, {5, 11, 17, 23}},
    [SAM_HUGE] = {1280, 32, 16, 14, {7, 15, 23, 31}},
};

SamNeck sam_neck_declare(Params *p, int64_t dim) {
    SamNeck n;
    declare_conv(p, &n.conv1_w, NULL, SAM_CHANNELS, dim, 1, "image_encoder.neck.0");
    declare_norm(p, &n.norm1_w, &n.norm1_b, SAM_CHANNELS, "image_encoder.neck.1");
    declare_conv(p, &n.conv2_w, NULL, SAM_CHANNELS, SAM_CHANNELS, 3, "image_encoder.neck.2");
    declare_norm(p, &n.norm2_w, &n.norm2_b, SAM_CHANNELS, "image_encoder.neck.3");
    return n;
}

Tensor *sam_neck_run(Step *s, const SamNeck *n, Tensor *x, int64_t grid) {
    Scope scope = scope_open(s);
    x = picture_of(s, op_linear(s, x, n->conv1_w, NULL, ACT_NONE), grid); /* [B, 256, g, g] */
    x = op_layernorm2d(s, x, n->norm1_w, n->norm1_b, EPS);
    x = op_conv2d(s, x, n->conv2_w, NULL, 1, 1, 1);
    return scope_close(s, scope, op_layernorm2d(s, x, n->norm2_w, n->norm2_b, EPS));
}

int64_t sam_encoder_dim(SamSize size) {
    return preset[size].dim;
}

int64_t sam_encoder_depth(SamSize size) {
    return preset[size].depth;
}

static SamBlock block_declare(Params *p, int n, int64_t d, int heads, int64_t side) {
    SamBlock b = {.heads = heads, .layer = n};
    const char *at = "image_encoder.blocks";
    int64_t rel[2] = {2 * side - 1, d / heads};
    char name[96];
    declare_norm(p, &b.norm1_w, &b.norm1_b, d, "%s.%d.norm1", at, n);
    snprintf(name, sizeof name, "%s.%d.attn.rel_pos_h", at, n);
    b.rel_h = params_add(p, name, 2, rel, (Init){INIT_VALUE, 0});
    snprintf(name, sizeof name, "%s.%d.attn.rel_pos_w", at, n);
    b.rel_w = params_add(p, name, 2, rel, (Init){INIT_VALUE, 0});
    declare_linear(p, &b.qkv_w, &b.qkv_b, 3 * d, d, "%s.%d.attn.qkv", at, n);
    declare_linear(p, &b.proj_w, &b.proj_b, d, d, "%s.%d.attn.proj", at, n);
    declare_norm(p, &b.norm2_w, &b.norm2_b, d, "%s.%d.norm2", at, n);
    declare_linear(p, &b.fc1_w, &b.fc1_b, 4 * d, d, "%s.%d.mlp.lin1", at, n);
    declare_linear(p, &b.fc2_w, &b.fc2_b, d, 4 * d, "%s.%d.mlp.lin2", at, n);
    return b;
}

static bool is_global(const SamSettings *set, int64_t n) {
    for (int i = 0; i < GLOBALS; i++)
        if (preset[set->size].global[i] == n) return true;
    return false;
}

bool sam_encoder_declare(SamEncoder *v, Params *p, const SamSettings *set, Error *e) {
    int64_t d = preset[set->size].dim, depth = preset[set->size].depth, grid = set->image_size / PATCH;
    int64_t pos[4] = {1, grid, grid, d};
    *v = (SamEncoder){.grid = grid,
                      .dim = d,
                      .depth = depth,
                      .early = preset[set->size].global[0],
                      .recompute = set->recompute};
    v->block = mem_zero((size_t)depth, sizeof *v->block);
    if (!v->block) return error_memory(e, (size_t)depth * sizeof *v->block);
    v->pos_embed = params_add(p, "image_encoder.pos_embed", 4, pos, (Init){INIT_VALUE, 0});
    declare_conv(p, &v->patch_w, &v->patch_b, d, 3, PATCH, "image_encoder.patch_embed.proj");
    for (int i = 0; i < depth; i++) {
        int64_t window = is_global(set, i) ? 0 : preset[set->size].window;
        v->block[i] = block_declare(p, i, d, (int)preset[set->size].heads, window ? window : grid);
        v->block[i].grid = grid;
        v->block[i].window = window;
        v->block[i].drop_path = depth > 1 ? set->drop_path * i / (double)(depth - 1) : 0;
    }
    v->neck = sam_neck_declare(p, d);
    return true;
}

void sam_encoder_free(SamEncoder *v) {
    mem_free(v->block);
    v->block = NULL;
}

/* ---- windows ---- */

/* order [B, W w w]: which token stands where when the grid, made longer below and at the right to a multiple
 * of the window's side w, is cut into W windows; -1: none, beyond the grid. */
static void windows_fill(const Step *s, const void *self, Tensor *const *host) {
    const SamBlock *b = self;
    (void)s;
    int64_t grid = b->grid, w = b->window, across = (grid + w - 1) / w, each = w * w;
    for (int64_t i = 0; i < tensor_count(host[0]); i++) {
        int64_t at = i % host[0]->dim[1], window = at / each, y = window / across * w + at % each / w,
                x = window % across * w + at % w;
        tensor_i32(host[0])[i] = y < grid && x < grid ? (int32_t)(y * grid + x) : -1;
    }
}

/* [B, g g]: and where each token of the grid stands then. */
static void grid_fill(const Step *s, const void *self, Tensor *const *host) {
    const SamBlock *b = self;
    (void)s;
    int64_t grid = b->grid, w = b->window, across = (grid + w - 1) / w;
    for (int64_t i = 0; i < tensor_count(host[0]); i++) {
        int64_t y = i % (grid * grid) / grid, x = i % grid;
        tensor_i32(host[0])[i] = (int32_t)(((y / w * across + x / w) * w + y % w) * w + x % w);
    }
}

static Tensor *order_given(Step *s, const SamBlock *b, int64_t batch, int64_t count, StepFill fill) {
    Tensor *t, like = {.ndim = 2, .dim = {batch, count}, .dtype = DT_I32, .name = "windows"};
    step_given(s, 1, &t, &like, fill, b);
    return t;
}

/* x [B, g g, 3D], queries, keys and values -> [B, g g, D]. What a window has beyond the grid are tokens of
 * zeros to the reference: their queries, keys and values are the bias, they are attended to, and what becomes
 * of them is cut off. */
static Tensor *attend_windows(Step *s, const SamBlock *b, Tensor *x) {
    int64_t batch = x->dim[0], w = b->window, across = (b->grid + w - 1) / w, windows = across * across,
            d = tensor_last(x) / 3;
    Tensor *order = order_given(s, b, batch, windows * w * w, windows_fill);
    Tensor *back = order_given(s, b, batch, b->grid * b->grid, grid_fill);
    x = op_gather(s, x, order, b->qkv_b);
    x = op_reshape(s, x, 3, (int64_t[]){batch * windows, w * w, 3 * d});
    x = op_rel_attention(s, x, b->rel_h, b->rel_w, b->heads, w, w);
    return op_gather(s, op_reshape(s, x, 3, (int64_t[]){batch, windows * w * w, d}), back, NULL);
}

/* x = x + DP(Attn(LN1(x)));  x = x + DP(MLP(LN2(x))) */
static Tensor *block_run(Step *s, void *self, Tensor *x) {
    const SamBlock *b = self;
    Scope scope = scope_open(s);
    Tensor *h = op_layernorm(s, x, b->norm1_w, b->norm1_b, EPS);
    h = op_linear(s, h, b->qkv_w, b->qkv_b, ACT_NONE);
    h = b->window ? attend_windows(s, b, h)
                  : op_rel_attention(s, h, b->rel_h, b->rel_w, b->heads, b->grid, b->grid);
    h = op_linear(s, h, b->proj_w, b->proj_b, ACT_NONE);
    x = op_add(s, x, op_drop_path(s, h, b->drop_path, 2 * b->layer));
    h = op_layernorm(s, x, b->norm2_w, b->norm2_b, EPS);
    h = op_linear(s, h, b->fc1_w, b->fc1_b, ACT_GELU);
    h = op_linear(s, h, b->fc2_w, b->fc2_b, ACT_NONE);
    x = op_add(s, x, op_drop_path(s, h, b->drop_path, 2 * b->layer + 1));
    return scope_close(s, scope, x);
}

Tensor *sam_encoder_run(Step *s, const SamEncoder *v, Tensor *image, Tensor **early, const SamWatch *watch) {
    int64_t all = v->grid * v->grid;
    Scope scope = scope_open(s);
    Tensor *x = op_patchify(s, image, NULL, PATCH, PATCH_CHANNEL_FIRST);
    x = op_linear(s, x, v->patch_w, v->patch_b, ACT_NONE); /* [B, g g, D] */
    x = scope_close(s, scope, op_add(s, x, op_reshape(s, v->pos_embed, 3, (int64_t[]){1, all, v->dim})));
    for (int i = 0; i < v->depth; i++) {
        if (watch && !watch->tell(watch->self, (i + 0.5) / (double)(v->depth + 1))) return NULL;
        x = v->recompute ? step_recompute(s, block_run, &v->block[i], x) : block_run(s, &v->block[i], x);
        if (early && i == v->early) *early = picture_of(s, x, v->grid);
    }
    return sam_neck_run(s, &v->neck, x, v->grid);
}
