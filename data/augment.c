#include "data/augment.h"

#include "data/tone.h"

#include <math.h>
#include <string.h>

Augment augment_of(const DataSettings *set, int size, bool train) {
    Augment a = {.set = set, .size = size, .train = train, .shrink = train && set->scaled_decode};
    a.limits = image_standard;
    a.limits.max_pixels = set->max_pixels;
    a.limits.orient = set->orientation;
    for (int c = 0; c < 3; c++) {
        float mean = (float)set->mean[c], std = (float)set->std[c];
        double colour = rint(255.0 * set->mean[c]);
        a.fill[c] = (uint8_t)(colour > 255.0 ? 255.0 : colour);
        float level = (float)(255.0 * set->mean[c]), spread = (float)(255.0 * set->std[c]);
        for (int v = 0; v < 256; v++)
            a.value[c][v] = set->geometry == GEOMETRY_CROP ? ((float)v / 255.0f - mean) / std
                                                           : ((float)v - level) / spread;
    }
    return a;
}

void augment_scratch_free(AugmentScratch *s) {
    image_free(&s->part);
    image_free(&s->upright);
    image_free(&s->sized);
    image_free(&s->other);
    resize_free(&s->resizer);
    sample_axis_free(&s->x);
    sample_axis_free(&s->y);
}

/* -------------------------------------------------------------------------------------------- crops --- */

static ImageBox place_random(Rng *r, int width, int height, int w, int h) {
    int y = (int)rng_below(r, (uint64_t)(height - h + 1)), x = (int)rng_below(r, (uint64_t)(width - w + 1));
    return (ImageBox){x, y, w, h};
}

static ImageBox place_centre(int width, int height, int w, int h) {
    return (ImageBox){(width - w) / 2, (height - h) / 2, w, h};
}

/* Sides of a box of random area and ratio, rounded half to even as Python rounds. */
static void draw_sides(Rng *r, const DataSettings *set, int width, int height, int *w, int *h) {
    double area = (double)width * height * rng_range(r, set->crop_min, set->crop_max);
    double ratio = exp(rng_range(r, log(set->ratio_min), log(set->ratio_max)));
    *w = (int)rint(sqrt(area * ratio));
    *h = (int)rint(sqrt(area / ratio));
}

ImageBox augment_crop_random(Rng *r, const DataSettings *set, int width, int height) {
    for (int attempt = 0; attempt < 10; attempt++) {
        int w, h;
        draw_sides(r, set, width, height, &w, &h);
        if (w > 0 && h > 0 && w <= width && h <= height) return place_random(r, width, height, w, h);
    }
    double ratio = (double)width / height;
    int w = width, h = height;
    if (ratio < set->ratio_min) h = (int)rint(w / set->ratio_min);
    if (ratio > set->ratio_max) w = (int)rint(h * set->ratio_max);
    return place_centre(width, height, w < 1 ? 1 : w, h < 1 ? 1 : h);
}

ImageBox augment_crop_single(Rng *r, const DataSettings *set, int width, int height) {
    int w, h;
    draw_sides(r, set, width, height, &w, &h);
    w = w < 1 ? 1 : w > width ? width : w;
    h = h < 1 ? 1 : h > height ? height : h;
    return place_random(r, width, height, w, h);
}

/* --------------------------------------------------------------------------------------- geometry --- */

/* What of the picture is wanted, and as what: `box` (as seen) to width x height, of it `window`. */
typedef struct Aim {
    ImageBox box, window;
    int width, height;
} Aim;

/* torchvision's Resize(int(size / crop)) and CenterCrop(size). */
static Aim aim_centre(const Augment *a, int width, int height) {
    double share = a->set->eval_crop > 0.0 ? a->set->eval_crop : a->size <= 224 ? 224.0 / 256.0 : 1.0;
    int side = (int)(a->size / share);
    Aim aim = {.box = {0, 0, width, height}, .width = side, .height = side};
    if (width < height) aim.height = (int)fmin((double)side * height / width, INT32_MAX / 2);
    if (width > height) aim.width = (int)fmin((double)side * width / height, INT32_MAX / 2);
    aim.window = (ImageBox){(int)rint((aim.width - a->size) / 2.0), (int)rint((aim.height - a->size) / 2.0),
                            a->size, a->size};
    return aim;
}

