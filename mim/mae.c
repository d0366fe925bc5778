#include "mim/mae.h"

#include "core/comm.h"
#include "mim/mae_draw.h"
#include "mim/recognise.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

RECIPE_TABLE(mae_table, "Masked autoencoder", MaeSettings, MAE_FIELDS);

/* A patch and the number drawn for it. */
typedef struct MaeDraw {
    float noise;
    int32_t patch;
} MaeDraw;

static bool mae_resolve(MaeSettings *set, int size, Error *e) {
    static const int64_t preset[VIT_SIZES][3] = {
        [VIT_MICRO] = {96, 2, 3},  [VIT_TINY] = {128, 4, 4},   [VIT_SMALL] = {256, 4, 8},
        [VIT_BASE] = {512, 8, 16}, [VIT_LARGE] = {512, 8, 16}, [VIT_HUGE] = {512, 8, 16},
    };
    if (!set->decoder_dim) set->decoder_dim = preset[size][0];
    if (!set->decoder_depth) set->decoder_depth = preset[size][1];
    if (!set->decoder_heads) set->decoder_heads = preset[size][2];
    if (set->decoder_dim % set->decoder_heads || set->decoder_dim % 4)
        return error_set(e, ERROR_VALUE,
                         "model.decoder_dim %" PRId64
                         " is not a multiple of 4 and of model.decoder_heads %" PRId64,
                         set->decoder_dim, set->decoder_heads);
    if (set->decoder_dim / set->decoder_heads > ATTENTION_WIDEST)
        return error_set(e, ERROR_VALUE,
                         "model.decoder_heads %" PRId64
                         " makes heads wider than %d; model.decoder_dim is %" PRId64,
                         set->decoder_heads, ATTENTION_WIDEST, set->decoder_dim);
    return true;
}

static bool create(Task *task, Recipe *recipe, int classes, Error *e) {
    (void)classes;
    Mae *m = mem_zero(1, sizeof *m);
    if (!m) return error_memory(e, sizeof *m);
    task->self = m;
    Params *p = &task->params;
    if (!recipe_bind(recipe, &vit_table, &m->vit_set, e) || !recipe_bind(recipe, &mae_table, &m->set, e))
        return false;
    if (!vit_resolve(&m->vit_set, e) || !mae_resolve(&m->set, m->vit_set.size, e)) return false;
    recipe_amend(recipe, &vit_table, &m->vit_set);
    recipe_amend(recipe, &mae_table, &m->set);
    if (!vit_declare(&m->vit, p, &m->vit_set, VIT_INIT_MAE, 0, false, e)) return false;
    int64_t d = m->vit.dim, w = m->set.decoder_dim, pixels = m->vit.patch * m->vit.patch * 3;
    int64_t patches = m->vit.grid * m->vit.grid;
    if ((int64_t)((double)patches * (1 - m->set.mask_ratio)) < 1)
        return error_set(e, ERROR_VALUE, "model.mask_ratio %g leaves none of %" PRId64 " patches",
                         m->set.mask_ratio, patches);
    if ((int64_t)((double)patches * (1 - m->set.mask_ratio)) == patches)
        return error_set(e, ERROR_VALUE,
                         "model.mask_ratio %g hides none of %" PRId64 " patches: nothing to learn",
                         m->set.mask_ratio, patches);
    const Init xavier = {INIT_XAVIER, 0}, zero = {INIT_VALUE, 0}, one = {INIT_VALUE, 1};
    int64_t embed[2] = {w, d}, token[3] = {1, 1, w}, pos[3] = {1, 1 + patches, w}, pred[2] = {pixels, w};
    m->decoder_embed_w = params_add(p, "decoder_embed.weight", 2, embed, xavier);
    m->decoder_embed_b = params_add(p, "decoder_embed.bias", 1, &w, zero);
    m->mask_token = params_add(p, "mask_token", 3, token, (Init){INIT_NORMAL, 0.02});
    m->decoder_pos_embed = params_add(p, "decoder_pos_embed", 3, pos, (Init){INIT_LATER, 0});
    m->draw = mem_zero((size_t)patches, sizeof *m->draw);
    m->decoder_block = mem_zero((size_t)m->set.decoder_depth, sizeof *m->decoder_block);
    if (!m->decoder_block || !m->draw)
        return error_memory(e, (size_t)m->set.decoder_depth * sizeof *m->decoder_block);
    for (int i = 0; i < m->set.decoder_depth; i++)
        m->decoder_block[i] =
            vit_block_declare(p, "decoder_blocks", i, w, (int)m->set.decoder_heads, VIT_INIT_MAE);
    m->decoder_norm_w = params_add(p, "decoder_norm.weight", 1, &w, one);
    m->decoder_norm_b = params_add(p, "decoder_norm.bias", 1, &w, zero);
    m->decoder_pred_w = params_add(p, "decoder_pred.weight", 2, pred, xavier);
    m->decoder_pred_b = params_add(p, "decoder_pred.bias", 1, &pixels, zero);
    params_of(m->vit.pos_embed)->frozen = true;
    params_of(m->decoder_pos_embed)->frozen = true;
    task->image_size = (int)m->vit.image_size;
    return true;
}

