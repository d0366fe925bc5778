#include "data/sample.h"

#include <string.h>

#include "data/exact.h"

enum { INSIDE = 128 };

bool sample_axis(SampleAxis *a, int in, int out, int first, int count, bool mirror, Error *e) {
    size_t n = (size_t)count, each = sizeof *a->low + sizeof *a->high + sizeof *a->share;
    if (!bytes_reserve(&a->memory, n * each, e)) return false;
    a->count = count;
    a->low = (int *)(void *)a->memory.data;
    a->high = a->low + n;
    a->share = (float *)(void *)(a->high + n);
    float scale = (float)in / (float)out;
    for (int i = 0; i < count; i++) {
        float at = scale * ((float)(first + i) + 0.5f) - 0.5f;
        at = at < 0.0f ? 0.0f : at;
        int low = (int)at;
        low = low > in - 1 ? in - 1 : low;
        int high = low < in - 1 ? low + 1 : low;
        float share = at - (float)low;
        a->share[i] = share > 1.0f ? 1.0f : share;
        a->low[i] = mirror ? in - 1 - low : low;
        a->high[i] = mirror ? in - 1 - high : high;
    }
    return true;
}

void sample_axis_free(SampleAxis *a) {
    bytes_free(&a->memory);
    *a = (SampleAxis){0};
}

static float between(float a, float b, float share) {
    return a * (1.0f - share) + b * share;
}

bool sample_image(Image *out, const Image *in, const SampleAxis *x, const SampleAxis *y, Error *e) {
    if (!image_reserve(out, x->count, y->count, e)) return false;
    size_t row = (size_t)in->width * 3;
    uint8_t *to = out->pixel;
    for (int j = 0; j < y->count; j++) {
        const uint8_t *top = in->pixel + (size_t)y->low[j] * row,
                      *bottom = in->pixel + (size_t)y->high[j] * row;
        for (int i = 0; i < x->count; i++) {
            size_t left = (size_t)x->low[i] * 3, right = (size_t)x->high[i] * 3;
            for (size_t c = 0; c < 3; c++)
                *to++ =
                    (uint8_t)between(between(top[left + c], top[right + c], x->share[i]),
                                     between(bottom[left + c], bottom[right + c], x->share[i]), y->share[j]);
        }
    }
    return true;
}

/* The outputs of an axis that see something of lo .. lo + size - 1: *from .. *to - 1. Neighbours run one way
 * along an axis, so these are a stretch of it. */
static void touching(const SampleAxis *a, int lo, int size, int *from, int *to) {
    *from = *to = 0;
    for (int i = 0; i < a->count; i++) {
        int least = a->low[i] < a->high[i] ? a->low[i] : a->high[i],
            most = a->low[i] < a->high[i] ? a->high[i] : a->low[i];
        if (most < lo || least >= lo + size) continue;
        if (*to == 0) *from = i;
        *to = i + 1;
    }
}

int64_t sample_mask(uint8_t *out, int side, const GreyPlane *in, const SampleAxis *x, const SampleAxis *y) {
    int x0, x1, y0, y1;
    int64_t inside = 0;
    memset(out, 0, (size_t)side * (size_t)side);
    touching(x, in->box.x, in->box.width, &x0, &x1);
    touching(y, in->box.y, in->box.height, &y0, &y1);
    for (int j = y0; j < y1; j++) {
        const uint8_t *top = in->value + (size_t)y->low[j] * in->down,
                      *bottom = in->value + (size_t)y->high[j] * in->down;
        uint8_t *row = out + (size_t)j * (size_t)side;
        for (int i = x0; i < x1; i++) {
            size_t left = (size_t)x->low[i] * in->across, right = (size_t)x->high[i] * in->across;
            float v = between(between(top[left], top[right], x->share[i]),
                              between(bottom[left], bottom[right], x->share[i]), y->share[j]);
            row[i] = (uint8_t)(v + 0.5f);
            inside += row[i] >= INSIDE;
        }
    }
    return inside;
}
