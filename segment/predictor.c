#include "segment/predictor_inside.h"

#include "core/ops.h"
#include "data/resize.h"

#include <math.h>
#include <string.h>

enum { GROUP = 8 }; /* prompts answered at a time: each needs the image's tokens for itself */

struct Predictor {
    const Sam *sam;
    double mean[3], std[3];
    Step *embed, *ask;
    Tensor place; /* the positions of the grid, the same for all images */
    Resizer resizer;
    Image sized;
    Bytes pixel, result; /* the encoder's input; the answers */
};

bool predictor_open(Predictor **out, Task *task, DType compute, Error *e) {
    Predictor *p = mem_zero(1, sizeof *p);
    if (!p) return error_memory(e, sizeof *p);
    p->sam = task->self; /* a segment task begins with its model */
    memcpy(p->mean, task->mean, sizeof p->mean);
    memcpy(p->std, task->std, sizeof p->std);
    if (!(p->embed = step_create(compute, BACKEND_CPU, 0, e))) goto fail;
    /* prompts are cheap: they are answered in f32 whatever the encoder computes in */
    if (!(p->ask = step_create(DT_F32, BACKEND_CPU, 0, e))) goto fail;
    p->embed->training = p->ask->training = false;
    step_no_grad(p->embed);
    step_no_grad(p->ask);
    *out = p;
    return true;
fail:
    predictor_close(p);
    return false;
}

void predictor_close(Predictor *p) {
    if (!p) return;
    step_free(p->embed);
    step_free(p->ask);
    resize_free(&p->resizer);
    image_free(&p->sized);
    bytes_free(&p->pixel);
    bytes_free(&p->result);
    mem_free(p->place.data);
    mem_free(p);
}

bool predictor_hq(const Predictor *p) {
    return p->sam->set.hq;
}

Step *predictor_step(Predictor *p, bool embed) {
    return embed ? p->embed : p->ask;
}

/* ---- an image ---- */

void embedding_close(Embedding *b) {
    if (!b) return;
    mem_free(b->image.data);
    mem_free(b->fine.data);
    mem_free(b);
}

int embedding_width(const Embedding *b) {
    return b->width;
}

int embedding_height(const Embedding *b) {
    return b->height;
}

int64_t embedding_low(const Embedding *b) {
    return b->low;
}

/* ResizeLongestSide's rule: the longer side becomes S. */
static void fit(Embedding *b, const Image *im, int64_t side) {
    double scale = (double)side / (im->width > im->height ? im->width : im->height);
    b->width = im->width;
    b->height = im->height;
    b->fit_width = (int)(im->width * scale + 0.5);
    b->fit_height = (int)(im->height * scale + 0.5);
    if (b->fit_width < 1) b->fit_width = 1;
    if (b->fit_height < 1) b->fit_height = 1;
    b->side = side;
}

/* [3, S, S]: resized, normalised, then padded with zeros. */
static bool input_make(Predictor *p, const Embedding *b, const Image *im, Error *e) {
    ResizeView view = resize_view(im);
    ResizeTo to = resize_whole(view, b->fit_width, b->fit_height, RESIZE_BILINEAR);
    size_t plane = (size_t)(b->side * b->side);
    if (!resize_run(&p->resizer, &p->sized, view, &to, e)) return false;
    if (!bytes_reserve(&p->pixel, 3 * plane * sizeof(float), e)) return false;
    float *out = (float *)p->pixel.data;
    memset(out, 0, 3 * plane * sizeof(float));
    for (int c = 0; c < 3; c++) {
        float mean = (float)(p->mean[c] * 255), std = (float)(p->std[c] * 255);
        for (int64_t y = 0; y < b->fit_height; y++) {
            const uint8_t *from = p->sized.pixel + y * b->fit_width * 3 + c;
            float *row = out + (size_t)c * plane + (size_t)(y * b->side);
            for (int64_t x = 0; x < b->fit_width; x++) row[x] = ((float)from[3 * x] - mean) / std;
        }
    }
    return true;
}

/* A copy in f32 that outlives the step. */
static bool keep(Tensor *out, const Tensor *t, Error *e) {
    *out = (Tensor){.ndim = t->ndim, .dtype = DT_F32, .name = t->name};
    memcpy(out->dim, t->dim, sizeof out->dim);
    if (!(out->data = mem_get(tensor_bytes(out)))) return error_memory(e, tensor_bytes(out));
    for (int64_t i = 0; i < tensor_count(t); i++) tensor_real(out)[i] = tensor_at(t, i);
    return true;
}

bool predictor_embed(Predictor *p, const Image *im, PredictorProgress progress, void *self, Embedding **out,
                     Error *e) {
    const SamWatch watch = {progress, self};
    int64_t side = p->sam->side;
    Embedding *b = mem_zero(1, sizeof *b);
    if (!b) return error_memory(e, sizeof *b);
    fit(b, im, side);
    if (!input_make(p, b, im, e)) goto fail;
    Tensor image = {
        .data = p->pixel.data, .ndim = 4, .dim = {1, 3, side, side}, .dtype = DT_F32, .name = "image"};
    step_begin(p->embed);
    SamEmbedding on = sam_embed(p->embed, p->sam, step_input(p->embed, &image), progress ? &watch : NULL);
    if (!on.image) {
        error_set(e, ERROR_STATE, "given up");
        goto fail;
    }
    b->low = 4 * p->sam->grid;
    if (!keep(&b->image, on.image, e) || (on.fine && !keep(&b->fine, on.fine, e))) goto fail;
    if (!p->place.data && !keep(&p->place, on.place, e)) goto fail;
    *out = b;
    return true;
fail:
    embedding_close(b);
    return false;
}

/* ---- prompts ---- */

