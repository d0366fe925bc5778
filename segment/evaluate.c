/* Evaluation by simulated prompts: each true mask is asked for by its box, and by clicks, the first in the
 * middle of the mask, each further one in the middle of the larger error. Masks are compared at the size of
 * the image's file. */
#include "core/comm.h"
#include "core/ops.h"
#include "data/rle.h"
#include "segment/mask.h"
#include "segment/moves.h"
#include "segment/predictor_inside.h"
#include "segment/task_inside.h"

#include <math.h>
#include <string.h>

enum { GROUP = 32 }; /* prompts at a time */
static const double BORDER = 0.02;

/* After how many clicks the overlap counts. */
enum { MARKS = 3 };
static const int mark[MARKS] = {1, 3, 5};

typedef enum { SUM_BOX, SUM_BORDER, SUM_CLICK, SUM_MASKS = SUM_CLICK + MARKS, SUMS } EvalSum;

/* One mask that is asked for. */
typedef struct Asked {
    const BatchMask *truth;
    Embedding at; /* how the image lies in the square: no features */
    double box[4];
    struct {
        double x, y;
        int inside;
    } click[SEGMENT_CLICKS];
} Asked;

typedef struct Eval {
    const Segment *m;
    Step *s;
    SamEmbedding on;
    Asked *ask; /* [GROUP] */
    int n, clicks;
    float *logits; /* [GROUP, 4g, 4g] of the answers */
    Bytes full, truth, mask, error;
    double *sum; /* [SUMS] */
} Eval;

/* ---- asking ---- */

/* host: of, point, label: the clicks and padding, or a box's corners */
static void prompt_fill(const Step *s, const void *self, Tensor *const *host) {
    (void)s;
    const Eval *v = self;
    int64_t each = host[1]->dim[1];
    for (int i = 0; i < v->n; i++) {
        const Asked *a = &v->ask[i];
        real *to = tensor_real(host[1]) + i * each * 3;
        int32_t *label = tensor_i32(host[2]) + i * each;
        tensor_i32(host[0])[i] = a->truth->image;
        for (int k = 0; k < v->clicks; k++) {
            embedding_point(&a->at, to + 3 * k, a->click[k].x, a->click[k].y);
            label[k] = a->click[k].inside;
        }
        if (v->clicks) {
            memset(to + 3 * v->clicks, 0, 3 * sizeof *to);
            label[v->clicks] = -1;
            continue;
        }
        for (int k = 0; k < 2; k++) {
            embedding_point(&a->at, to + 3 * k, a->box[2 * k], a->box[2 * k + 1]);
            label[k] = 2 + k;
        }
    }
}

static void logits_fill(const Step *s, const void *self, Tensor *const *host) {
    (void)s;
    memcpy(host[0]->data, ((const Eval *)self)->logits, tensor_bytes(host[0]));
}

/* Of masks 1 .. 3 the one with the highest predicted IoU, or mask 0: [N, 4g 4g] */
static Tensor *base_of(Step *s, const SamAnswer *a, bool ambiguous) {
    int64_t n = a->mask->dim[0], pixels = a->mask->dim[2] * a->mask->dim[3];
    Tensor *x = op_slice(s, a->mask, 1, ambiguous, ambiguous ? 3 : 1);
    if (ambiguous) {
        Tensor *best = op_top_index(s, op_slice(s, a->iou, 1, 1, 3), TOP_GREATEST, 1);
        x = op_gather(s, op_reshape(s, x, 3, (int64_t[]){n, 3, pixels}), best, NULL);
    }
    return op_reshape(s, x, 2, (int64_t[]){n, pixels});
}

