/* Prompts from a COCO file, answers as COCO results. */
#include "cli/coco_write.h"
#include "cli/overlay.h"
#include "cli/segment.h"

#include "core/comm.h"
#include "data/polygon.h"

#include <stdio.h>
#include <string.h>

enum { BATCH = 64 /* prompts asked at once */, CHUNK = 16 << 20 /* bytes of a rank gathered at once */ };

bool segment_coco_list(Segment *s, Error *e) {
    char folder[FILE_PATH];
    const char *given = s->set->images ? s->set->images : "";
    if (!coco_open(&s->coco, s->set->prompts, e) ||
        !coco_folder(folder, sizeof folder, s->set->prompts, given, e))
        return false;
    const size_t n = (size_t)s->coco->images;
    if (n == 0 || s->coco->annotations == 0)
        return error_set(e, ERROR_VALUE, "%s: no prompt: it has %s", s->set->prompts,
                         n ? "no annotations" : "no images");
    s->joined = mem_get(n * FILE_PATH);
    s->path = mem_get(n * sizeof *s->path);
    if (!s->joined || !s->path) return error_memory(e, n * FILE_PATH);
    for (size_t i = 0; i < n; i++) {
        s->path[i] = s->joined + i * FILE_PATH;
        if (!file_join(s->path[i], FILE_PATH, folder, s->coco->image[i].file, e)) return false;
    }
    s->images = (int64_t)n;
    return true;
}

/* The prompts of one image and what they are asked with. */
typedef struct Asked {
    const CocoAnnotation *from[BATCH];
    double box[BATCH][4];
    PredictorPoint point[BATCH];
    PredictorPrompt prompt[BATCH];
    int n;
    const Embedding *on;
    float *full;
    uint8_t *mask, *part; /* bitmaps of the image's size */
    Bytes runs, scratch;
    Image *picture; /* NULL: not wanted */
    int64_t drawn;
} Asked;

/* The union of the polygons. */
static bool polygons_paint(Asked *a, const CocoAnnotation *from, const Image *im, Error *e) {
    const size_t pixels = (size_t)im->width * (size_t)im->height;
    for (int64_t k = 0; k < from->polygons; k++) {
        Rle rle;
        const CocoPolygon *p = &from->polygon[k];
        a->runs.size = 0;
        if (!polygon_to_rle(&rle, &a->runs, &a->scratch, p->xy, p->points, im->height, im->width, e))
            return false;
        rle_to_mask(&rle, a->part);
        for (size_t i = 0; i < pixels; i++) a->mask[i] |= a->part[i];
    }
    return true;
}

/* The innermost pixel of the annotation's mask, or the middle of its box where it has none. */
static bool centre_of(Asked *a, const CocoAnnotation *from, const Image *im, PredictorPoint *out, Error *e) {
    int x, y;
    *out = (PredictorPoint){from->box[0] + from->box[2] / 2, from->box[1] + from->box[3] / 2, 1};
    const size_t pixels = (size_t)im->width * (size_t)im->height;
    memset(a->mask, 0, pixels);
    if (from->shape == COCO_RLE) rle_to_mask(&from->rle, a->mask);
    if (from->shape == COCO_POLYGONS && !polygons_paint(a, from, im, e)) return false;
    if (mask_area(a->mask, (int64_t)pixels) == 0) return true;
    if (!mask_centre(a->mask, im->height, im->width, &x, &y, e)) return false;
    *out = (PredictorPoint){x, y, 1};
    return true;
}

static bool prompt_add(const Segment *s, Asked *a, const CocoAnnotation *from, Error *e) {
    const int k = a->n++;
    a->from[k] = from;
    a->prompt[k] = (PredictorPrompt){0};
    if (s->centre) {
        a->prompt[k].point = &a->point[k];
        a->prompt[k].points = 1;
        return centre_of(a, from, &s->image, &a->point[k], e);
    }
    const double *b = from->box;
    memcpy(a->box[k], (double[4]){b[0], b[1], b[0] + b[2], b[1] + b[3]}, sizeof a->box[k]);
    a->prompt[k].box = a->box[k];
    return true;
}

static bool answer_put(Segment *s, Asked *a, const PredictorMasks *masks, int k, Error *e) {
    const CocoAnnotation *from = a->from[k];
    const int64_t low = embedding_low(a->on), pixels = (int64_t)masks->height * masks->width;
    int best = k * masks->each;
    for (int i = best + 1; i < (k + 1) * masks->each; i++)
        if (masks->iou[i] > masks->iou[best]) best = i;
    predictor_upscale(a->on, masks->low + best * low * low, a->full);
    for (int64_t i = 0; i < pixels; i++) a->mask[i] = a->full[i] > 0;
    Rle rle;
    char more[64];
    a->runs.size = 0;
    if (!rle_from_mask(&rle, &a->runs, a->mask, masks->height, masks->width, e)) return false;
    snprintf(more, sizeof more, "\"annotation_id\": %lld", (long long)from->id);
    CocoRecord r = {.image = s->coco->image[from->image].id,
                    .category = s->coco->category[from->category].id,
                    .rle = &rle,
                    .iou = (double)masks->iou[best],
                    .more = more};
    coco_box(&rle, r.box);
    if (a->picture) {
        overlay_mask(a->picture, a->mask, overlay_colour(a->drawn++));
        if (a->prompt[k].box) overlay_box(a->picture, a->prompt[k].box);
        if (a->prompt[k].points) overlay_point(a->picture, a->point[k].x, a->point[k].y, true);
    }
    return coco_put_result(&s->results, &r, e);
}

