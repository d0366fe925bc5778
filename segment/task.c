#include "segment/task.h"

#include "core/ops.h"
#include "mim/vit.h"
#include "segment/prompts.h"
#include "segment/recognise.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

RECIPE_TABLE(segment_table, "Segmentation", SegmentSettings, SEGMENT_FIELDS);

/* ---- making ---- */

static bool begins(const char *name, const char *with) {
    return strncmp(name, with, strlen(with)) == 0;
}

/* Layer-wise decay's number of a parameter (ViTDet's get_vit_lr_decay_rate): 0 what comes before the blocks,
 * then block by block, then all else. */
static int layer_id(const char *name, const SamEncoder *vit, bool tiny) {
    static const int before[] = {0, 2, 4, 10}; /* blocks of TinyViT before each of its layers */
    int depth = tiny ? TINY_VIT_BLOCKS : (int)vit->depth, layer, block;
    if (begins(name, "image_encoder.pos_embed") || begins(name, "image_encoder.patch_embed")) return 0;
    if (begins(name, "image_encoder.blocks.")) return atoi(name + strlen("image_encoder.blocks.")) + 1;
    if (!tiny || !begins(name, "image_encoder.layers.")) return depth + 1;
    name += strlen("image_encoder.layers.");
    layer = atoi(name);
    if (!begins(name + 1, ".blocks.")) return before[layer + 1]; /* what makes the grid smaller */
    block = atoi(name + strlen("0.blocks."));
    return before[layer] + block + 1;
}

static void params_mark(Segment *m, Params *p) {
    bool tiny = m->sam.set.size == SAM_TINY;
    for (int i = 0; i < p->count; i++) {
        Param *q = p->list[i];
        bool hq = mask_decoder_hq(q->name), encoder = begins(q->name, "image_encoder.");
        q->layer = layer_id(q->name, &m->sam.vit, tiny);
        if (strstr(q->name, "pos_embed") || strstr(q->name, "rel_pos")) q->decay = false;
        if (m->set.train == SEGMENT_HQ)
            q->frozen |= !hq;
        else
            q->frozen |= hq || (encoder && m->set.train == SEGMENT_DECODER);
    }
}

static bool settings_check(const Segment *m, const SamSettings *set, Error *e) {
    if (m->set.train == SEGMENT_HQ && !set->hq)
        return error_set(e, ERROR_VALUE,
                         "segment.train \"hq\" trains what HQ-SAM adds: set model.hq to true");
    if (m->set.eval_mask == EVAL_HQ && !set->hq)
        return error_set(e, ERROR_VALUE,
                         "segment.eval_mask \"hq\" judges what HQ-SAM adds: set model.hq to true");
    if (m->set.loss_side && set->image_size % m->set.loss_side)
        return error_set(e, ERROR_VALUE,
                         "segment.loss_side %" PRId64 " does not divide model.image_size %" PRId64,
                         m->set.loss_side, set->image_size);
    if (m->set.train == SEGMENT_HQ && m->set.hq_box + m->set.hq_points + m->set.hq_mask <= 0)
        return error_set(e, ERROR_VALUE,
                         "segment.hq_box, hq_points and hq_mask are all 0: no prompt is left");
    return true;
}

static bool create(Task *task, Recipe *recipe, int classes, Error *e) {
    (void)classes;
    SamSettings set;
    Segment *m = mem_zero(1, sizeof *m);
    if (!m) return error_memory(e, sizeof *m);
    task->self = m;
    if (!recipe_bind(recipe, &sam_table, &set, e) || !recipe_bind(recipe, &segment_table, &m->set, e) ||
        !settings_check(m, &set, e))
        return false;
    m->recompute = set.recompute;
    set.recompute &= m->set.train == SEGMENT_ALL; /* an encoder at rest leaves no tape */
    if (!sam_declare(&m->sam, &task->params, &set, e)) return false;
    m->low = 4 * m->sam.grid;
    m->loss_side = m->set.loss_side ? m->set.loss_side : m->low;
    size_t bytes = (size_t)(m->low * m->low / 64) * sizeof *m->small;
    if (!(m->small = mem_get(bytes))) return error_memory(e, bytes);
    params_mark(m, &task->params);
    task->image_size = (int)m->sam.side;
    task->layers = (set.size == SAM_TINY ? TINY_VIT_BLOCKS : (int)m->sam.vit.depth) + 1;
    task->sums_ranks = set.size == SAM_TINY && m->set.train == SEGMENT_ALL;
    task->varies = m->set.train == SEGMENT_HQ || m->set.rounds >= 5;
    return true;
}

static void destroy(Task *task) {
    Segment *m = task->self;
    sam_free(&m->sam);
    mem_free(m->order.object);
    mem_free(m->small);
    mem_free(m);
    task->self = NULL;
}

