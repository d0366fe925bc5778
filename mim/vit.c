#include "mim/vit.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

RECIPE_TABLE(vit_table, "Vision Transformer", VitSettings, VIT_FIELDS);

static const double EPS = 1e-6;

static const struct {
    int64_t patch, dim, depth, heads;
} preset[VIT_SIZES] = {
    [VIT_MICRO] = {8, 128, 4, 4},   [VIT_TINY] = {16, 192, 12, 3},    [VIT_SMALL] = {16, 384, 12, 6},
    [VIT_BASE] = {16, 768, 12, 12}, [VIT_LARGE] = {16, 1024, 24, 16}, [VIT_HUGE] = {14, 1280, 32, 16},
};

bool vit_resolve(VitSettings *set, Error *e) {
    if (!set->patch) set->patch = preset[set->size].patch;
    if (!set->dim) set->dim = preset[set->size].dim;
    if (!set->depth) set->depth = preset[set->size].depth;
    if (!set->heads) set->heads = preset[set->size].heads;
    if (set->image_size % set->patch)
        return error_set(e, ERROR_VALUE,
                         "model.image_size %" PRId64 " is not a multiple of model.patch %" PRId64,
                         set->image_size, set->patch);
    if (set->dim % set->heads)
        return error_set(e, ERROR_VALUE, "model.dim %" PRId64 " is not a multiple of model.heads %" PRId64,
                         set->dim, set->heads);
    if (set->dim / set->heads > ATTENTION_WIDEST)
        return error_set(e, ERROR_VALUE,
                         "model.heads %" PRId64 " makes heads wider than %d; model.dim is %" PRId64,
                         set->heads, ATTENTION_WIDEST, set->dim);
    if (set->dim % 4)
        return error_set(e, ERROR_VALUE,
                         "model.dim %" PRId64 " is not a multiple of 4: the position table needs that",
                         set->dim);
    return true;
}

static Tensor *declare(Params *p, const char *prefix, int n, const char *name, int64_t rows, int64_t cols,
                       Init init) {
    char full[96];
    int64_t dim[2] = {rows, cols};
    snprintf(full, sizeof full, "%s.%d.%s", prefix, n, name);
    return params_add(p, full, cols ? 2 : 1, dim, init);
}

VitBlock vit_block_declare(Params *p, const char *prefix, int n, int64_t d, int heads, VitInit init) {
    const Init one = {INIT_VALUE, 1}, zero = {INIT_VALUE, 0};
    const Init matrix = init == VIT_INIT_MAE ? (Init){INIT_XAVIER, 0} : (Init){INIT_TRUNC_NORMAL, 0.02};
    VitBlock b = {.heads = heads, .layer = n};
    b.norm1_w = declare(p, prefix, n, "norm1.weight", d, 0, one);
    b.norm1_b = declare(p, prefix, n, "norm1.bias", d, 0, zero);
    b.qkv_w = declare(p, prefix, n, "attn.qkv.weight", 3 * d, d, matrix);
    b.qkv_b = declare(p, prefix, n, "attn.qkv.bias", 3 * d, 0, zero);
    b.proj_w = declare(p, prefix, n, "attn.proj.weight", d, d, matrix);
    b.proj_b = declare(p, prefix, n, "attn.proj.bias", d, 0, zero);
    b.norm2_w = declare(p, prefix, n, "norm2.weight", d, 0, one);
    b.norm2_b = declare(p, prefix, n, "norm2.bias", d, 0, zero);
    b.fc1_w = declare(p, prefix, n, "mlp.fc1.weight", 4 * d, d, matrix);
    b.fc1_b = declare(p, prefix, n, "mlp.fc1.bias", 4 * d, 0, zero);
    b.fc2_w = declare(p, prefix, n, "mlp.fc2.weight", d, 4 * d, matrix);
    b.fc2_b = declare(p, prefix, n, "mlp.fc2.bias", d, 0, zero);
    return b;
}