static void destroy(Task *task) {
    Mae *m = task->self;
    vit_free(&m->vit);
    mem_free(m->decoder_block);
    mem_free(m->draw);
    mem_free(m);
    task->self = NULL;
}

/* Both tables are what they are, whatever a file says: they are a function of the grid. */
static void prepare(Task *task, bool initialised) {
    (void)initialised;
    Mae *m = task->self;
    vit_sincos(m->vit.pos_embed, m->vit.grid);
    vit_sincos(m->decoder_pos_embed, m->vit.grid);
}

static Adapt adapt(Task *task, const char *name, const Tensor *from, Param *to) {
    (void)task;
    if (tensor_same_shape(from, &to->tensor)) {
        memcpy(to->tensor.data, from->data, tensor_bytes(&to->tensor));
        return ADAPT_TAKEN;
    }
    bool table = strcmp(name, "pos_embed") == 0 || strcmp(name, "decoder_pos_embed") == 0;
    return table ? ADAPT_LEFT /* prepare computes it */ : ADAPT_REFUSED;
}

/* ---- masking (3, "Simple implementation"; models_mae.py random_masking) ---- */

static int draw_order(const void *x, const void *y) {
    const MaeDraw *a = x, *b = y;
    if (a->noise != b->noise) return a->noise < b->noise ? -1 : 1;
    return (a->patch > b->patch) - (a->patch < b->patch);
}

/* The tensors of a mask, in the order in which they are given. */
enum { KEEP, RESTORE, MASK, TOKEN, PLACE, ORDER, PATCHES, MASKS };

static int64_t patches_of(const Mae *m) {
    return m->vit.grid * m->vit.grid;
}

static void mask_like(const Mae *m, int64_t batch, Tensor like[MASKS]) {
    int64_t count = patches_of(m), kept = (int64_t)((double)count * (1 - m->set.mask_ratio));
    const int64_t wide[MASKS] = {
        [KEEP] = kept, [RESTORE] = count, [MASK] = count, [ORDER] = 1 + count, [PATCHES] = count};
    for (int k = 0; k < MASKS; k++)
        like[k] = (Tensor){.dtype = k == MASK ? DT_F32 : DT_I32, .ndim = 2, .dim = {batch, wide[k]}};
    vit_places_like(&like[TOKEN], batch, kept);
}

/* Row b of all tensors, from the noise in m->draw. */
static void mask_row(const Mae *m, Tensor *const *t, int64_t b) {
    int64_t count = patches_of(m), kept = t[KEEP]->dim[1];
    int32_t *keep = tensor_i32(t[KEEP]) + b * kept, *restore = tensor_i32(t[RESTORE]) + b * count;
    int32_t *order = tensor_i32(t[ORDER]) + b * (1 + count);
    qsort(m->draw, (size_t)count, sizeof *m->draw, draw_order);
    order[0] = 0; /* the class token stays in front */
    for (int64_t i = 0; i < count; i++) {
        int32_t patch = m->draw[i].patch;
        if (i < kept) keep[i] = patch;
        restore[patch] = (int32_t)i;
        tensor_real(t[MASK])[b * count + patch] = i < kept ? 0 : 1;
        order[1 + patch] = i < kept ? (int32_t)(1 + i) : -1; /* -1: the mask token */
        tensor_i32(t[PATCHES])[b * count + i] = (int32_t)(1 + i);
    }
    vit_places_fill(t[TOKEN], t[PLACE], b, keep);
}

/* self: a noise [B, L] and the model. */
typedef struct Noised {
    const Mae *m;
    const Tensor *noise;
} Noised;

static void fill_noised(const Step *s, const void *self, Tensor *const *host) {
    (void)s;
    const Noised *n = self;
    int64_t count = patches_of(n->m);
    for (int64_t b = 0; b < host[0]->dim[0]; b++) {
        for (int64_t l = 0; l < count; l++)
            n->m->draw[l] = (MaeDraw){(float)tensor_real(n->noise)[b * count + l], (int32_t)l};
        mask_row(n->m, host, b);
    }
}

