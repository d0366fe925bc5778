#include "mim/classify.h"

#include "core/comm.h"
#include "mim/classify_draw.h"
#include "mim/recognise.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

RECIPE_TABLE(classify_table, "Classifier", ClassifySettings, CLASSIFY_FIELDS);

/* Layer-wise decay's number of a parameter: MAE util/lr_decay.py get_layer_id_for_vit. */
static int layer_id(const char *name, int depth) {
    if (!strcmp(name, "cls_token") || !strcmp(name, "pos_embed") || !strncmp(name, "patch_embed", 11))
        return 0;
    if (!strncmp(name, "blocks.", 7)) return atoi(name + 7) + 1;
    return depth + 1;
}

static bool create(Task *task, Recipe *recipe, int classes, Error *e) {
    Classify *m = mem_zero(1, sizeof *m);
    if (!m) return error_memory(e, sizeof *m);
    task->self = m;
    Params *p = &task->params;
    if (!recipe_bind(recipe, &vit_table, &m->vit_set, e) || !recipe_bind(recipe, &classify_table, &m->set, e))
        return false;
    if (!vit_resolve(&m->vit_set, e)) return false;
    if (!m->set.classes) m->set.classes = classes;
    if (m->set.classes < 2)
        return error_set(e, ERROR_VALUE,
                         classes == 1 ? "the data has one class only: there is nothing to tell apart"
                                      : "the data has no classes: data.train must have a folder a class "
                                        "(data.layout \"folder\" or \"idx\")");
    if (classes > m->set.classes)
        return error_set(e, ERROR_VALUE, "model.classes is %" PRId64 ", but the data has %d classes",
                         m->set.classes, classes);
    recipe_amend(recipe, &vit_table, &m->vit_set);
    recipe_amend(recipe, &classify_table, &m->set);
    bool mean = m->set.pool == CLASSIFY_MEAN, probe = m->set.train == TRAIN_PROBE;
    if (!vit_declare(&m->vit, p, &m->vit_set, VIT_INIT_TIMM, m->set.drop_path, mean, e)) return false;
    int64_t d = m->vit.dim, head[2] = {m->set.classes, d}, scalar = 1;
    if (mean) {
        m->fc_norm_w = params_add(p, "fc_norm.weight", 1, &d, (Init){INIT_VALUE, 1});
        m->fc_norm_b = params_add(p, "fc_norm.bias", 1, &d, (Init){INIT_VALUE, 0});
    }
    if (probe) {
        m->bn_mean = params_add(p, "head.0.running_mean", 1, &d, (Init){INIT_VALUE, 0});
        m->bn_var = params_add(p, "head.0.running_var", 1, &d, (Init){INIT_VALUE, 1});
        m->bn_count = params_add(p, "head.0.num_batches_tracked", 0, &scalar, (Init){INIT_VALUE, 0});
    }
    m->head_w = params_add(p, probe ? "head.1.weight" : "head.weight", 2, head,
                           (Init){INIT_TRUNC_NORMAL, probe ? 0.01 : 2e-5});
    m->head_b = params_add(p, probe ? "head.1.bias" : "head.bias", 1, head, (Init){INIT_VALUE, 0});
    /* Fine-tuning trains the position table, without weight decay; so too the class token. */
    params_of(m->vit.pos_embed)->decay = params_of(m->vit.cls_token)->decay = false;
    for (int i = 0; i < p->count && probe; i++)
        p->list[i]->frozen = &p->list[i]->tensor != m->head_w && &p->list[i]->tensor != m->head_b;
    for (int i = 0; i < p->count; i++) {
        p->list[i]->layer = layer_id(p->list[i]->name, (int)m->vit.depth);
        p->list[i]->buffer = strstr(p->list[i]->name, "running_") || strstr(p->list[i]->name, "num_batches");
    }
    task->classes = (int)m->set.classes;
    task->least_batch = probe ? 2 : 1; /* its batch norm */
    task->sums_ranks = probe;
    task->layers = (int)m->vit.depth + 1;
    task->image_size = (int)m->vit.image_size;
    return true;
}

