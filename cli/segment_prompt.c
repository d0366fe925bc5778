/* One prompt about one image. */
#include "cli/coco_write.h"
#include "cli/overlay.h"
#include "cli/segment.h"

#include "core/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POINTS = 1000, MORE = 64 * POINTS + 2 * FILE_PATH };

static const double sure = 6.906754778648554; /* the logit of 0.999 */
static const char logits_name[] = "low_res_logits", iou_name[] = "predicted_iou";

typedef struct Prompt {
    PredictorPoint point[POINTS];
    double box[4];
    float *logits;
    PredictorPrompt ask;
    char more[MORE]; /* the prompt as JSON */
} Prompt;

/* lo to hi numbers with commas between. */
static bool numbers_read(const char *option, const char *text, double *out, int lo, int hi, int *count,
                         const char *form, Error *e) {
    const char *at = text;
    for (*count = 0; *count < hi; (*count)++) {
        char *end;
        out[*count] = strtod(at, &end);
        if (end == at || !isfinite(out[*count])) break;
        at = end;
        if (*at != ',') {
            (*count)++;
            break;
        }
        at++;
    }
    if (*at == 0 && *count >= lo && at > text && at[-1] != ',') return true;
    return error_set(e, ERROR_VALUE, "--%s %s: expected %s", option, text, form);
}

static bool point_read(const char *text, PredictorPoint *out, Error *e) {
    double v[3] = {0, 0, 1};
    int n;
    if (!numbers_read("point", text, v, 2, 3, &n, "x,y or x,y,0 (outside) or x,y,1 (inside), in pixels", e))
        return false;
    if (v[2] != 0 && v[2] != 1)
        return error_set(e, ERROR_VALUE, "--point %s: the third number is 0 (outside) or 1 (inside)", text);
    *out = (PredictorPoint){v[0], v[1], (int)v[2]};
    return true;
}

static bool box_read(const char *text, double out[4], Error *e) {
    int n;
    if (!numbers_read("box", text, out, 4, 4, &n, "x0,y0,x1,y1 in pixels", e)) return false;
    if (out[2] <= out[0] || out[3] <= out[1])
        return error_set(e, ERROR_VALUE, "--box %s: x1 must be greater than x0, and y1 than y0", text);
    return true;
}

bool segment_prompt_check(const SegmentOptions *set, Error *e) {
    PredictorPoint point;
    double box[4];
    if (set->point.count > POINTS) return error_set(e, ERROR_LIMIT, "more than %d points", POINTS);
    if (set->box.count > 1)
        return error_set(e, ERROR_VALUE,
                         "one --box a call: a prompt is about one object; --prompts takes many");
    for (int i = 0; i < set->point.count; i++)
        if (!point_read(set->point.item[i], &point, e)) return false;
    return set->box.count == 0 || box_read(set->box.item[0], box, e);
}

static bool prompt_fits(const Prompt *p, const SegmentOptions *set, const Image *im, const char *path,
                        Error *e) {
    for (int i = 0; i < p->ask.points; i++) {
        const PredictorPoint *q = &p->point[i];
        if (q->x < 0 || q->y < 0 || q->x >= im->width || q->y >= im->height)
            return error_set(e, ERROR_VALUE, "--point %s: outside %s, which is %d x %d", set->point.item[i],
                             path, im->width, im->height);
    }
    const double *b = p->ask.box;
    if (b && (b[0] < 0 || b[1] < 0 || b[2] > im->width || b[3] > im->height))
        return error_set(e, ERROR_VALUE, "--box %s: leaves %s, which is %d x %d", set->box.item[0], path,
                         im->width, im->height);
    return true;
}

/* Shares of the cells of one axis: cell c covers pixels [c / scale, (c + 1) / scale). Adds what pixel i of
 * weight `value` gives to the two or more cells it lies in. */
static void spread(double *cell, int64_t cells, int i, double scale, double value) {
    const double from = i * scale, to = (i + 1) * scale;
    for (int64_t c = (int64_t)from; c < cells && (double)c < to; c++)
        cell[c] += value * (fmin(to, (double)c + 1) - fmax(from, (double)c));
}

/* A bitmap as the low-resolution logits that would have made it: each cell's logit is that of the share of
 * it that is inside, at most that of 0.999; beside the picture is outside. */
static bool logits_of_mask(const Image *mask, int64_t low, float *out, Error *e) {
    const int longer = mask->width > mask->height ? mask->width : mask->height;
    const double scale = (double)low / longer;
    double *room = mem_zero((size_t)(low * low + low), sizeof *room), *row = room ? room + low * low : NULL;
    if (!room) return error_memory(e, (size_t)(low * low) * sizeof *room);
    for (int y = 0; y < mask->height; y++) {
        memset(row, 0, (size_t)low * sizeof *row);
        for (int x = 0; x < mask->width; x++)
            if (mask->pixel[((size_t)y * (size_t)mask->width + (size_t)x) * 3] > 127)
                spread(row, low, x, scale, 1);
        const double from = y * scale, to = (y + 1) * scale;
        for (int64_t c = (int64_t)from; c < low && (double)c < to; c++)
            for (int64_t x = 0; x < low; x++)
                room[c * low + x] += row[x] * (fmin(to, (double)c + 1) - fmax(from, (double)c));
    }
    for (int64_t i = 0; i < low * low; i++)
        out[i] = (float)fmin(fmax(log(room[i] / fmax(1 - room[i], 1e-9)), -sure), sure);
    mem_free(room);
    return true;
}