/* Asks for the group's masks; v->logits are then the answers'. */
static void answer(Eval *v) {
    Step *s = v->s;
    int64_t n = v->n, low = v->m->low, tokens = v->clicks ? v->clicks + 1 : 2;
    Scope scope = scope_open(s);
    const Tensor like[3] = {{.dtype = DT_I32, .ndim = 2, .dim = {1, n}},
                            {.dtype = DT_F32, .ndim = 3, .dim = {n, tokens, 3}},
                            {.dtype = DT_I32, .ndim = 2, .dim = {n, tokens}}};
    const Tensor before = {.dtype = DT_F32, .ndim = 4, .dim = {n, 1, low, low}};
    Tensor *t[3], *mask = NULL;
    step_given(s, 3, t, like, prompt_fill, v);
    if (v->clicks > 1) step_given(s, 1, &mask, &before, logits_fill, v);
    SamAnswer a = sam_answer(s, &v->m->sam, &v->on, t[0], &(SamPrompt){t[1], t[2], mask});
    Tensor *fine = a.fine ? op_reshape(s, a.fine, 2, (int64_t[]){n, low * low}) : NULL;
    EvalMask which = fine ? (EvalMask)v->m->set.eval_mask : EVAL_SAM;
    Tensor *x = which == EVAL_HQ ? fine : base_of(s, &a, v->clicks == 1);
    if (which == EVAL_SUM) x = op_add(s, x, fine);
    x = step_host(s, f32_of(s, x));
    for (int64_t i = 0; i < n * low * low; i++) v->logits[i] = (float)tensor_at(x, i);
    scope_close(s, scope, NULL);
}

/* ---- comparing ---- */

/* Answer i at the size of the image, 0 and 1. */
static bool mask_make(Eval *v, int i, Error *e) {
    const BatchMask *t = v->ask[i].truth;
    size_t pixels = (size_t)t->height * (size_t)t->width;
    if (!bytes_reserve(&v->full, pixels * sizeof(float), e) || !bytes_reserve(&v->mask, pixels, e))
        return false;
    float *full = (float *)v->full.data;
    predictor_upscale(&v->ask[i].at, v->logits + (int64_t)i * v->m->low * v->m->low, full);
    for (size_t k = 0; k < pixels; k++) v->mask.data[k] = full[k] > 0;
    return true;
}

static bool truth_make(Eval *v, int i, Error *e) {
    const BatchMask *t = v->ask[i].truth;
    if (!bytes_reserve(&v->truth, (size_t)t->height * (size_t)t->width, e)) return false;
    rle_to_mask(&(Rle){.height = t->height, .width = t->width, .count = t->runs, .run = t->run},
                v->truth.data);
    return true;
}

/* The next click: in the middle of what is missing, or of what is too much, whichever is more. Where nothing
 * is wrong the last one stands again. */
static bool click_next(Eval *v, int i, Error *e) {
    Asked *a = &v->ask[i];
    int height = a->truth->height, width = a->truth->width, x, y;
    int64_t pixels = (int64_t)height * width, missing = 0, wrong = 0;
    const uint8_t *truth = v->truth.data, *mask = v->mask.data;
    if (!bytes_reserve(&v->error, (size_t)pixels, e)) return false;
    for (int64_t k = 0; k < pixels && v->clicks; k++) {
        missing += truth[k] && !mask[k];
        wrong += !truth[k] && mask[k];
    }
    if (v->clicks && missing + wrong == 0) {
        a->click[v->clicks] = a->click[v->clicks - 1];
        return true;
    }
    bool inside = v->clicks == 0 || missing >= wrong;
    for (int64_t k = 0; k < pixels; k++)
        v->error.data[k] = inside ? truth[k] && !(v->clicks && mask[k]) : !truth[k] && mask[k];
    if (!mask_centre(v->error.data, height, width, &x, &y, e)) return false;
    a->click[v->clicks].x = x;
    a->click[v->clicks].y = y;
    a->click[v->clicks].inside = inside;
    return true;
}

static bool boxes_ask(Eval *v, Error *e) {
    v->clicks = 0;
    answer(v);
    for (int i = 0; i < v->n; i++) {
        const BatchMask *t = v->ask[i].truth;
        double border;
        if (!truth_make(v, i, e) || !mask_make(v, i, e)) return false;
        if (!mask_boundary_iou(v->mask.data, v->truth.data, t->height, t->width, BORDER, &border, e))
            return false;
        v->sum[SUM_BOX] += mask_iou(v->mask.data, v->truth.data, (int64_t)t->height * t->width);
        v->sum[SUM_BORDER] += border;
    }
    return true;
}