bool vit_declare(VitEncoder *vit, Params *p, const VitSettings *set, VitInit init, double drop_path,
                 bool without_norm, Error *e) {
    int64_t d = set->dim, side = set->patch, grid = set->image_size / side;
    int64_t cls[3] = {1, 1, d}, pos[3] = {1, 1 + grid * grid, d}, proj[4] = {d, 3, side, side};
    *vit = (VitEncoder){.image_size = set->image_size,
                        .patch = side,
                        .dim = d,
                        .depth = set->depth,
                        .heads = set->heads,
                        .grid = grid,
                        .recompute = set->recompute};
    vit->block = mem_zero((size_t)set->depth, sizeof *vit->block);
    if (!vit->block) return error_memory(e, (size_t)set->depth * sizeof *vit->block);
    bool mae = init == VIT_INIT_MAE;
    /* the default of torch's convolution; MAE re-initialises its weight, but never its bias */
    const Init conv = {INIT_UNIFORM, 1 / sqrt(3.0 * (double)(side * side))};
    vit->cls_token = params_add(p, "cls_token", 3, cls, (Init){mae ? INIT_NORMAL : INIT_TRUNC_NORMAL, 0.02});
    vit->pos_embed =
        params_add(p, "pos_embed", 3, pos, mae ? (Init){INIT_LATER, 0} : (Init){INIT_TRUNC_NORMAL, 0.02});
    vit->patch_w = params_add(p, "patch_embed.proj.weight", 4, proj, mae ? (Init){INIT_XAVIER, 0} : conv);
    vit->patch_b = params_add(p, "patch_embed.proj.bias", 1, &d, conv);
    for (int i = 0; i < set->depth; i++) {
        vit->block[i] = vit_block_declare(p, "blocks", i, d, (int)set->heads, init);
        vit->block[i].drop_path = set->depth > 1 ? drop_path * i / (double)(set->depth - 1) : 0;
    }
    if (without_norm) return true;
    vit->norm_w = params_add(p, "norm.weight", 1, &d, (Init){INIT_VALUE, 1});
    vit->norm_b = params_add(p, "norm.bias", 1, &d, (Init){INIT_VALUE, 0});
    return true;
}

void vit_free(VitEncoder *vit) {
    mem_free(vit->block);
}

Tensor *vit_norm(Step *s, Tensor *x, Tensor *w, Tensor *b) {
    return op_layernorm(s, x, w, b, EPS);
}

/* x = x + DP(Attn(LN1(x)));  x = x + DP(MLP(LN2(x))) */
static Tensor *block_run(Step *s, void *self, Tensor *x) {
    const VitBlock *b = self;
    Scope scope = scope_open(s);
    Tensor *h = vit_norm(s, x, b->norm1_w, b->norm1_b);
    h = op_linear(s, h, b->qkv_w, b->qkv_b, ACT_NONE);         /* [B, N, 3D] */
    h = op_attention(s, h, NULL, NULL, NULL, b->heads, false); /* [B, N, D] */
    h = op_linear(s, h, b->proj_w, b->proj_b, ACT_NONE);
    x = op_add(s, x, op_drop_path(s, h, b->drop_path, 2 * b->layer));
    h = vit_norm(s, x, b->norm2_w, b->norm2_b);
    h = op_linear(s, h, b->fc1_w, b->fc1_b, ACT_GELU); /* [B, N, 4D] */
    h = op_linear(s, h, b->fc2_w, b->fc2_b, ACT_NONE);
    x = op_add(s, x, op_drop_path(s, h, b->drop_path, 2 * b->layer + 1));
    return scope_close(s, scope, x);
}

Tensor *vit_block(Step *s, const VitBlock *b, Tensor *x, bool recompute) {
    return recompute ? step_recompute(s, block_run, (void *)b, x) : block_run(s, (void *)b, x);
}

void vit_places_like(Tensor like[2], int64_t batch, int64_t count) {
    for (int k = 0; k < 2; k++) like[k] = (Tensor){.dtype = DT_I32, .ndim = 2, .dim = {batch, 1 + count}};
}

void vit_places_fill(Tensor *order, Tensor *place, int64_t b, const int32_t *keep) {
    int64_t tokens = order->dim[1];
    for (int64_t t = 0; t < tokens; t++) {
        tensor_i32(order)[b * tokens + t] = (int32_t)(t - 1); /* -1: the class token */
        if (place)
            tensor_i32(place)[b * tokens + t] = t == 0 ? 0 : 1 + (keep ? keep[t - 1] : (int32_t)(t - 1));
    }
}

