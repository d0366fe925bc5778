/* A classifier's norm_head and head (1000 classes) stand in the checkpoints too, and nothing reads them: they
 * are kept, at rest, so that what is saved loads into the reference's class. */
#include "segment/tiny_vit.h"

#include "core/ops.h"
#include "segment/moves.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { STAGES = 4, MOST_BLOCKS = 6, HEAD_WIDTH = 32, EXPAND = 4 };

static const struct {
    int64_t dim, depth, heads, window, shrink; /* shrink: how much smaller than the image the grid is */
} stages[STAGES] = {
    {64, 2, 2, 7, 4}, /* the first one's blocks convolve */
    {128, 2, 4, 7, 8},
    {160, 6, 5, 14, 16},
    {320, 2, 10, 7, 16},
};

/* Convolution without bias, batch norm. */
typedef struct ConvBn {
    Tensor *w, *g, *b, *mean, *var, *count;
    int stride, pad, groups;
} ConvBn;

/* Mobile inverted bottleneck (Sandler et al. 2018). */
typedef struct MbConv {
    ConvBn conv[3];
    double drop_path;
    int number; /* among all blocks */
} MbConv;

typedef struct TinyBlock {
    Tensor *norm_w, *norm_b, *qkv_w, *qkv_b, *proj_w, *proj_b;
    Tensor *bias; /* [heads, window^2]: one value a distance (rows, columns) */
    Tensor *mlp_norm_w, *mlp_norm_b, *fc1_w, *fc1_b, *fc2_w, *fc2_b;
    ConvBn local;
    int64_t grid, window, heads, dim;
    double drop_path;
    int number;
} TinyBlock;

struct TinyVitInner {
    ConvBn patch[2];
    MbConv first[MOST_BLOCKS];
    TinyBlock block[STAGES][MOST_BLOCKS];
    ConvBn merge[STAGES - 1][3];
    SamNeck neck;
    int64_t grid[STAGES];
    bool recompute;
};

static Tensor *declare(Params *p, const char *prefix, const char *name, int ndim, const int64_t *dim,
                       Init init) {
    char full[96];
    snprintf(full, sizeof full, "image_encoder.%s.%s", prefix, name);
    return params_add(p, full, ndim, dim, init);
}

static Tensor *declare_buffer(Params *p, const char *prefix, const char *name, int ndim, int64_t dim,
                              double value) {
    Tensor *t = declare(p, prefix, name, ndim, &dim, (Init){INIT_VALUE, value});
    params_of(t)->buffer = params_of(t)->frozen = true;
    return t;
}

/* A square window of k; gain: what the norm's gain begins with. */
static ConvBn declare_conv(Params *p, const char *prefix, int64_t in, int64_t out, int64_t k, int stride,
                           int64_t groups, double gain) {
    int64_t dim[4] = {out, in / groups, k, k};
    double fan_in = (double)(in / groups * k * k);
    return (ConvBn){
        .w = declare(p, prefix, "c.weight", 4, dim, (Init){INIT_UNIFORM, 1 / sqrt(fan_in)}),
        .g = declare(p, prefix, "bn.weight", 1, &out, (Init){INIT_VALUE, gain}),
        .b = declare(p, prefix, "bn.bias", 1, &out, (Init){INIT_VALUE, 0}),
        .mean = declare_buffer(p, prefix, "bn.running_mean", 1, out, 0),
        .var = declare_buffer(p, prefix, "bn.running_var", 1, out, 1),
        .count = declare_buffer(p, prefix, "bn.num_batches_tracked", 0, 1, 0),
        .stride = stride,
        .pad = (int)k / 2,
        .groups = (int)groups,
    };
}

static MbConv declare_mbconv(Params *p, const char *prefix, int64_t dim) {
    char name[64];
    int64_t wide = EXPAND * dim;
    MbConv m = {0};
    snprintf(name, sizeof name, "%s.conv1", prefix);
    m.conv[0] = declare_conv(p, name, dim, wide, 1, 1, 1, 1);
    snprintf(name, sizeof name, "%s.conv2", prefix);
    m.conv[1] = declare_conv(p, name, wide, wide, 3, 1, wide, 1);
    snprintf(name, sizeof name, "%s.conv3", prefix);
    m.conv[2] = declare_conv(p, name, wide, dim, 1, 1, 1, 0);
    return m;
}

