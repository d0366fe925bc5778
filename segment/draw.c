/* A sample as a picture: the image with every mask that the grid of points finds, each in a colour. */
#include "core/json.h"
#include "segment/generator.h"
#include "segment/task_inside.h"

#include <math.h>
#include <string.h>

/* The image as it was before normalisation and padding. */
static bool image_undo(const Task *task, const Batch *batch, Image *im, Error *e) {
    int64_t side = task->image_size, high = batch->fit ? batch->fit[0] : side,
            wide = batch->fit ? batch->fit[1] : side;
    if (!image_reserve(im, (int)wide, (int)high, e)) return false;
    for (int64_t i = 0; i < high * wide; i++)
        for (int64_t c = 0; c < 3; c++) {
            int64_t at = (c * side + i / wide) * side + i % wide;
            double v = (double)tensor_real(&batch->image)[at] * task->std[c] + task->mean[c];
            im->pixel[3 * i + c] = (uint8_t)(v <= 0 ? 0 : v >= 1 ? 255 : v * 255 + 0.5);
        }
    return true;
}

/* Colours far apart: hues a golden angle from one to the next. */
static void colour_of(int64_t n, double rgb[3]) {
    double hue = fmod((double)n * 0.61803398875, 1) * 6;
    for (int c = 0; c < 3; c++) {
        double d = fabs(fmod(hue + 6 - 2 * c, 6) - 3) - 1; /* 0 .. 1 .. 0 around each primary */
        rgb[c] = 255 * (d < 0 ? 0 : d > 1 ? 1 : d);
    }
}

static void mask_lay(uint8_t *pixel, const uint8_t *mask, int64_t pixels, const double rgb[3]) {
    for (int64_t i = 0; i < pixels; i++)
        for (int c = 0; c < 3 && mask[i]; c++)
            pixel[3 * i + c] = (uint8_t)(0.5 * pixel[3 * i + c] + 0.5 * rgb[c]);
}

/* {"masks": 3, "iou": [0.91, 0.88, 0.8]}, without the braces: what was found, and its predicted IoU. */
static void note_write(const GeneratorMasks *found, char note[TASK_NOTE]) {
    char text[TASK_NOTE];
    JsonWriter w = json_writer(text, sizeof text, 0);
    json_put_open(&w, NULL, '{');
    json_put_int(&w, "masks", found->count);
    json_put_open(&w, "iou", '[');
    for (int64_t i = 0; i < found->count && i < 16; i++)
        json_put_real(&w, NULL, round(found->mask[i].iou * 1e4) / 1e4);
    json_put_close(&w, ']');
    json_put_close(&w, '}');
    size_t n = strlen(text);
    note[0] = '\0';
    if (!w.full && n > 2) memcpy(note, text + 1, n - 2), note[n - 2] = '\0';
}

static bool masks_lay(const GeneratorMasks *found, Picture *out, Error *e) {
    int64_t pixels = (int64_t)out->width * out->height;
    uint8_t *mask = mem_get((size_t)pixels);
    if (!mask) return error_memory(e, (size_t)pixels);
    for (int64_t i = found->count - 1; i >= 0; i--) { /* the surest on top */
        double rgb[3];
        colour_of(i, rgb);
        rle_to_mask(&found->mask[i].rle, mask);
        mask_lay(out->pixel, mask, pixels, rgb);
    }
    mem_free(mask);
    return true;
}

bool segment_draw(Task *task, Step *s, const Batch *batch, Picture *out, char (*note)[TASK_NOTE], Error *e) {
    GeneratorSettings set = generator_standard;
    Predictor *p = NULL;
    Image im = {0};
    GeneratorMasks found = {0};
    set.points_per_side = 16;
    bool fine = image_undo(task, batch, &im, e) && predictor_open(&p, task, s->compute, e) &&
                generator_run(p, &im, &set, NULL, NULL, &found, e);
    *out = (Picture){.width = im.width, .height = im.height};
    size_t bytes = (size_t)out->width * (size_t)out->height * 3;
    if (fine && !(out->pixel = mem_get(bytes))) fine = error_memory(e, bytes);
    if (fine) {
        memcpy(out->pixel, im.pixel, bytes);
        fine = masks_lay(&found, out, e);
    }
    if (fine && note) note_write(&found, note[0]);
    if (!fine) mem_free(out->pixel), out->pixel = NULL;
    generator_free(&found);
    predictor_close(p);
    image_free(&im);
    return fine;
}