/* Of several masks the one of which the model thought best. */
static bool logits_of_file(const char *path, int64_t low, float *out, Error *e) {
    SafeFile *f = NULL;
    real *all = NULL;
    float iou[8] = {0};
    bool fine = safe_open(&f, path, e);
    const SafeEntry *x = fine ? safe_find(f, logits_name) : NULL;
    if (fine && (!x || x->ndim != 3 || x->dim[0] < 1 || x->dim[0] > COUNT(iou) || x->dim[1] != low ||
                 x->dim[2] != low))
        fine = error_set(e, ERROR_FORMAT,
                         "%s: needs a tensor \"%s\" of [1 to %d, %lld, %lld], as --save-logits writes it",
                         path, logits_name, COUNT(iou), (long long)low, (long long)low);
    const int64_t n = fine ? x->dim[0] : 0;
    const SafeEntry *quality = fine ? safe_find(f, iou_name) : NULL;
    int64_t best = 0;
    if (fine && !(all = mem_get((size_t)(n * low * low) * sizeof *all)))
        fine = error_memory(e, (size_t)(n * low * low));
    fine = fine && safe_read_real(f, x, all, n * low * low, e);
    if (fine && quality && n > 1) fine = safe_read_real(f, quality, iou, n, e);
    for (int64_t k = 1; k < n; k++)
        if (iou[k] > iou[best]) best = k;
    for (int64_t i = 0; fine && i < low * low; i++) {
        out[i] = all[best * low * low + i];
        if (!isfinite(out[i]))
            fine = error_set(e, ERROR_NUMERIC, "%s: holds values that are not finite", path);
    }
    mem_free(all);
    safe_close(f);
    return fine;
}

static bool mask_prompt_read(const char *path, const Image *im, int64_t low, float *out, Error *e) {
    const char *dot = strrchr(path, '.');
    Image mask = {0};
    if (dot && !strcmp(dot, ".safetensors")) return logits_of_file(path, low, out, e);
    bool fine = image_read(&mask, path, &image_standard, e);
    if (fine && (mask.width != im->width || mask.height != im->height))
        fine = error_set(e, ERROR_VALUE, "--mask %s: is %d x %d, the image %d x %d", path, mask.width,
                         mask.height, im->width, im->height);
    fine = fine && logits_of_mask(&mask, low, out, e);
    image_free(&mask);
    return fine;
}

static void prompt_tell(Prompt *p, const SegmentOptions *set) {
    JsonWriter w = json_writer(p->more, sizeof p->more, 0);
    json_put_open(&w, NULL, '{');
    json_put_open(&w, "points", '[');
    for (int i = 0; i < p->ask.points; i++) {
        json_put_open(&w, NULL, '[');
        json_put_real(&w, NULL, p->point[i].x);
        json_put_real(&w, NULL, p->point[i].y);
        json_put_int(&w, NULL, p->point[i].label);
        json_put_close(&w, ']');
    }
    json_put_close(&w, ']');
    if (p->ask.box) {
        json_put_open(&w, "box", '[');
        for (int k = 0; k < 4; k++) json_put_real(&w, NULL, p->box[k]);
        json_put_close(&w, ']');
    }
    if (set->mask) json_put_text(&w, "mask", set->mask);
    json_put_close(&w, '}');
    if (w.full) die("a prompt of %d points has no room", p->ask.points);
}

/* All of it before the image is embedded, which takes seconds. */
static bool prompt_read(Prompt *p, const Segment *s, const char *path, Error *e) {
    const SegmentOptions *set = s->set;
    const int64_t low = s->model.setup.task.image_size / 4;
    for (int i = 0; i < set->point.count; i++)
        if (!point_read(set->point.item[i], &p->point[i], e)) return false;
    p->ask.point = p->point;
    p->ask.points = set->point.count;
    if (set->box.count) {
        if (!box_read(set->box.item[0], p->box, e)) return false;
        p->ask.box = p->box;
    }
    if (!prompt_fits(p, set, &s->image, path, e)) return false;
    prompt_tell(p, set);
    if (!set->mask) return true;
    p->logits = mem_get((size_t)(low * low) * sizeof *p->logits);
    if (!p->logits) return error_memory(e, (size_t)(low * low) * sizeof *p->logits);
    p->ask.logits = p->logits;
    return mask_prompt_read(set->mask, &s->image, low, p->logits, e);
}

/* What is written of one image. */
typedef struct Answer {
    const Segment *s;
    const char *name, *path;
    const Prompt *prompt;
    const Embedding *on;
    PredictorMasks masks;
    float *full;   /* of one mask at a time */
    uint8_t *mask; /* the same */
    Bytes list, runs;
} Answer;