static TinyBlock declare_block(Params *p, const char *prefix, int stage) {
    const Init one = {INIT_VALUE, 1}, zero = {INIT_VALUE, 0}, matrix = {INIT_TRUNC_NORMAL, 0.02};
    int64_t d = stages[stage].dim, window = stages[stage].window, heads = stages[stage].heads;
    int64_t wide = EXPAND * d, three = 3 * d;
    int64_t qkv[2] = {three, d}, proj[2] = {d, d}, fc1[2] = {wide, d}, fc2[2] = {d, wide},
            bias[2] = {heads, window * window};
    char name[64];
    TinyBlock b = {.dim = d, .window = window, .heads = heads};
    b.bias = declare(p, prefix, "attn.attention_biases", 2, bias, zero);
    params_of(b.bias)->decay = false;
    b.norm_w = declare(p, prefix, "attn.norm.weight", 1, &d, one);
    b.norm_b = declare(p, prefix, "attn.norm.bias", 1, &d, zero);
    b.qkv_w = declare(p, prefix, "attn.qkv.weight", 2, qkv, matrix);
    b.qkv_b = declare(p, prefix, "attn.qkv.bias", 1, &three, zero);
    b.proj_w = declare(p, prefix, "attn.proj.weight", 2, proj, matrix);
    b.proj_b = declare(p, prefix, "attn.proj.bias", 1, &d, zero);
    b.mlp_norm_w = declare(p, prefix, "mlp.norm.weight", 1, &d, one);
    b.mlp_norm_b = declare(p, prefix, "mlp.norm.bias", 1, &d, zero);
    b.fc1_w = declare(p, prefix, "mlp.fc1.weight", 2, fc1, matrix);
    b.fc1_b = declare(p, prefix, "mlp.fc1.bias", 1, &wide, zero);
    b.fc2_w = declare(p, prefix, "mlp.fc2.weight", 2, fc2, matrix);
    b.fc2_b = declare(p, prefix, "mlp.fc2.bias", 1, &d, zero);
    snprintf(name, sizeof name, "%s.local_conv", prefix);
    b.local = declare_conv(p, name, d, d, 3, 1, d, 1);
    return b;
}

/* Halves the grid where the next stage has a smaller one. */
static void declare_merge(ConvBn merge[3], Params *p, int stage) {
    int64_t in = stages[stage].dim, out = stages[stage + 1].dim;
    int stride = (int)(stages[stage + 1].shrink / stages[stage].shrink);
    char name[64];
    for (int k = 0; k < 3; k++) {
        snprintf(name, sizeof name, "layers.%d.downsample.conv%d", stage, k + 1);
        merge[k] = k == 1 ? declare_conv(p, name, out, out, 3, stride, out, 1)
                          : declare_conv(p, name, k ? out : in, out, 1, 1, 1, 1);
    }
}

/* norm_head and head */
static void declare_rest(Params *p) {
    enum { CLASSES = 1000 };
    const Init one = {INIT_VALUE, 1}, zero = {INIT_VALUE, 0};
    int64_t d = stages[STAGES - 1].dim, classes = CLASSES, head[2] = {CLASSES, d};
    Tensor *rest[] = {
        declare(p, "norm_head", "weight", 1, &d, one),
        declare(p, "norm_head", "bias", 1, &d, zero),
        declare(p, "head", "weight", 2, head, (Init){INIT_TRUNC_NORMAL, 0.02}),
        declare(p, "head", "bias", 1, &classes, zero),
    };
    for (int i = 0; i < COUNT(rest); i++) params_of(rest[i])->frozen = true;
}