typedef struct Asked {
    const Embedding *on;
    const PredictorPrompt *prompt; /* [N] of one form */
} Asked;

/* Points, then a box's corners, or else one padding point: what the encoder of prompts wants. */
static int tokens_count(const PredictorPrompt *p) {
    return p->points + (p->box ? 2 : p->points > 0);
}

void embedding_point(const Embedding *on, real to[3], double x, double y) {
    /* the reference maps to the resized picture, moves to the middle of the pixel, divides by S; in float
     * there */
    to[0] = (real)((x * on->fit_width / on->width + 0.5) / (double)on->side);
    to[1] = (real)((y * on->fit_height / on->height + 0.5) / (double)on->side);
    to[2] = 1;
}

static void points_fill(const Step *s, const void *self, Tensor *const *host) {
    const Asked *a = self;
    int64_t n = host[0]->dim[0], each = host[0]->dim[1];
    (void)s;
    for (int64_t i = 0; i < n; i++) {
        const PredictorPrompt *p = &a->prompt[i];
        real *to = tensor_real(host[0]) + i * each * 3;
        int32_t *label = tensor_i32(host[1]) + i * each;
        for (int k = 0; k < p->points; k++) {
            embedding_point(a->on, to + 3 * k, p->point[k].x, p->point[k].y);
            label[k] = p->point[k].label != 0;
        }
        for (int k = 0; k < 2 && p->box; k++) {
            embedding_point(a->on, to + 3 * (p->points + k), p->box[2 * k], p->box[2 * k + 1]);
            label[p->points + k] = 2 + k;
        }
        if (p->box) continue;
        memset(to + 3 * p->points, 0, 3 * sizeof *to);
        label[p->points] = -1;
    }
}

static void logits_fill(const Step *s, const void *self, Tensor *const *host) {
    const Asked *a = self;
    int64_t each = tensor_count(host[0]) / host[0]->dim[0];
    (void)s;
    for (int64_t i = 0; i < host[0]->dim[0]; i++)
        memcpy(tensor_real(host[0]) + i * each, a->prompt[i].logits, (size_t)each * sizeof(real));
}

static SamPrompt prompt_given(Step *s, const Asked *a, int64_t n) {
    SamPrompt out = {0};
    int64_t each = tokens_count(a->prompt), low = a->on->low;
    if (each) {
        Tensor *t[2], like[2] = {{.ndim = 3, .dim = {n, each, 3}, .dtype = DT_F32, .name = "points"},
                                 {.ndim = 2, .dim = {n, each}, .dtype = DT_I32, .name = "labels"}};
        step_given(s, 2, t, like, points_fill, a);
        out.point = t[0];
        out.label = t[1];
    }
    Tensor mask = {.ndim = 4, .dim = {n, 1, low, low}, .dtype = DT_F32, .name = "earlier mask"};
    if (a->prompt->logits) step_given(s, 1, &out.mask, &mask, logits_fill, a);
    return out;
}

/* The most promising of masks 1 .. 3. */
static int best_of(const float *iou) {
    int best = 1;
    for (int k = 2; k < 4; k++)
        if (iou[k] > iou[best]) best = k;
    return best;
}

/* HQ: base + HQ's or HQ's alone; else masks first .. first + each - 1 as they are. */
static void answer_put(const SamAnswer *a, int64_t i, int each, bool multimask, PredictorHq hq, float *low,
                       float *iou) {
    int64_t plane = a->mask->dim[2] * a->mask->dim[3];
    const float *mask = tensor_real(a->mask) + i * 4 * plane, *given = tensor_real(a->iou) + i * 4;
    int first = !multimask ? 0 : a->fine ? best_of(given) : 1;
    memcpy(iou, given + first, (size_t)each * sizeof *iou);
    memcpy(low, mask + first * plane, (size_t)(each * plane) * sizeof *low);
    if (!a->fine) return;
    const float *fine = tensor_real(a->fine) + i * plane;
    for (int64_t k = 0; k < plane; k++) low[k] = hq == PREDICTOR_HQ_ONLY ? fine[k] : low[k] + fine[k];
}

/* Another predictor of the same model may have made the embedding. */
static bool place_make(Predictor *p, Error *e) {
    if (p->place.data) return true;
    step_begin(p->ask);
    return keep(&p->place, prompt_encoder_grid(p->ask, &p->sam->prompt), e);
}

bool predictor_ask(Predictor *p, const Embedding *on, const PredictorPrompt *prompt, int n, bool multimask,
                   PredictorHq hq, PredictorMasks *out, Error *e) {
    int each = multimask && !predictor_hq(p) ? 3 : 1;
    size_t plane = (size_t)(on->low * on->low), count = (size_t)n * (size_t)each;
    if (!bytes_reserve(&p->result, count * (plane + 1) * sizeof(float), e) || !place_make(p, e)) return false;
    float *low = (float *)p->result.data, *iou = low + count * plane;
    for (int first = 0; first < n; first += GROUP) {
        int group = n - first < GROUP ? n - first : GROUP;
        const Asked asked = {on, prompt + first};
        step_begin(p->ask);
        SamEmbedding b = {step_input(p->ask, &on->image), NULL, step_input(p->ask, &p->place)};
        if (on->fine.data) b.fine = step_input(p->ask, &on->fine);
        SamPrompt given = prompt_given(p->ask, &asked, group);
        SamAnswer a = sam_answer(p->ask, p->sam, &b, NULL, &given);
        for (int i = 0; i < group; i++) {
            size_t at = (size_t)(first + i) * (size_t)each;
            answer_put(&a, i, each, multimask, hq, low + at * plane, iou + at);
        }
    }
    *out = (PredictorMasks){n, each, on->height, on->width, iou, low};
    return true;
}