static Aim aim_of(const Augment *a, Rng rng, int width, int height) {
    if (!a->train || a->set->crop == CROP_CENTRE) return aim_centre(a, width, height);
    Rng r = rng_sub(rng, AUGMENT_CROP);
    ImageBox box = a->set->crop == CROP_SINGLE ? augment_crop_single(&r, a->set, width, height)
                                               : augment_crop_random(&r, a->set, width, height);
    return (Aim){box, {0, 0, a->size, a->size}, a->size, a->size};
}

static bool resize_aim(const Augment *a, AugmentScratch *s, ResizeView view, const Aim *aim,
                       const float span[4], Error *e) {
    ResizeTo to = {
        span[0],    span[1],     span[2],     span[3],
        aim->width, aim->height, aim->window, a->set->interpolation == 0 ? RESIZE_BILINEAR : RESIZE_BICUBIC};
    return resize_run(&s->resizer, &s->sized, view, &to, e);
}

/* Crops and resizes an image that holds the picture from (x, y) on, shrunk `shrink` times. */
static bool resize_part(const Augment *a, AugmentScratch *s, const Image *im, ImagePart at, const Aim *aim,
                        Error *e) {
    const ImageBox *b = &aim->box;
    int x0 = b->x / at.shrink - at.x, x1 = (b->x + b->width + at.shrink - 1) / at.shrink - at.x;
    int y0 = b->y / at.shrink - at.y, y1 = (b->y + b->height + at.shrink - 1) / at.shrink - at.y;
    x0 = x0 < 0 ? 0 : x0; /* see part_seen */
    y0 = y0 < 0 ? 0 : y0;
    x1 = x1 > im->width ? im->width : x1;
    y1 = y1 > im->height ? im->height : y1;
    ImageBox inside = {x0, y0, x1 - x0, y1 - y0};
    float scale = (float)at.shrink, left = (float)(b->x % at.shrink) / scale,
          top = (float)(b->y % at.shrink) / scale;
    float span[4] = {left, top, left + (float)b->width / scale, top + (float)b->height / scale};
    span[2] = span[2] > (float)inside.width ? (float)inside.width : span[2];
    span[3] = span[3] > (float)inside.height ? (float)inside.height : span[3];
    return resize_aim(a, s, resize_view_part(im, inside), aim, span, e);
}

/* Largest whole factor by which the box is larger than its target on both sides. */
static int shrink_of(const Augment *a, const Aim *aim) {
    int x = aim->box.width / aim->width, y = aim->box.height / aim->height, least = x < y ? x : y;
    return a->shrink && least > 1 ? least : 1;
}

/* Where an upright part begins in the picture as seen, shrunk: image_box_stored the other way. A picture
 * whose side is no multiple of the shrink factor ends in a narrower pixel, so what runs backwards may lie off
 * by less than a shrunk pixel. */
static ImagePart part_seen(const ImageInfo *info, ImagePart stored, const Image *part) {
    ImageInfo small = *info;
    small.width = (info->width + stored.shrink - 1) / stored.shrink;
    small.height = (info->height + stored.shrink - 1) / stored.shrink;
    ImageInfo back = small;
    if (info->orientation >
        4) { /* the inverse turn of orientation 6 is 8; all others are their own inverse */
        back.width = small.height, back.height = small.width;
        back.orientation = info->orientation == 6 ? 8 : info->orientation == 8 ? 6 : info->orientation;
    }
    ImageBox box = image_box_stored(&back, (ImageBox){stored.x, stored.y, part->width, part->height});
    return (ImagePart){box.x, box.y, stored.shrink};
}

/* Decodes what the aim needs and resizes it into s->sized. */
static bool read_aim(const Augment *a, AugmentScratch *s, const AugmentSource *from, const ImageInfo *info,
                     const Aim *aim, Error *e) {
    ImagePart at;
    ImageBox stored = image_box_stored(info, aim->box);
    if (!image_decode_part(&s->part, &at, from->data, from->size, from->name, stored, shrink_of(a, aim),
                           &a->limits, e))
        return false;
    if (info->orientation == 1) return resize_part(a, s, &s->part, at, aim, e);
    at = part_seen(info, at, &s->part);
    return image_orient(&s->upright, &s->part, info->orientation, e) &&
           resize_part(a, s, &s->upright, at, aim, e);
}