bool segment_write_mask(const char *path, uint8_t *mask, int width, int height, Error *e) {
    for (size_t i = 0; i < (size_t)width * (size_t)height; i++) mask[i] = mask[i] ? 255 : 0;
    return image_write_grey(mask, width, height, path, e);
}

static void mask_make(Answer *a, int k) {
    const int64_t low = embedding_low(a->on), pixels = (int64_t)a->masks.height * a->masks.width;
    predictor_upscale(a->on, a->masks.low + k * low * low, a->full);
    for (int64_t i = 0; i < pixels; i++) a->mask[i] = a->full[i] > 0;
}

static bool mask_put(Answer *a, int k, Error *e) {
    char path[FILE_PATH], suffix[32] = "_mask.png";
    const SegmentOptions *set = a->s->set;
    const int w = a->masks.width, h = a->masks.height;
    Rle rle;
    if (set->multimask) snprintf(suffix, sizeof suffix, "_mask%d.png", k);
    mask_make(a, k);
    a->runs.size = 0;
    if (!rle_from_mask(&rle, &a->runs, a->mask, h, w, e)) return false;
    CocoRecord r = {.image = 1, .category = 1, .rle = &rle, .iou = (double)a->masks.iou[k]};
    char more[MORE + 20];
    snprintf(more, sizeof more, "\"prompt\": %s", a->prompt->more);
    r.more = more;
    r.stability = predictor_stability(a->full, (int64_t)w * h, a->s->set->generator.stability_offset);
    coco_box(&rle, r.box);
    printf("%s%s: %lld pixels, predicted IoU %.4f, stability %.4f\n", a->name, suffix,
           (long long)rle_area(&rle), r.iou, r.stability);
    return coco_put_annotation(&a->list, k + 1, &r, e) &&
           names_path(&a->s->guard, path, set->out, a->name, suffix, e) &&
           segment_write_mask(path, a->mask, w, h, e);
}

/* The picture with the mask that the model thinks best. */
static bool picture_put(Answer *a, Image *im, Error *e) {
    char path[FILE_PATH];
    int best = 0;
    for (int k = 1; k < a->masks.each; k++)
        if (a->masks.iou[k] > a->masks.iou[best]) best = k;
    mask_make(a, best);
    overlay_mask(im, a->mask, overlay_colour(0));
    if (a->prompt->ask.box) overlay_box(im, a->prompt->box);
    for (int i = 0; i < a->prompt->ask.points; i++) {
        const PredictorPoint *p = &a->prompt->point[i];
        overlay_point(im, p->x, p->y, p->label == 1);
    }
    return names_path(&a->s->guard, path, a->s->set->out, a->name, ".png", e) && image_write_png(im, path, e);
}

static bool logits_put(const Answer *a, Error *e) {
    char path[FILE_PATH];
    const int64_t low = embedding_low(a->on);
    SafeItem item[] = {
        {.name = logits_name,
         .type = SAFE_F32,
         .ndim = 3,
         .dim = {a->masks.each, low, low},
         .data = a->masks.low},
        {.name = iou_name, .type = SAFE_F32, .ndim = 1, .dim = {a->masks.each}, .data = a->masks.iou}};
    return names_path(&a->s->guard, path, a->s->set->out, a->name, "_logits.safetensors", e) &&
           safe_save(path, item, COUNT(item), NULL, 0, NULL, e);
}

static bool answer_write(Answer *a, Image *im, Error *e) {
    char path[FILE_PATH];
    const size_t pixels = (size_t)a->masks.height * (size_t)a->masks.width;
    a->full = mem_get(pixels * sizeof *a->full);
    a->mask = mem_get(pixels);
    bool fine = a->full && a->mask ? true : error_memory(e, pixels * sizeof *a->full);
    for (int k = 0; fine && k < a->masks.each; k++) fine = mask_put(a, k, e);
    if (fine && a->s->set->save_logits) fine = logits_put(a, e);
    fine = fine && picture_put(a, im, e) &&
           names_path(&a->s->guard, path, a->s->set->out, a->name, ".json", e) &&
           coco_write_image(path, a->path, im->width, im->height, &a->list, e);
    mem_free(a->full);
    mem_free(a->mask);
    bytes_free(&a->list);
    bytes_free(&a->runs);
    return fine;
}

bool segment_prompt(Segment *s, int64_t i, Error *e) {
    Prompt *p = mem_zero(1, sizeof *p);
    Embedding *on = NULL;
    Answer a = {.s = s, .name = s->name[i], .path = s->path[i], .prompt = p};
    bool fine = p ? true : error_memory(e, sizeof *p);
    fine = fine && prompt_read(p, s, s->path[i], e) &&
           predictor_embed(s->model.predictor, &s->image, NULL, NULL, &on, e) &&
           predictor_ask(s->model.predictor, on, &p->ask, 1, s->set->multimask, s->hq, &a.masks, e);
    a.on = on;
    fine = fine && answer_write(&a, &s->image, e);
    embedding_close(on);
    if (p) mem_free(p->logits);
    mem_free(p);
    return fine;
}