bool tiny_vit_declare(TinyVit *v, Params *p, const SamSettings *set, Error *e) {
    struct TinyVitInner *in = v->inner = mem_zero(1, sizeof *in);
    if (!in) return error_memory(e, sizeof *in);
    char name[48];
    int number = 0;
    in->recompute = set->recompute;
    in->patch[0] = declare_conv(p, "patch_embed.seq.0", 3, stages[0].dim / 2, 3, 2, 1, 1);
    in->patch[1] = declare_conv(p, "patch_embed.seq.2", stages[0].dim / 2, stages[0].dim, 3, 2, 1, 1);
    for (int i = 0; i < STAGES; i++) {
        in->grid[i] = set->image_size / stages[i].shrink;
        for (int k = 0; k < stages[i].depth; k++, number++) {
            double drop_path = set->drop_path * number / (TINY_VIT_BLOCKS - 1);
            snprintf(name, sizeof name, "layers.%d.blocks.%d", i, k);
            if (i == 0) {
                in->first[k] = declare_mbconv(p, name, stages[0].dim);
                in->first[k].drop_path = drop_path;
                in->first[k].number = number;
                continue;
            }
            in->block[i][k] = declare_block(p, name, i);
            in->block[i][k].grid = in->grid[i];
            in->block[i][k].drop_path = drop_path;
            in->block[i][k].number = number;
        }
        if (i < STAGES - 1) declare_merge(in->merge[i], p, i);
    }
    declare_rest(p);
    in->neck = sam_neck_declare(p, stages[STAGES - 1].dim);
    return true;
}

void tiny_vit_free(TinyVit *v) {
    mem_free(v->inner);
    v->inner = NULL;
}

static Tensor *conv_run(Step *s, const ConvBn *c, Tensor *x, bool gelu) {
    x = op_conv2d(s, x, c->w, NULL, c->stride, c->pad, c->groups);
    x = op_batch_norm(s, x, c->g, c->b, c->mean, c->var, c->count, 0.1, 1e-5);
    return gelu ? op_pointwise(s, x, POINT_GELU) : x;
}

static Tensor *mbconv_run(Step *s, void *self, Tensor *x) {
    const MbConv *m = self;
    Scope scope = scope_open(s);
    Tensor *h = conv_run(s, &m->conv[0], x, true); /* [B, 4D, g, g] */
    h = conv_run(s, &m->conv[1], h, true);
    h = conv_run(s, &m->conv[2], h, false); /* [B, D, g, g] */
    x = op_add(s, x, op_drop_path(s, h, m->drop_path, 2 * m->number));
    return scope_close(s, scope, op_pointwise(s, x, POINT_GELU));
}

static Tensor *merge_run(Step *s, const ConvBn merge[3], Tensor *x) {
    Scope scope = scope_open(s);
    for (int k = 0; k < 3; k++) x = conv_run(s, &merge[k], x, k < 2);
    return scope_close(s, scope, x);
}

/* host: where each place of each window comes from, [B, windows w w], -1 beyond the grid; where each place of
 * the grid went, [B, g g]; which distance each pair of places has, [heads, w^4]. */
static void fill_windows(const Step *s, const void *self, Tensor *const *host) {
    (void)s;
    const TinyBlock *b = self;
    int64_t g = b->grid, w = b->window, across = (g + w - 1) / w, places = across * across * w * w;
    for (int64_t n = 0; n < host[0]->dim[0]; n++)
        for (int64_t y = 0; y < across * w; y++)
            for (int64_t x = 0; x < across * w; x++) {
                int64_t at = ((y / w * across + x / w) * w + y % w) * w + x % w;
                bool inside = y < g && x < g;
                tensor_i32(host[0])[n * places + at] = inside ? (int32_t)(y * g + x) : -1;
                if (inside) tensor_i32(host[1])[(n * g + y) * g + x] = (int32_t)at;
            }
    int64_t pairs = w * w * w * w;
    for (int64_t at = 0; at < b->heads * pairs; at++) {
        int64_t from = at % pairs / (w * w), to = at % (w * w);
        tensor_i32(host[2])[at] = (int32_t)(labs(from / w - to / w) * w + labs(from % w - to % w));
    }
}