static void prepare(Task *task, bool initialised) {
    (void)task;
    (void)initialised;
}

/* rel [n, d] -> [m, d]: linear along the first axis, as torch's interpolate (align_corners = False). */
static void relative_resize(const Tensor *from, Tensor *to) {
    int64_t n = from->dim[0], m = to->dim[0], d = from->dim[1];
    for (int64_t i = 0; i < m; i++) {
        double at = ((double)i + 0.5) * (double)n / (double)m - 0.5;
        if (at < 0) at = 0;
        int64_t first = (int64_t)at, next = first + 1 < n ? first + 1 : first;
        double part = at - (double)first;
        for (int64_t k = 0; k < d; k++)
            tensor_real(to)[i * d + k] = (real)((1 - part) * (double)tensor_real(from)[first * d + k] +
                                                part * (double)tensor_real(from)[next * d + k]);
    }
}

/* The encoder begins with a masked autoencoder's (Kirillov et al. 2023, A): the same blocks under other
 * names. */
static bool foreign(const char *name, char other[96]) {
    static const char *const prefix = "image_encoder.";
    if (!begins(name, prefix)) return false;
    name += strlen(prefix);
    const char *mlp = strstr(name, ".mlp.lin");
    if (mlp)
        snprintf(other, 96, "%.*s.mlp.fc%s", (int)(mlp - name), name, mlp + strlen(".mlp.lin"));
    else
        snprintf(other, 96, "%s", name);
    return true;
}

/* Its positions: a row for the class token, then the grid's. */
static bool positions_of_mae(const Tensor *from, Tensor *to) {
    int64_t d = to->dim[3], g = from->ndim == 3 ? (int64_t)llround(sqrt((double)(from->dim[1] - 1))) : 0;
    if (g < 1 || from->dim[0] != 1 || g * g + 1 != from->dim[1] || from->dim[2] != d) return false;
    vit_resize_grid(tensor_real(from) + d, g, tensor_real(to), to->dim[1], d);
    return true;
}

/* From a model of another size of image: positions are interpolated. */
static Adapt adapt(Task *task, const char *name, const Tensor *from, Param *to) {
    (void)task;
    Tensor *t = &to->tensor;
    if (tensor_same_shape(from, t)) {
        memcpy(t->data, from->data, tensor_bytes(t));
        return ADAPT_TAKEN;
    }
    if (strstr(name, "rel_pos_") && from->ndim == 2 && from->dim[1] == t->dim[1] && from->dim[0] > 0) {
        relative_resize(from, t);
        return ADAPT_TAKEN;
    }
    if (strcmp(name, "image_encoder.pos_embed") == 0 && from->ndim == 4 && from->dim[0] == 1 &&
        t->ndim == 4 && from->dim[1] > 0 && from->dim[1] == from->dim[2] && from->dim[3] == t->dim[3]) {
        vit_resize_grid(tensor_real(from), from->dim[1], tensor_real(t), t->dim[1], t->dim[3]);
        return ADAPT_TAKEN;
    }
    if (strcmp(name, "image_encoder.pos_embed") == 0 && t->ndim == 4 && positions_of_mae(from, t))
        return ADAPT_TAKEN;
    /* a masked autoencoder of other patches: what does not fit begins anew */
    return strcmp(name, from->name) != 0 ? ADAPT_LEFT : ADAPT_REFUSED;
}

/* ---- running ---- */

void segment_batch(Step *s, const Batch *batch) {
    if (!batch->image.device) s->batch = batch; /* else whoever moved it keeps the host's */
}

int64_t segment_each(const Task *task, const Batch *batch) {
    return batch->each ? batch->each : task->masks > 0 ? task->masks : 1;
}

Tensor *segment_sized(Step *s, Tensor *x, int64_t side) {
    return x->dim[2] == side ? x : op_interpolate(s, x, INTERPOLATE_BILINEAR, side, side);
}

SamEmbedding segment_embed(Step *s, const Segment *m, const Batch *batch) {
    bool rests = m->set.train != SEGMENT_ALL, training = s->training, was = s->recording;
    /* HQ's own part of the embedding trains; the encoder before it is frozen, so that it leaves no tape */
    if (m->set.train == SEGMENT_DECODER && !s->want_image) step_no_grad(s);
    if (rests) s->training = false;
    SamEmbedding on = sam_embed(s, &m->sam, task_image(s, batch), NULL);
    step_grad_on(s, was);
    s->training = training;
    return on;
}

static Tensor *loss(Task *task, Step *s, const Batch *batch, Tensor **each) {
    const Segment *m = task->self;
    return m->set.train == SEGMENT_HQ ? segment_loss_hq(task, s, batch, each)
                                      : segment_loss_sam(task, s, batch, each);
}

