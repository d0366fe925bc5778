#include "mim/mae_draw.h"

#include "mim/mae.h"

#include <math.h>
#include <stdio.h>

enum { PANELS = 4, GAP = 4, GREY = 128, WHITE = 255 };

static uint8_t byte_of(double v) {
    return (uint8_t)(v <= 0 ? 0 : v >= 1 ? 255 : v * 255 + 0.5);
}

/* Writes patch l of a panel: values [p, p, 3] after normalisation, or flat grey when values is NULL. */
static void put_patch(const Task *task, const Mae *m, Picture *out, int64_t left, int64_t top, int64_t l,
                      const double *values) {
    int64_t p = m->vit.patch, y0 = top + l / m->vit.grid * p, x0 = left + l % m->vit.grid * p;
    for (int64_t y = 0; y < p; y++)
        for (int64_t x = 0; x < p; x++)
            for (int64_t c = 0; c < 3; c++) {
                uint8_t *to = out->pixel + ((y0 + y) * out->width + x0 + x) * 3 + c;
                *to = values ? byte_of(values[(y * p + x) * 3 + c] * task->std[c] + task->mean[c]) : GREY;
            }
}

bool mae_draw(Task *task, Step *s, const Batch *batch, Picture *out, char (*note)[TASK_NOTE], Error *e) {
    Mae *m = task->self;
    int64_t side = m->vit.image_size, count = m->vit.grid * m->vit.grid,
            each = m->vit.patch * m->vit.patch * 3;
    *out = (Picture){.width = (int)(PANELS * side + (PANELS - 1) * GAP),
                     .height = (int)(batch->n * (side + GAP) - GAP)};
    out->pixel = mem_get((size_t)out->width * (size_t)out->height * 3);
    double *room = mem_get((size_t)each * sizeof *room);
    if (!out->pixel || !room) {
        mem_free(room);
        mem_free(out->pixel);
        return error_memory(e, (size_t)out->width * (size_t)out->height * 3);
    }
    for (int64_t i = 0; i < (int64_t)out->width * out->height * 3; i++) out->pixel[i] = WHITE;
    bool was = step_no_grad(s), training = s->training;
    s->training = false;
    Tensor *image = step_input(s, &batch->image);
    MaeMask mask = mae_mask_drawn(s, m, batch, true);
    Tensor *pred = mae_decoder(s, m, mae_encoder(s, m, image, &mask), &mask);
    Tensor *plain = op_patchify(s, image, NULL, (int)m->vit.patch, PATCH_CHANNEL_LAST);
    step_grad_on(s, was);
    s->training = training;
    for (int64_t b = 0; b < batch->n; b++) {
        int64_t top = b * (side + GAP);
        double error = 0, hidden_pixels = 0;
        for (int64_t l = 0; l < count; l++) {
            int64_t at = (b * count + l) * each;
            double mean = 0, var = 0;
            for (int64_t j = 0; j < each; j++) mean += (double)tensor_real(plain)[at + j] / (double)each;
            for (int64_t j = 0; j < each; j++) var += pow((double)tensor_real(plain)[at + j] - mean, 2);
            double scale = m->set.norm_pix ? sqrt(var / (double)(each - 1) + 1e-6) : 1,
                   shift = m->set.norm_pix ? mean : 0;
            bool hidden = tensor_real(mask.mask)[b * count + l] > 0;
            for (int64_t j = 0; j < each; j++) room[j] = (double)tensor_real(plain)[at + j];
            put_patch(task, m, out, 0, top, l, room);
            put_patch(task, m, out, side + GAP, top, l, hidden ? NULL : room);
            if (!hidden) put_patch(task, m, out, 3 * (side + GAP), top, l, room);
            for (int64_t j = 0; j < each; j++) {
                double v = (double)tensor_at(pred, at + j) * scale + shift,
                       d = (v - room[j]) * task->std[j % 3];
                if (hidden) error += d * d, hidden_pixels++;
                room[j] = v;
            }
            put_patch(task, m, out, 2 * (side + GAP), top, l, room);
            if (hidden) put_patch(task, m, out, 3 * (side + GAP), top, l, room);
        }
        if (note) snprintf(note[b], TASK_NOTE, "\"psnr\": %.3f", 10 * log10(hidden_pixels / (error + 1e-12)));
    }
    mem_free(room);
    return true;
}