static void fill_drawn(const Step *s, const Mae *m, Tensor *const *host, RngPurpose purpose, uint32_t epoch) {
    int64_t count = patches_of(m);
    for (int64_t b = 0; b < host[0]->dim[0]; b++) {
        Rng r = rng_open(s->seed, purpose, epoch, (uint64_t)s->batch->id[b]);
        for (int64_t l = 0; l < count; l++) m->draw[l] = (MaeDraw){rng_uniformf(&r), (int32_t)l};
        mask_row(m, host, b);
    }
}

static void fill_training(const Step *s, const void *self, Tensor *const *host) {
    fill_drawn(s, self, host, RNG_MASK, s->batch->epoch);
}

static void fill_fixed(const Step *s, const void *self, Tensor *const *host) {
    fill_drawn(s, self, host, RNG_EVAL, 0);
}

static MaeMask mask_given(Step *s, const Mae *m, int64_t batch, StepFill fill, const void *self) {
    Tensor like[MASKS], *t[MASKS];
    mask_like(m, batch, like);
    step_given(s, MASKS, t, like, fill, self);
    return (MaeMask){.keep = t[KEEP],
                     .restore = t[RESTORE],
                     .mask = t[MASK],
                     .at = {t[TOKEN], t[PLACE]},
                     .order = t[ORDER],
                     .patches = t[PATCHES]};
}

MaeMask mae_mask(Step *s, const Mae *m, const Tensor *noise) {
    return mask_given(s, m, noise->dim[0], fill_noised, &(Noised){m, noise});
}

MaeMask mae_mask_drawn(Step *s, const Mae *m, const Batch *batch, bool fixed) {
    if (!batch->image.device) s->batch = batch; /* else whoever moved it keeps the host's */
    return mask_given(s, m, batch->n, fixed ? fill_fixed : fill_training, m);
}

/* ---- forward ---- */

Tensor *mae_encoder(Step *s, const Mae *m, Tensor *image, const MaeMask *mask) {
    Tensor *x = vit_tokens(s, &m->vit, image, mask->keep, mask->at); /* [B, 1 + K, D] */
    x = vit_blocks(s, &m->vit, x);
    return vit_norm(s, x, m->vit.norm_w, m->vit.norm_b);
}

Tensor *mae_decoder(Step *s, const Mae *m, Tensor *latent, const MaeMask *mask) {
    Tensor *x = op_linear(s, latent, m->decoder_embed_w, m->decoder_embed_b, ACT_NONE); /* [B, 1 + K, w] */
    x = op_gather(s, x, mask->order, m->mask_token);                                    /* [B, 1 + L, w] */
    x = op_add(s, x, m->decoder_pos_embed);
    for (int i = 0; i < m->set.decoder_depth; i++)
        x = vit_block(s, &m->decoder_block[i], x, m->vit.recompute);
    x = op_gather(s, x, mask->patches, NULL); /* [B, L, w] */
    x = vit_norm(s, x, m->decoder_norm_w, m->decoder_norm_b);
    return op_linear(s, x, m->decoder_pred_w, m->decoder_pred_b, ACT_NONE); /* [B, L, p p 3] */
}

Tensor *mae_target(Step *s, const Mae *m, Tensor *image) {
    bool was = step_no_grad(s);
    Tensor *t = op_patchify(s, image, NULL, (int)m->vit.patch, PATCH_CHANNEL_LAST);
    if (m->set.norm_pix) t = op_standardize(s, t, 1e-6);
    step_grad_on(s, was);
    return t;
}

/* Each sample's own loss [B]: the mean of its hidden patches, of which all have equally many. */
static Tensor *loss_each(Step *s, Tensor *of_patch, const MaeMask *mask) {
    int64_t hidden = mask->mask->dim[1] - mask->keep->dim[1];
    bool was = step_no_grad(s);
    Tensor *sum = op_reduce(s, op_arith(s, of_patch, mask->mask, ARITH_MUL), 1, 1, REDUCE_SUM);
    Tensor *each = op_scale(s, sum, 1 / (double)hidden, 0);
    step_grad_on(s, was);
    return each;
}

static Tensor *loss_masked(Task *task, Step *s, const Batch *batch, bool fixed, Tensor **each) {
    Mae *m = task->self;
    Scope scope = scope_open(s);
    Tensor *image = task_image(s, batch), *of_patch;
    MaeMask mask = mae_mask_drawn(s, m, batch, fixed);
    Tensor *target = mae_target(s, m, batch->goal.data ? step_input(s, &batch->goal) : image);
    Tensor *pred = mae_decoder(s, m, mae_encoder(s, m, image, &mask), &mask);
    Tensor *loss = op_mse(s, pred, target, mask.mask, &of_patch);
    if (!each) return scope_close(s, scope, loss);
    *each = loss_each(s, of_patch, &mask);
    return loss;
}