static void destroy(Task *task) {
    Classify *m = task->self;
    vit_free(&m->vit);
    mem_free(m);
    task->self = NULL;
}

static void prepare(Task *task, bool initialised) {
    (void)task;
    (void)initialised;
}

/* From a MAE or a ViT of another size of image: positions are interpolated, a head of other classes is left.
 */
static Adapt adapt(Task *task, const char *name, const Tensor *from, Param *to) {
    (void)task;
    if (tensor_same_shape(from, &to->tensor)) {
        memcpy(to->tensor.data, from->data, tensor_bytes(&to->tensor));
        return ADAPT_TAKEN;
    }
    if (strcmp(name, "pos_embed") == 0 && from->ndim == 3 && from->dim[0] == 1 && from->dim[1] > 1 &&
        tensor_last(from) == tensor_last(&to->tensor)) {
        int64_t g = (int64_t)llround(sqrt((double)(from->dim[1] - 1)));
        if (g * g + 1 != from->dim[1]) return ADAPT_REFUSED;
        vit_resize_positions(from, &to->tensor);
        return ADAPT_TAKEN;
    }
    return strncmp(name, "head.", 5) == 0 ? ADAPT_LEFT : ADAPT_REFUSED;
}

static Tensor *features(Task *task, Step *s, const Batch *batch) {
    Classify *m = task->self;
    bool frozen = m->set.train == TRAIN_PROBE, was = s->recording, training = s->training;
    if (frozen) s->training = false;
    if (frozen && !s->want_image) step_no_grad(s);
    Scope scope = scope_open(s);
    Tensor *x = vit_blocks(s, &m->vit,
                           vit_tokens(s, &m->vit, task_image(s, batch), NULL,
                                      vit_places_all(s, &m->vit, batch->n))); /* [B, 1 + L, D] */
    if (m->set.pool == CLASSIFY_MEAN) {
        x = vit_norm(s, op_token_mean(s, x, 1), m->fc_norm_w, m->fc_norm_b); /* [B, D] */
    } else {
        int64_t dim[2] = {batch->n, 1}, flat[2] = {batch->n, m->vit.dim};
        Tensor *first = step_zeros(s, DT_I32, 2, dim);
        x = vit_norm(s, op_reshape(s, op_gather(s, x, first, NULL), 2, flat), m->vit.norm_w, m->vit.norm_b);
    }
    scope_close(s, scope, x);
    if (frozen) step_grad_on(s, was), s->training = training;
    return x;
}

static Tensor *outputs(Task *task, Step *s, const Batch *batch) {
    Classify *m = task->self;
    Scope scope = scope_open(s);
    Tensor *x = features(task, s, batch);
    if (m->set.train == TRAIN_PROBE) {
        x = op_batch_norm(s, x, NULL, NULL, m->bn_mean, m->bn_var, m->bn_count, 0.1, 1e-6);
    }
    return scope_close(s, scope, op_linear(s, x, m->head_w, m->head_b, ACT_NONE)); /* [B, classes] */
}

static Tensor *labels_of(Step *s, const Batch *batch) {
    Tensor t = {.data = (void *)batch->label,
                .dtype = DT_I32,
                .ndim = 1,
                .dim = {batch->n},
                .name = "label",
                .device = batch->image.device};
    return step_input(s, &t);
}

static Tensor *loss(Task *task, Step *s, const Batch *batch, Tensor **each) {
    bool soft = batch->target.data != NULL;
    Tensor *logits = outputs(task, s, batch);
    return op_xent(s, logits, soft ? NULL : labels_of(s, batch), soft ? step_input(s, &batch->target) : NULL,
                   0, each);
}