static void fill_all(const Step *s, const void *self, Tensor *const *host) {
    (void)s;
    (void)self;
    for (int64_t b = 0; b < host[0]->dim[0]; b++) vit_places_fill(host[0], NULL, b, NULL);
}

VitPlaces vit_places_all(Step *s, const VitEncoder *vit, int64_t batch) {
    VitPlaces at = {0};
    Tensor like[2];
    vit_places_like(like, batch, vit->grid * vit->grid);
    step_given(s, 1, &at.order, like, fill_all, NULL);
    return at;
}

Tensor *vit_tokens(Step *s, const VitEncoder *vit, Tensor *image, Tensor *index, VitPlaces at) {
    Scope scope = scope_open(s);
    Tensor *x = op_patchify(s, image, index, (int)vit->patch, PATCH_CHANNEL_FIRST);
    x = op_linear(s, x, vit->patch_w, vit->patch_b, ACT_NONE); /* [B, T, D] */
    x = op_gather(s, x, at.order, vit->cls_token);             /* [B, 1 + T, D] */
    x = op_add(s, x, at.place ? op_gather(s, vit->pos_embed, at.place, NULL) : vit->pos_embed);
    return scope_close(s, scope, x);
}

Tensor *vit_blocks(Step *s, const VitEncoder *vit, Tensor *x) {
    for (int i = 0; i < vit->depth; i++) x = vit_block(s, &vit->block[i], x, vit->recompute);
    return x;
}

void vit_sincos(Tensor *pos_embed, int64_t grid) {
    int64_t d = tensor_last(pos_embed), quarter = d / 4;
    real *table = tensor_real(pos_embed);
    memset(table, 0, (size_t)d * sizeof *table);
    for (int64_t y = 0; y < grid; y++)
        for (int64_t x = 0; x < grid; x++) {
            real *row = table + (1 + y * grid + x) * d;
            for (int64_t k = 0; k < quarter; k++) {
                double w = 1 / pow(10000.0, (double)k / (double)quarter);
                row[k] = (real)sin((double)x * w);
                row[quarter + k] = (real)cos((double)x * w);
                row[2 * quarter + k] = (real)sin((double)y * w);
                row[3 * quarter + k] = (real)cos((double)y * w);
            }
        }
}

/* Weight of a tap at distance t of the cubic convolution kernel with a = -0.75 (Keys 1981). */
static double cubic(double t) {
    const double a = -0.75;
    t = fabs(t);
    if (t <= 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
    if (t < 2) return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a;
    return 0;
}

static int64_t clamp(int64_t i, int64_t n) {
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

void vit_resize_grid(const real *from, int64_t g, real *to, int64_t h, int64_t d) {
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < h; x++) {
            double sy = ((double)y + 0.5) * (double)g / (double)h - 0.5,
                   sx = ((double)x + 0.5) * (double)g / (double)h - 0.5;
            int64_t y0 = (int64_t)floor(sy), x0 = (int64_t)floor(sx);
            real *row = to + (y * h + x) * d;
            for (int64_t k = 0; k < d; k++) {
                double sum = 0;
                for (int64_t i = y0 - 1; i <= y0 + 2; i++)
                    for (int64_t j = x0 - 1; j <= x0 + 2; j++)
                        sum += cubic(sy - (double)i) * cubic(sx - (double)j) *
                               (double)from[(clamp(i, g) * g + clamp(j, g)) * d + k];
                row[k] = (real)sum;
            }
        }
}

void vit_resize_positions(const Tensor *from, Tensor *to) {
    int64_t d = tensor_last(from), g = (int64_t)llround(sqrt((double)(from->dim[1] - 1)));
    int64_t h = (int64_t)llround(sqrt((double)(to->dim[1] - 1)));
    memcpy(tensor_real(to), tensor_real(from), (size_t)d * sizeof(real));
    vit_resize_grid(tensor_real(from) + d, g, tensor_real(to) + d, h, d);
}
