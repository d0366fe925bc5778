#include "mim/classify_draw.h"

#include "core/json.h"
#include "mim/classify.h"

#include <math.h>
#include <string.h>

enum { COLUMNS = 8, FRAME = 3, GAP = 3, WHITE = 255 };

static void put(Picture *out, int64_t x, int64_t y, uint8_t r, uint8_t g, uint8_t b) {
    uint8_t *p = out->pixel + (y * out->width + x) * 3;
    p[0] = r, p[1] = g, p[2] = b;
}

/* {"label": "s03", "predicted": "s07", "probability": 0.83, "right": false}, without the braces. */
static void note_write(const Task *task, char *note, int64_t label, int64_t best, double probability) {
    char text[TASK_NOTE];
    JsonWriter w = json_writer(text, sizeof text, 0);
    char *const *name = task->class_name;
    json_put_open(&w, NULL, '{');
    if (label >= 0 && label < task->names)
        json_put_text(&w, "label", name[label]);
    else
        json_put_null(&w, "label");
    if (best < task->names)
        json_put_text(&w, "predicted", name[best]);
    else
        json_put_int(&w, "predicted", best);
    json_put_real(&w, "probability", probability);
    if (label >= 0) json_put_bool(&w, "right", best == label);
    json_put_close(&w, '}');
    size_t n = strlen(text);
    note[0] = 0;
    if (!w.full && n > 2) memcpy(note, text + 1, n - 2), note[n - 2] = 0;
}

bool classify_draw(Task *task, Step *s, const Batch *batch, Picture *out, char (*note)[TASK_NOTE], Error *e) {
    int64_t side = task->image_size, cell = side + 2 * FRAME + GAP,
            across = batch->n < COLUMNS ? batch->n : COLUMNS;
    *out = (Picture){.width = (int)(across * cell), .height = (int)((batch->n + across - 1) / across * cell)};
    size_t bytes = (size_t)out->width * (size_t)out->height * 3;
    if (!(out->pixel = mem_get(bytes))) return error_memory(e, bytes);
    memset(out->pixel, WHITE, bytes);
    bool was = step_no_grad(s), training = s->training;
    s->training = false;
    Tensor *logits = step_host(s, task->class->outputs(task, s, batch));
    step_grad_on(s, was);
    s->training = training;
    int64_t classes = logits->dim[1];
    for (int64_t b = 0; b < batch->n; b++) {
        int64_t best = 0, left = b % across * cell, top = b / across * cell;
        double sum = 0;
        for (int64_t k = 1; k < classes; k++)
            if (tensor_at(logits, b * classes + k) > tensor_at(logits, b * classes + best)) best = k;
        for (int64_t k = 0; k < classes; k++)
            sum += exp((double)(tensor_at(logits, b * classes + k) - tensor_at(logits, b * classes + best)));
        bool known = batch->label[b] >= 0, right = best == batch->label[b];
        for (int64_t y = 0; y < side + 2 * FRAME; y++)
            for (int64_t x = 0; x < side + 2 * FRAME; x++)
                put(out, left + x, top + y,
                    known && right ? 0
                    : known        ? 200
                                   : 128,
                    known && right ? 160
                    : known        ? 0
                                   : 128,
                    known ? 0 : 128);
        for (int64_t y = 0; y < side; y++)
            for (int64_t x = 0; x < side; x++) {
                uint8_t rgb[3];
                for (int64_t c = 0; c < 3; c++) {
                    double v = (double)tensor_real(&batch->image)[((b * 3 + c) * side + y) * side + x];
                    v = v * task->std[c] + task->mean[c];
                    rgb[c] = (uint8_t)(v <= 0 ? 0 : v >= 1 ? 255 : v * 255 + 0.5);
                }
                put(out, left + FRAME + x, top + FRAME + y, rgb[0], rgb[1], rgb[2]);
            }
        if (note) note_write(task, note[b], batch->label[b], best, 1 / sum);
    }
    return true;
}
