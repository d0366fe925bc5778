#include "segment/generator.h"

#include "segment/generator_crops.h"
#include "segment/generator_list.h"

#include <omp.h>
#include <string.h>

const GeneratorSettings generator_standard = {
    .points_per_side = 32,
    .points_per_batch = 64,
    .iou_threshold = 0.88,
    .stability_threshold = 0.95,
    .stability_offset = 1,
    .box_nms = 0.7,
    .crop_nms = 0.7,
    .crop_overlap = 512.0 / 1500,
    .crop_point_shrink = 1,
};

enum { EACH = 3 /* masks a point, at most */ };
static const size_t workers_memory = (size_t)2 << 30;

/* What a thread needs to judge one mask: its logits and its bitmap, at the size of the image. */
typedef struct Worker {
    float *full;
    uint8_t *mask;
    bool failed;
    Error error;
} Worker;

/* One mask of one point. */
typedef struct Candidate {
    const float *low;
    GeneratorMask found;
    Bytes runs;
    bool kept;
} Candidate;

typedef struct Generator {
    Predictor *predictor;
    const GeneratorSettings *set;
    const Image *image;
    GeneratorProgress progress;
    void *self;
    int64_t points, all; /* asked; of all crops */
    ImageBox crop;
    Image part; /* the crop's pixels */
    Embedding *on;
    PredictorPoint *point;   /* [points_per_batch] */
    PredictorPrompt *prompt; /* [points_per_batch] */
    Candidate *candidate;    /* [points_per_batch, EACH] */
    int candidates;
    Worker *worker;
    int workers;
} Generator;

static void generator_close(Generator *g) {
    for (int i = 0; g->candidate && i < g->set->points_per_batch * EACH; i++)
        bytes_free(&g->candidate[i].runs);
    for (int i = 0; g->worker && i < g->workers; i++) {
        mem_free(g->worker[i].full);
        mem_free(g->worker[i].mask);
    }
    mem_free(g->candidate);
    mem_free(g->worker);
    mem_free(g->point);
    mem_free(g->prompt);
    image_free(&g->part);
    embedding_close(g->on);
}

static bool generator_open(Generator *g, Error *e) {
    const size_t batch = (size_t)g->set->points_per_batch;
    const size_t pixels = (size_t)g->image->width * (size_t)g->image->height;
    const size_t each = pixels * (sizeof(float) + 1), most = workers_memory / each;
    g->workers = omp_get_max_threads();
    if ((size_t)g->workers > most) g->workers = most ? (int)most : 1;
    g->point = mem_get(batch * sizeof *g->point);
    g->prompt = mem_get(batch * sizeof *g->prompt);
    g->candidate = mem_zero(batch * EACH, sizeof *g->candidate);
    g->worker = mem_zero((size_t)g->workers, sizeof *g->worker);
    if (!g->point || !g->prompt || !g->candidate || !g->worker) return error_memory(e, batch);
    for (int i = 0; i < g->workers; i++) {
        g->worker[i].full = mem_get(pixels * sizeof(float));
        g->worker[i].mask = mem_get(pixels);
        if (!g->worker[i].full || !g->worker[i].mask) return error_memory(e, each);
    }
    return true;
}

/* The logits of the crop to a bitmap of the whole image. */
static void mask_place(const Generator *g, const float *full, uint8_t *mask) {
    const size_t width = (size_t)g->image->width;
    if (g->crop.width < g->image->width || g->crop.height < g->image->height)
        memset(mask, 0, width * (size_t)g->image->height);
    for (int y = 0; y < g->crop.height; y++) {
        const float *from = full + (size_t)y * (size_t)g->crop.width;
        uint8_t *to = mask + (size_t)(y + g->crop.y) * width + (size_t)g->crop.x;
        for (int x = 0; x < g->crop.width; x++) to[x] = from[x] > 0;
    }
}

/* From the logits of a mask whose predicted IoU is high enough to its runs, if it passes. Thresholds are
 * compared in float, as torch does. */
static void candidate_judge(const Generator *g, Candidate *c, Worker *w) {
    GeneratorMask *m = &c->found;
    const int64_t pixels = (int64_t)g->crop.width * g->crop.height;
    const double least = g->set->stability_threshold;
    predictor_upscale(g->on, c->low, w->full);
    m->stability = (double)(float)predictor_stability(w->full, pixels, g->set->stability_offset);
    if (least > 0 && (float)m->stability < (float)least) return;
    mask_place(g, w->full, w->mask);
    c->runs.size = 0;
    if (!rle_from_mask(&m->rle, &c->runs, w->mask, g->image->height, g->image->width, &w->error)) {
        w->failed = true;
        return;
    }
    m->area = rle_area(&m->rle);
    m->box = mask_box(w->mask, g->image->height, g->image->width);
    if (m->area == 0) m->box = (MaskBox){g->crop.x, g->crop.y, g->crop.x, g->crop.y};
    c->kept = !generator_cut(m->box, g->crop, g->image->width, g->image->height);
}