/* host: point, label, image: a box around the first mask of each image, or around all of it. */
static void box_fill(const Step *s, const void *self, Tensor *const *host) {
    const Segment *m = self;
    int64_t side = m->sam.side;
    for (int64_t b = 0; b < host[2]->dim[1]; b++) {
        PromptBox box = {0};
        if (s->batch->each) box = prompt_box(prompt_mask(s, m, b * s->batch->each), side, 128);
        if (box.area == 0) box = (PromptBox){0, 0, 0, side - 1, side - 1};
        prompt_point(host[0], host[1], 2 * b, (double)box.x0, (double)box.y0, 2, side);
        prompt_point(host[0], host[1], 2 * b + 1, (double)box.x1, (double)box.y1, 3, side);
        tensor_i32(host[2])[b] = (int32_t)b;
    }
}

/* Logits of the mask in a box: [B, 4g 4g]. */
static Tensor *outputs(Task *task, Step *s, const Batch *batch) {
    Segment *m = task->self;
    int64_t n = batch->n;
    const Tensor like[3] = {{.dtype = DT_F32, .ndim = 3, .dim = {n, 2, 3}},
                            {.dtype = DT_I32, .ndim = 2, .dim = {n, 2}},
                            {.dtype = DT_I32, .ndim = 2, .dim = {1, n}}};
    Tensor *t[3];
    segment_batch(s, batch);
    SamEmbedding on = segment_embed(s, m, batch);
    step_given(s, 3, t, like, box_fill, m);
    SamAnswer a = sam_answer(s, &m->sam, &on, t[2], &(SamPrompt){.point = t[0], .label = t[1]});
    Tensor *x = op_slice(s, a.mask, 1, 0, 1);
    if (a.fine) x = op_add(s, x, a.fine);
    return op_reshape(s, x, 2, (int64_t[]){n, m->low * m->low});
}

/* Each pixel is inside or not: KL of the two, BCE less the entropy of `to`. */
static Tensor *distance(Task *task, Step *s, Tensor *x, Tensor *to, double temperature, Tensor **each) {
    (void)task;
    double square = temperature * temperature;
    bool was = step_no_grad(s);
    Tensor *scaled = op_scale(s, f32_of(s, to), 1 / temperature, 0);
    Tensor *p = op_pointwise(s, scaled, POINT_SIGMOID), *own = op_mask_loss(s, scaled, p, MASK_BCE, 0, 0);
    step_grad_on(s, was);
    Tensor *cross = op_mask_loss(s, op_scale(s, f32_of(s, x), 1 / temperature, 0), p, MASK_BCE, 0, 0);
    Tensor *d = op_scale(s, op_arith(s, cross, own, ARITH_SUB), square, 0);
    if (each) *each = d;
    return op_reduce(s, d, 0, 1, REDUCE_MEAN);
}

/* The same shape elsewhere: each mask goes round the square, by a quarter to three quarters of a side in both
 * directions. */
static void relabel(Task *task, Step *s, const Batch *batch, const TaskRelabel *draw, Batch *out) {
    int64_t side = task->image_size, square = side * side, quarter = side / 4;
    uint8_t *goal = step_block(s, (size_t)(batch->n * batch->each * square));
    *out = *batch;
    out->goal_mask = goal;
    for (int64_t o = 0; o < (int64_t)batch->n * batch->each; o++) {
        Rng r = rng_sub(rng_open(draw->seed, RNG_UNLEARN, draw->round, (uint64_t)batch->id[o / batch->each]),
                        (uint32_t)(o % batch->each));
        int64_t down = quarter + (int64_t)rng_below(&r, (uint64_t)(2 * quarter + 1)),
                right = quarter + (int64_t)rng_below(&r, (uint64_t)(2 * quarter + 1));
        const uint8_t *from = batch->mask + o * square;
        for (int64_t y = 0; y < side; y++) {
            uint8_t *to = goal + o * square + (y + down) % side * side;
            memcpy(to + right, from + y * side, (size_t)(side - right));
            memcpy(to, from + (y + 1) * side - right, (size_t)right);
        }
    }
}

/* The mean of the image's embedding over the grid, [B, 256]. */
static Tensor *features(Task *task, Step *s, const Batch *batch) {
    const Segment *m = task->self;
    Scope scope = scope_open(s);
    SamEmbedding on = segment_embed(s, m, batch);
    return scope_close(s, scope, op_reduce(s, on.image, 2, 2, REDUCE_MEAN));
}

const TaskClass segment_class = {
    .name = "segment",
    .tables = {&sam_table, &segment_table},
    .recognise = sam_recognise,
    .create = create,
    .destroy = destroy,
    .prepare = prepare,
    .adapt = adapt,
    .foreign = foreign,
    .loss = loss,
    .outputs = outputs,
    .features = features,
    .distance = distance,
    .relabel = relabel,
    .evaluate = segment_evaluate,
    .wants_masks = true,
    .draws_each = true,
    .draw = segment_draw,
};
