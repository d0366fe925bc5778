#include "data/fit.h"

#include <math.h>

#include "data/exact.h"

static Fit whole(int width, int height) {
    width = width < 1 ? 1 : width;
    height = height < 1 ? 1 : height;
    return (Fit){.width = width, .height = height, .window = {0, 0, width, height}};
}

static Fit fit_longest(int size, int width, int height) {
    double scale = size * 1.0 / (width > height ? width : height);
    Fit f = whole((int)(width * scale + 0.5), (int)(height * scale + 0.5));
    f.smooth = true;
    return f;
}

/* In single precision, halves to even, as the reference. */
static Fit fit_jitter(const Augment *a, Rng *r, int width, int height) {
    float share = (float)rng_range(r, a->set->lsj_min, a->set->lsj_max), size = (float)a->size;
    float side = rintf(share * size), across = side / (float)width, down = side / (float)height;
    float scale = across < down ? across : down;
    Fit f = whole((int)rintf((float)width * scale), (int)rintf((float)height * scale));
    f.grey = true;
    if (f.window.width > a->size) f.window.width = a->size;
    if (f.window.height > a->size) f.window.height = a->size;
    f.window.y = (int)rng_below(r, (uint64_t)(f.height - f.window.height + 1));
    f.window.x = (int)rng_below(r, (uint64_t)(f.width - f.window.width + 1));
    return f;
}

Fit fit_draw(const Augment *a, Rng rng, int width, int height, bool jitter) {
    const DataSettings *set = a->set;
    Fit f = set->geometry == GEOMETRY_STRETCH ? whole(a->size, a->size) : fit_longest(a->size, width, height);
    if (!a->train) return f;
    Rng draw = rng_sub(rng, AUGMENT_SCALE);
    if (jitter && (set->lsj_min != 1.0 || set->lsj_max != 1.0)) f = fit_jitter(a, &draw, width, height);
    draw = rng_sub(rng, AUGMENT_FLIP);
    f.mirror = rng_uniform(&draw) < set->hflip;
    return f;
}

bool fit_axes(const Fit *f, int width, int height, SampleAxis *x, SampleAxis *y, Error *e) {
    return sample_axis(x, width, f->width, f->window.x, f->window.width, f->mirror, e) &&
           sample_axis(y, height, f->height, f->window.y, f->window.height, false, e);
}

bool fit_size(const Augment *a, const AugmentSource *from, int32_t size[2], Error *e) {
    ImageInfo info = {.orientation = 1};
    if (from->decoded) {
        info.width = from->decoded->width, info.height = from->decoded->height;
    } else if (!image_probe(&info, from->data, from->size, from->name, &a->limits, e)) {
        return false;
    }
    size[0] = image_info_height(&info);
    size[1] = image_info_width(&info);
    return true;
}

/* The whole picture as seen, in the scratch. */
static bool decode(const Augment *a, AugmentScratch *s, const AugmentSource *from, const Image **out,
                   Error *e) {
    ImageInfo info;
    ImagePart part;
    *out = from->decoded;
    if (from->decoded) return true;
    if (!image_probe(&info, from->data, from->size, from->name, &a->limits, e)) return false;
    ImageBox all = {0, 0, info.width, info.height};
    if (!image_decode_part(&s->part, &part, from->data, from->size, from->name, all, 1, &a->limits, e))
        return false;
    *out = &s->part;
    if (info.orientation == 1) return true;
    *out = &s->upright;
    return image_orient(&s->upright, &s->part, info.orientation, e);
}

static bool resize(AugmentScratch *s, const Image *im, const Fit *f, Error *e) {
    if (f->smooth) {
        ResizeView view = resize_view(im);
        ResizeTo to = resize_whole(view, f->width, f->height, RESIZE_BILINEAR);
        return resize_run(&s->resizer, &s->sized, view, &to, e);
    }
    return fit_axes(f, im->width, im->height, &s->x, &s->y, e) &&
           sample_image(&s->sized, im, &s->x, &s->y, e);
}

/* Normalises into the square's corner and pads the rest. */
static void put(const Augment *a, const Image *im, const Fit *f, float *out) {
    int size = a->size;
    bool back = f->smooth && f->mirror; /* what was sampled is mirrored already */
    for (int c = 0; c < 3; c++) {
        float pad = f->grey ? a->value[c][128] : 0.0f;
        for (int y = 0; y < size; y++, out += size) {
            int width = y < im->height ? im->width : 0;
            const uint8_t *from = im->pixel + (size_t)y * (size_t)im->width * 3 + c;
            for (int x = 0; x < width; x++) out[back ? width - 1 - x : x] = a->value[c][from[3 * x]];
            for (int x = width; x < size; x++) out[x] = pad;
        }
    }
}

bool fit_run(const Augment *a, AugmentScratch *s, const AugmentSource *from, const Fit *f, Rng rng,
             float *out, Error *e) {
    const Image *im;
    if (!decode(a, s, from, &im, e) || !resize(s, im, f, e)) return false;
    if (a->train && a->set->jitter > 0.0) {
        Rng draw = rng_sub(rng, AUGMENT_JITTER);
        augment_jitter(&draw, a->set->jitter, &s->sized);
    }
    put(a, &s->sized, f, out);
    return true;
}