/* ---------------------------------------------------------------------------------------- colours --- */

void augment_jitter(Rng *r, double strength, Image *im) {
    uint32_t order[3] = {0, 1, 2};
    rng_shuffle(r, order, 3);
    for (int i = 0; i < 3; i++) {
        double factor = rng_range(r, 1.0 - strength, 1.0 + strength);
        if (order[i] == 0) tone_brightness(im, factor);
        if (order[i] == 1) tone_contrast(im, factor);
        if (order[i] == 2) tone_saturation(im, factor);
    }
}

static void flip(Image *im) {
    for (int y = 0; y < im->height; y++) {
        uint8_t *a = im->pixel + (size_t)y * (size_t)im->width * 3, *b = a + ((size_t)im->width - 1) * 3;
        for (; a < b; a += 3, b -= 3)
            for (int c = 0; c < 3; c++) {
                uint8_t t = a[c];
                a[c] = b[c];
                b[c] = t;
            }
    }
}

/* Bytes [size, size, 3] to floats [3, size, size]. */
static void normalise(const Augment *a, const Image *im, bool mirror, float *out) {
    size_t size = (size_t)a->size, plane = size * size;
    for (size_t y = 0; y < size; y++) {
        const uint8_t *p = im->pixel + y * size * 3;
        float *red = out + y * size, *green = red + plane, *blue = green + plane;
        for (size_t x = 0; x < size; x++, p += 3) {
            size_t at = mirror ? size - 1 - x : x;
            red[at] = a->value[0][p[0]];
            green[at] = a->value[1][p[1]];
            blue[at] = a->value[2][p[2]];
        }
    }
}

/* The bytes as they are, mirrored if need be. */
static void keep_bytes(const Augment *a, const Image *im, bool mirror, uint8_t *out) {
    size_t size = (size_t)a->size;
    if (!mirror) {
        memcpy(out, im->pixel, size * size * 3);
        return;
    }
    for (size_t y = 0; y < size; y++)
        for (size_t x = 0; x < size; x++)
            memcpy(out + (y * size + x) * 3, im->pixel + (y * size + size - 1 - x) * 3, 3);
}

static void put(const Augment *a, const Image *im, bool mirror, void *out) {
    if (a->raw)
        keep_bytes(a, im, mirror, out);
    else
        normalise(a, im, mirror, out);
}

bool augment_run(const Augment *a, AugmentScratch *s, const AugmentSource *from, Rng rng, void *out,
                 int32_t seen[2], Error *e) {
    ImageInfo info = {.orientation = 1};
    if (from->decoded) {
        info.width = from->decoded->width, info.height = from->decoded->height;
    } else if (!image_probe(&info, from->data, from->size, from->name, &a->limits, e)) {
        return false;
    }
    int width = image_info_width(&info), height = image_info_height(&info);
    if (seen) seen[0] = height, seen[1] = width;
    Aim aim = aim_of(a, rng, width, height);
    ImagePart whole = {0, 0, 1};
    if (from->decoded ? !resize_part(a, s, from->decoded, whole, &aim, e)
                      : !read_aim(a, s, from, &info, &aim, e))
        return false;
    if (!a->train) {
        put(a, &s->sized, false, out);
        return true;
    }
    Rng draw = rng_sub(rng, AUGMENT_FLIP);
    bool mirror = rng_uniform(&draw) < a->set->hflip;
    bool colours = a->set->jitter > 0.0 || a->set->randaugment > 0.0;
    if (mirror && colours) { /* shears and shifts come after the mirror */
        flip(&s->sized);
        mirror = false;
    }
    if (a->set->jitter > 0.0) {
        draw = rng_sub(rng, AUGMENT_JITTER);
        augment_jitter(&draw, a->set->jitter, &s->sized);
    }
    if (a->set->randaugment > 0.0) {
        draw = rng_sub(rng, AUGMENT_RANDAUGMENT);
        if (!augment_randaugment(&draw, a->set, a->fill, &s->sized, &s->other, e)) return false;
    }
    put(a, &s->sized, mirror, out);
    draw = rng_sub(rng, AUGMENT_ERASE);
    if (rng_uniform(&draw) < a->set->erase) augment_erase(&draw, out, a->size);
    return true;
}