static bool candidates_judge(Generator *g, GeneratorMasks *found, Error *e) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(g->workers)
    for (int i = 0; i < g->candidates; i++)
        candidate_judge(g, &g->candidate[i], &g->worker[omp_get_thread_num()]);
    for (int i = 0; i < g->workers; i++) {
        if (!g->worker[i].failed) continue;
        *e = g->worker[i].error;
        return false;
    }
    for (int i = 0; i < g->candidates; i++)
        if (g->candidate[i].kept && !generator_list_add(found, &g->candidate[i].found, e)) return false;
    return true;
}

static void candidate_add(Generator *g, const PredictorMasks *masks, int i) {
    const float iou = masks->iou[i];
    const double least = g->set->iou_threshold;
    if (least > 0 && !(iou > (float)least)) return;
    const size_t low = (size_t)embedding_low(g->on);
    const PredictorPoint *p = &g->point[i / masks->each];
    Candidate *c = &g->candidate[g->candidates++];
    c->low = masks->low + (size_t)i * low * low;
    c->kept = false;
    c->found =
        (GeneratorMask){.iou = (double)iou, .x = p->x + g->crop.x, .y = p->y + g->crop.y, .crop = g->crop};
}

/* Points first .. first + n of a grid of `side` x `side`. */
static bool batch_ask(Generator *g, int side, int first, int n, GeneratorMasks *found, Error *e) {
    PredictorMasks masks;
    for (int i = 0; i < n; i++) {
        const double x = generator_place(side, (first + i) % side),
                     y = generator_place(side, (first + i) / side);
        g->point[i] = (PredictorPoint){x * g->crop.width, y * g->crop.height, 1};
        g->prompt[i] = (PredictorPrompt){.point = &g->point[i], .points = 1};
    }
    if (!predictor_ask(g->predictor, g->on, g->prompt, n, true, g->set->hq, &masks, e)) return false;
    g->candidates = 0;
    for (int i = 0; i < n * masks.each; i++) candidate_add(g, &masks, i);
    return candidates_judge(g, found, e);
}

static bool go_on(const Generator *g) {
    return !g->progress || g->progress(g->self, g->points, g->all);
}

static bool embed_progress(void *self, double share) {
    (void)share;
    return go_on(self);
}

static bool crop_embed(Generator *g, Error *e) {
    const ImageBox c = g->crop;
    embedding_close(g->on);
    g->on = NULL;
    if (c.width == g->image->width && c.height == g->image->height)
        return predictor_embed(g->predictor, g->image, embed_progress, g, &g->on, e);
    if (!image_reserve(&g->part, c.width, c.height, e)) return false;
    for (int y = 0; y < c.height; y++)
        memcpy(g->part.pixel + (size_t)y * (size_t)c.width * 3,
               g->image->pixel + ((size_t)(y + c.y) * (size_t)g->image->width + (size_t)c.x) * 3,
               (size_t)c.width * 3);
    return predictor_embed(g->predictor, &g->part, embed_progress, g, &g->on, e);
}

/* One score a mask: the predicted IoU, or 1 / the crop's area. */
static bool suppress(GeneratorMasks *list, bool by_crop, double limit, Error *e) {
    const size_t size = (size_t)list->count * sizeof(double) + 1;
    double *score = mem_get(size);
    if (!score) return error_memory(e, size);
    for (int64_t i = 0; i < list->count; i++) {
        const GeneratorMask *m = &list->mask[i];
        score[i] = by_crop ? (double)(1.0F / ((float)m->crop.width * (float)m->crop.height)) : m->iou;
    }
    const bool fine = generator_list_suppress(list, score, limit, e);
    mem_free(score);
    return fine;
}

static bool crop_run(Generator *g, const GeneratorCrop *crop, GeneratorMasks *out, Error *e) {
    GeneratorMasks found = {0};
    const int side = generator_side(g->set, crop->layer), batch = g->set->points_per_batch;
    g->crop = crop->box;
    bool fine = crop_embed(g, e);
    for (int at = 0; fine && at < side * side; at += batch) {
        const int n = side * side - at < batch ? side * side - at : batch;
        fine = batch_ask(g, side, at, n, &found, e);
        g->points += n;
        if (fine && !go_on(g)) fine = error_set(e, ERROR_STATE, "given up");
    }
    fine = fine && suppress(&found, false, g->set->box_nms, e) && generator_list_join(out, &found, e);
    generator_free(&found);
    return fine;
}

bool generator_run(Predictor *p, const Image *im, const GeneratorSettings *set, GeneratorProgress progress,
                   void *self, GeneratorMasks *out, Error *e) {
    GeneratorCrop *crop = NULL;
    int crops = 0;
    Generator g = {.predictor = p, .set = set, .image = im, .progress = progress, .self = self};
    *out = (GeneratorMasks){0};
    bool fine = generator_crops(im->width, im->height, set, &crop, &crops, e) && generator_open(&g, e);
    for (int i = 0; fine && i < crops; i++) {
        const int side = generator_side(set, crop[i].layer);
        g.all += (int64_t)side * side;
    }
    for (int i = 0; fine && i < crops; i++) fine = crop_run(&g, &crop[i], out, e);
    if (crops > 1) fine = fine && suppress(out, true, set->crop_nms, e);
    if (set->min_area > 0)
        fine = fine && generator_list_clean(out, set->min_area,
                                            set->box_nms > set->crop_nms ? set->box_nms : set->crop_nms, e);
    generator_close(&g);
    mem_free(crop);
    if (!fine) generator_free(out);
    return fine;
}