static bool clicks_ask(Eval *v, Error *e) {
    int64_t most = v->m->set.eval_clicks;
    v->clicks = 0;
    for (int i = 0; i < v->n && most; i++)
        if (!truth_make(v, i, e) || !click_next(v, i, e)) return false;
    while (v->clicks < most) {
        v->clicks++;
        answer(v);
        for (int i = 0; i < v->n; i++) {
            const BatchMask *t = v->ask[i].truth;
            if (!truth_make(v, i, e) || !mask_make(v, i, e)) return false;
            for (int k = 0; k < MARKS; k++)
                if (v->clicks == mark[k])
                    v->sum[SUM_CLICK + k] +=
                        mask_iou(v->mask.data, v->truth.data, (int64_t)t->height * t->width);
            if (v->clicks < most && !click_next(v, i, e)) return false;
        }
    }
    return true;
}

/* ---- a batch ---- */

static bool group_add(Eval *v, const Batch *b, const BatchMask *t, Error *e) {
    Asked *a = &v->ask[v->n];
    *a = (Asked){.truth = t,
                 .at = {.width = t->width,
                        .height = t->height,
                        .fit_height = b->fit[2 * t->image],
                        .fit_width = b->fit[2 * t->image + 1],
                        .side = v->m->sam.side,
                        .low = v->m->low}};
    if (!truth_make(v, v->n, e)) return false;
    if (mask_area(v->truth.data, (int64_t)t->height * t->width) == 0) return true; /* nothing to ask for */
    /* The last column and row of the mask as the model sees it, in pixels of the image: as in training, and
     * as HQ-SAM's evaluation has it, which takes the box from the resized mask. */
    MaskBox box = mask_box(v->truth.data, t->height, t->width);
    double x1 = box.x1 + 1 - (double)a->at.width / a->at.fit_width;
    double y1 = box.y1 + 1 - (double)a->at.height / a->at.fit_height;
    memcpy(a->box, (double[]){box.x0, box.y0, x1, y1}, sizeof a->box);
    v->n++;
    return true;
}

static bool batch_ask(Eval *v, const Batch *b, Error *e) {
    step_begin(v->s);
    segment_batch(v->s, b);
    v->on = sam_embed(v->s, &v->m->sam, step_input(v->s, &b->image), NULL);
    v->n = 0;
    for (int64_t i = 0; i < b->truths; i++) {
        if (!group_add(v, b, &b->truth[i], e)) return false;
        if (v->n < GROUP && i < b->truths - 1) continue;
        if (v->n && (!boxes_ask(v, e) || !clicks_ask(v, e))) return false;
        v->sum[SUM_MASKS] += v->n;
        v->n = 0;
    }
    return true;
}

/* This rank's part of the source. */
static bool evaluate_mine(const Segment *m, Step *s, Source *source, double sum[SUMS], Error *e) {
    Eval v = {.m = m, .s = s, .sum = sum};
    size_t plane = (size_t)(m->low * m->low) * sizeof(float);
    v.ask = mem_get(GROUP * sizeof *v.ask);
    v.logits = mem_get(GROUP * plane);
    bool fine = (v.ask && v.logits) || error_memory(e, GROUP * plane);
    for (int64_t i = 0; i < source->steps_per_epoch && fine; i++) {
        const Batch *batch;
        fine = source->get(source->self, i, &batch, e) && (batch->n == 0 || batch_ask(&v, batch, e));
    }
    mem_free(v.ask);
    mem_free(v.logits);
    bytes_free(&v.full);
    bytes_free(&v.truth);
    bytes_free(&v.mask);
    bytes_free(&v.error);
    return fine;
}

bool segment_evaluate(Task *task, Step *s, Source *source, Metric metric[TASK_METRICS], int *count,
                      Error *e) {
    static const char *const name[MARKS] = {"miou_1", "miou_3", "miou_5"};
    const Segment *m = task->self;
    double sum[SUMS] = {0};
    bool was = step_no_grad(s), training = s->training;
    s->training = false;
    bool fine = comm_agree(evaluate_mine(m, s, source, sum, e), e);
    step_grad_on(s, was);
    s->training = training;
    if (!fine) return false;
    comm_sum(sum, COUNT(sum));
    double n = sum[SUM_MASKS];
    metric[0] = (Metric){"miou_box", sum[SUM_BOX] / n, true};
    metric[1] = (Metric){"mbiou_box", sum[SUM_BORDER] / n, true};
    *count = 2;
    for (int k = 0; k < MARKS; k++)
        if (m->set.eval_clicks >= mark[k])
            metric[(*count)++] = (Metric){name[k], sum[SUM_CLICK + k] / n, true};
    return n > 0 || error_set(e, ERROR_VALUE, "data.test: there is no mask in it");
}