static Tensor *distance(Task *task, Step *s, Tensor *x, Tensor *to, double temperature, Tensor **each) {
    (void)task;
    return task_distance_classes(s, x, to, temperature, each);
}

static void relabel(Task *task, Step *s, const Batch *batch, const TaskRelabel *draw, Batch *out) {
    int32_t *label = step_block(s, (size_t)batch->n * sizeof *label);
    uint64_t classes = (uint64_t)task->classes;
    *out = *batch;
    out->target.data = NULL;
    out->label = label;
    for (int64_t b = 0; b < batch->n; b++) {
        Rng r = rng_open(draw->seed, RNG_UNLEARN, draw->round, (uint64_t)batch->id[b]);
        if (draw->any || classes < 2) /* of one class none is wrong */
            label[b] = (int32_t)rng_below(&r, classes);
        else
            label[b] = (int32_t)(((uint64_t)batch->label[b] + 1 + rng_below(&r, classes - 1)) % classes);
    }
}

/* How many classes have a higher logit than the true one; of equals, the lower index is higher. */
static int64_t rank_of(const Tensor *logits, int64_t b, int32_t label) {
    int64_t n = logits->dim[1], rank = 0;
    real own = tensor_at(logits, b * n + label);
    for (int64_t k = 0; k < n; k++) {
        real z = tensor_at(logits, b * n + k);
        rank += z > own || (z == own && k < label);
    }
    return rank;
}

typedef enum { EVAL_TOP1, EVAL_TOP5, EVAL_LOSS, EVAL_SAMPLES, EVAL_SUMS } EvalSum;

/* This rank's part of the source. */
static bool evaluate_mine(Task *task, Step *s, Source *source, double sum[EVAL_SUMS], Error *e) {
    for (int64_t i = 0; i < source->steps_per_epoch; i++) {
        const Batch *batch;
        if (!source->get(source->self, i, &batch, e)) return false;
        if (batch->n == 0) continue; /* none of it could be read */
        step_begin(s);
        Tensor *logits = outputs(task, s, batch), *each;
        op_xent(s, logits, labels_of(s, batch), NULL, 0, &each);
        logits = step_host(s, logits);
        each = step_host(s, each);
        for (int64_t b = 0; b < batch->n; b++) {
            int64_t rank = rank_of(logits, b, batch->label[b]);
            sum[EVAL_TOP1] += rank < 1;
            sum[EVAL_TOP5] += rank < 5;
            sum[EVAL_LOSS] += (double)tensor_real(each)[b];
        }
        sum[EVAL_SAMPLES] += batch->n;
    }
    return true;
}

static bool evaluate(Task *task, Step *s, Source *source, Metric metric[TASK_METRICS], int *count, Error *e) {
    double sum[EVAL_SUMS] = {0};
    bool was = step_no_grad(s), training = s->training;
    s->training = false;
    bool fine = comm_agree(evaluate_mine(task, s, source, sum, e), e);
    step_grad_on(s, was);
    s->training = training;
    if (!fine) return false;
    comm_sum(sum, COUNT(sum));
    double n = sum[EVAL_SAMPLES];
    metric[0] = (Metric){"top1", 100 * sum[EVAL_TOP1] / n, true};
    metric[1] = (Metric){"top5", 100 * sum[EVAL_TOP5] / n, true};
    metric[2] = (Metric){"loss", sum[EVAL_LOSS] / n, false};
    *count = 3;
    return n > 0 || error_set(e, ERROR_VALUE, "data.test: no image of it could be read");
}

const TaskClass classify_class = {
    .name = "classify",
    .tables = {&vit_table, &classify_table},
    .recognise = classify_recognise,
    .create = create,
    .destroy = destroy,
    .prepare = prepare,
    .adapt = adapt,
    .loss = loss,
    .outputs = outputs,
    .features = features,
    .distance = distance,
    .relabel = relabel,
    .evaluate = evaluate,
    .draw = classify_draw,
};