static bool batch_ask(Segment *s, Asked *a, Error *e) {
    PredictorMasks masks;
    if (a->n == 0) return true;
    if (!predictor_ask(s->model.predictor, a->on, a->prompt, a->n, s->set->multimask, s->hq, &masks, e))
        return false;
    for (int k = 0; k < a->n; k++)
        if (!answer_put(s, a, &masks, k, e)) return false;
    a->n = 0;
    return true;
}

static bool all_ask(Segment *s, Asked *a, const CocoImage *im, Error *e) {
    const CocoAnnotation *from = s->coco->annotation + im->first;
    for (int64_t k = 0; k < im->count; k++) {
        if (from[k].crowd) continue;
        if (!prompt_add(s, a, &from[k], e)) return false;
        if (a->n == BATCH && !batch_ask(s, a, e)) return false;
    }
    return batch_ask(s, a, e);
}

bool segment_coco(Segment *s, int64_t i, Error *e) {
    const CocoImage *im = &s->coco->image[i];
    const int w = s->image.width, h = s->image.height;
    char path[FILE_PATH];
    if (im->width && (im->width != w || im->height != h))
        return error_set(e, ERROR_VALUE, "%s: is %d x %d, %s says %d x %d", s->path[i], w, h, s->set->prompts,
                         im->width, im->height);
    const size_t pixels = (size_t)w * (size_t)h;
    Image picture = {0};
    Embedding *on = NULL;
    Asked *a = mem_zero(1, sizeof *a);
    bool fine = a && (a->full = mem_get(pixels * sizeof *a->full)) && (a->mask = mem_get(pixels)) &&
                        (a->part = mem_get(pixels))
                    ? true
                    : error_memory(e, pixels * sizeof *a->full);
    if (fine && s->set->pictures) {
        fine = image_reserve(&picture, w, h, e);
        if (fine) memcpy(picture.pixel, s->image.pixel, pixels * 3);
        a->picture = &picture;
    }
    fine = fine && predictor_embed(s->model.predictor, &s->image, NULL, NULL, &on, e);
    if (fine) a->on = on;
    fine = fine && all_ask(s, a, im, e);
    if (fine && s->set->pictures)
        fine = names_path(&s->guard, path, s->set->out, s->name[i], ".png", e) &&
               image_write_png(&picture, path, e);
    if (a) {
        mem_free(a->full);
        mem_free(a->mask);
        mem_free(a->part);
        bytes_free(&a->runs);
        bytes_free(&a->scratch);
    }
    mem_free(a);
    image_free(&picture);
    embedding_close(on);
    return fine;
}

/* Collective. Rank 0 receives every rank's list, one behind the other, in `all`. */
static bool lists_gather(const Bytes *mine, Bytes *all, Error *e) {
    const int ranks = comm_size();
    double most = (double)mine->size;
    comm_most(&most, 1);
    uint8_t *send = mem_get(CHUNK + 8), *got = comm_first() ? mem_get((size_t)ranks * (CHUNK + 8)) : NULL;
    Bytes *of = mem_zero((size_t)ranks, sizeof *of);
    bool fine = send && of && (got || !comm_first()) ? true : error_memory(e, (size_t)ranks * CHUNK);
    if (comm_agree(fine, e) && send && of) {
        for (size_t at = 0; at < (size_t)most; at += CHUNK) {
            uint64_t n = at < mine->size ? mine->size - at : 0;
            if (n > CHUNK) n = CHUNK;
            memcpy(send, &n, 8);
            if (n) memcpy(send + 8, mine->data + at, n);
            comm_gather(send, CHUNK + 8, got);
            for (int r = 0; got && fine && r < ranks; r++) {
                const uint8_t *from = got + (size_t)r * (CHUNK + 8);
                memcpy(&n, from, 8);
                fine = bytes_append(&of[r], from + 8, n, e);
            }
        }
    } else {
        fine = false;
    }
    for (int r = 0; got && fine && r < ranks; r++)
        if (of[r].size)
            fine = (!all->size || bytes_append(all, ",\n", 2, e)) &&
                   bytes_append(all, of[r].data, of[r].size, e);
    for (int r = 0; of && r < ranks; r++) bytes_free(&of[r]);
    mem_free(of);
    mem_free(send);
    mem_free(got);
    return fine;
}

bool segment_coco_write(Segment *s, Error *e) {
    char path[FILE_PATH];
    Bytes all = {0};
    bool fine = lists_gather(&s->results, &all, e);
    if (fine && comm_first())
        fine = names_path(&s->guard, path, s->set->out, "results", ".json", e) &&
               coco_write_results(path, &all, e);
    bytes_free(&all);
    return comm_agree(fine, e);
}