/* x [B, g g, D]. A place beyond the grid is 0 before the norm, and is attended to. */
static Tensor *attend(Step *s, const TinyBlock *b, Tensor *x) {
    Scope scope = scope_open(s);
    int64_t batch = x->dim[0], w = b->window, across = (b->grid + w - 1) / w, n = w * w;
    Tensor like[3] = {{.dtype = DT_I32, .ndim = 2, .dim = {batch, across * across * n}},
                      {.dtype = DT_I32, .ndim = 2, .dim = {batch, b->grid * b->grid}},
                      {.dtype = DT_I32, .ndim = 2, .dim = {b->heads, n * n}}};
    int64_t windows[3] = {batch * across * across, n, b->dim},
            split[5] = {windows[0], n, b->heads, 3, HEAD_WIDTH}, packed[3] = {windows[0], n, 3 * b->dim},
            table[3] = {b->heads, n, 1}, bias_dim[4] = {1, b->heads, n, n},
            whole[3] = {batch, across * across * n, b->dim};
    Tensor *index[3];
    step_given(s, 3, index, like, fill_windows, b);
    Tensor *bias = op_gather(s, op_reshape(s, b->bias, 3, table), index[2], NULL);
    bias = op_reshape(s, bias, 4, bias_dim);
    Tensor *h = op_reshape(s, op_gather(s, x, index[0], NULL), 3, windows);
    h = op_layernorm(s, h, b->norm_w, b->norm_b, 1e-5);
    h = op_linear(s, h, b->qkv_w, b->qkv_b, ACT_NONE); /* head by head its query, key, value */
    h = op_permute(s, op_reshape(s, h, 5, split), (const int[]){0, 1, 3, 2, 4});
    h = op_attention(s, op_reshape(s, h, 3, packed), NULL, NULL, bias, (int)b->heads, false);
    h = op_linear(s, h, b->proj_w, b->proj_b, ACT_NONE);
    h = op_gather(s, op_reshape(s, h, 3, whole), index[1], NULL);
    return scope_close(s, scope, h);
}

/* x [B, g g, D]: x = Local(x + DP(Attn(x)));  x = x + DP(MLP(x)) */
static Tensor *block_run(Step *s, void *self, Tensor *x) {
    const TinyBlock *b = self;
    Scope scope = scope_open(s);
    x = op_add(s, x, op_drop_path(s, attend(s, b, x), b->drop_path, 2 * b->number));
    x = tokens_of(s, conv_run(s, &b->local, picture_of(s, x, b->grid), false));
    Tensor *h = op_layernorm(s, x, b->mlp_norm_w, b->mlp_norm_b, 1e-5);
    h = op_linear(s, h, b->fc1_w, b->fc1_b, ACT_GELU); /* [B, g g, 4D] */
    h = op_linear(s, h, b->fc2_w, b->fc2_b, ACT_NONE);
    x = op_add(s, x, op_drop_path(s, h, b->drop_path, 2 * b->number + 1));
    return scope_close(s, scope, x);
}

static Tensor *run(Step *s, const struct TinyVitInner *in, StepFn f, const void *block, Tensor *x) {
    return in->recompute ? step_recompute(s, f, (void *)block, x) : f(s, (void *)block, x);
}

Tensor *tiny_vit_run(Step *s, const TinyVit *v, Tensor *image, Tensor **early, const SamWatch *watch) {
    const struct TinyVitInner *in = v->inner;
    Scope scope = scope_open(s);
    Tensor *x = conv_run(s, &in->patch[0], image, true);
    x = scope_close(s, scope, conv_run(s, &in->patch[1], x, false)); /* [B, 64, S / 4, S / 4] */
    for (int k = 0; k < stages[0].depth; k++) x = run(s, in, mbconv_run, &in->first[k], x);
    for (int i = 1; i < STAGES; i++) {
        if (watch && !watch->tell(watch->self, (double)i / STAGES)) return NULL;
        x = merge_run(s, in->merge[i - 1], x);
        if (i == 2 && early) *early = x;
        scope = scope_open(s);
        x = tokens_of(s, x);
        for (int k = 0; k < stages[i].depth; k++) x = run(s, in, block_run, &in->block[i][k], x);
        x = scope_close(s, scope, i < STAGES - 1 ? picture_of(s, x, in->grid[i]) : x);
    }
    return sam_neck_run(s, &in->neck, x, in->grid[STAGES - 1]);
}