static Tensor *loss(Task *task, Step *s, const Batch *batch, Tensor **each) {
    return loss_masked(task, s, batch, batch->fixed, each);
}

static Tensor *flat(Step *s, Tensor *x) {
    int64_t dim[2] = {x->dim[0], tensor_count(x) / x->dim[0]};
    return op_reshape(s, x, 2, dim);
}

static Tensor *outputs(Task *task, Step *s, const Batch *batch) {
    Mae *m = task->self;
    MaeMask mask = mae_mask_drawn(s, m, batch, batch->fixed);
    return flat(s, mae_decoder(s, m, mae_encoder(s, m, task_image(s, batch), &mask), &mask));
}

static Tensor *latent(Task *task, Step *s, const Batch *batch) {
    Mae *m = task->self;
    MaeMask mask = mae_mask_drawn(s, m, batch, batch->fixed);
    return flat(s, mae_encoder(s, m, task_image(s, batch), &mask));
}

static Tensor *distance(Task *task, Step *s, Tensor *x, Tensor *to, double temperature, Tensor **each) {
    (void)task;
    (void)temperature;
    return op_mse(s, x, f32_of(s, to), NULL, each);
}

/* Noise: black to white in every channel, without any likeness to what is hidden. */
static void relabel(Task *task, Step *s, const Batch *batch, const TaskRelabel *draw, Batch *out) {
    int64_t side = task->image_size, plane = side * side, dim[4] = {batch->n, 3, side, side};
    Tensor *goal = step_tensor(s, DT_F32, 4, dim);
    *out = *batch;
    out->goal = (Tensor){.data = goal->data, .dtype = DT_F32, .ndim = 4, .name = "goal"};
    memcpy(out->goal.dim, dim, sizeof dim);
    for (int64_t b = 0; b < batch->n; b++) {
        Rng r = rng_open(draw->seed, RNG_UNLEARN, draw->round, (uint64_t)batch->id[b]);
        for (int64_t i = 0; i < 3 * plane; i++)
            tensor_real(goal)[b * 3 * plane + i] =
                (real)((rng_uniform(&r) - task->mean[i / plane]) / task->std[i / plane]);
    }
}

/* Mean of the patch tokens of the whole image after the norm (nothing is masked). */
static Tensor *features(Task *task, Step *s, const Batch *batch) {
    Mae *m = task->self;
    Tensor *x = vit_blocks(
        s, &m->vit, vit_tokens(s, &m->vit, task_image(s, batch), NULL, vit_places_all(s, &m->vit, batch->n)));
    return op_token_mean(s, vit_norm(s, x, m->vit.norm_w, m->vit.norm_b), 1);
}

/* This rank's part of the source: sum[0] the loss on hidden patches, each sample under one mask that never
 * changes; sum[1] samples. */
static bool evaluate_mine(Task *task, Step *s, Source *source, double sum[2], Error *e) {
    for (int64_t i = 0; i < source->steps_per_epoch; i++) {
        const Batch *batch;
        if (!source->get(source->self, i, &batch, e)) return false;
        if (batch->n == 0) continue; /* none of it could be read */
        step_begin(s);
        Tensor *each;
        loss_masked(task, s, batch, true, &each);
        each = step_host(s, each);
        for (int64_t b = 0; b < batch->n; b++) sum[0] += (double)tensor_real(each)[b];
        sum[1] += batch->n;
    }
    return true;
}

static bool evaluate(Task *task, Step *s, Source *source, Metric metric[TASK_METRICS], int *count, Error *e) {
    double sum[2] = {0};
    bool was = step_no_grad(s), training = s->training;
    s->training = false;
    bool fine = comm_agree(evaluate_mine(task, s, source, sum, e), e);
    step_grad_on(s, was);
    s->training = training;
    if (!fine) return false;
    comm_sum(sum, COUNT(sum));
    metric[0] = (Metric){"loss", sum[0] / sum[1], false};
    *count = 1;
    return sum[1] > 0 || error_set(e, ERROR_VALUE, "data.test: no image of it could be read");
}

const TaskClass mae_class = {
    .name = "mae",
    .tables = {&vit_table, &mae_table},
    .recognise = mae_recognise,
    .create = create,
    .destroy = destroy,
    .prepare = prepare,
    .adapt = adapt,
    .loss = loss,
    .outputs = outputs,
    .features = features,
    .latent = latent,
    .distance = distance,
    .relabel = relabel,
    .evaluate = evaluate,
    .reads_pixels = true,
    .draws_each = true,
    .draw = mae_draw,
};
