#include "data/draw.h"

#include <math.h>

/* ------------------------------------------------------------------ memory */

bool canvas_new(Canvas *canvas, int w, int h, Error *e) {
    *canvas = (Canvas){w, h, mem_get((size_t)w * (size_t)h * sizeof(Rgb))};
    return canvas->px ? true : error_memory(e, (size_t)w * (size_t)h * sizeof(Rgb));
}

void canvas_free(Canvas *canvas) {
    mem_free(canvas->px);
    *canvas = (Canvas){0};
}

bool plane_new(Plane *plane, int w, int h, Error *e) {
    *plane = (Plane){w, h, mem_get((size_t)w * (size_t)h * sizeof(float))};
    return plane->v ? true : error_memory(e, (size_t)w * (size_t)h * sizeof(float));
}

void plane_free(Plane *plane) {
    mem_free(plane->v);
    *plane = (Plane){0};
}

bool brush_new(Brush *brush, Canvas *canvas, Error *e) {
    *brush = (Brush){.canvas = canvas, .map = {.xx = 1.0f, .yy = 1.0f}};
    if (plane_new(&brush->cover, canvas->w, canvas->h, e) &&
        plane_new(&brush->spare, canvas->w, canvas->h, e))
        return true;
    brush_free(brush);
    return false;
}

void brush_free(Brush *brush) {
    plane_free(&brush->cover);
    plane_free(&brush->spare);
}

/* ------------------------------------------------------------------ whole canvases */

void canvas_fill(Canvas *canvas, Rgb colour) {
    size_t n = (size_t)canvas->w * (size_t)canvas->h;
    for (size_t i = 0; i < n; i++) canvas->px[i] = colour;
}

/* One weighted pass; radius at most the line. Edge pixels repeat. */
static void blur_line(const Rgb *in, Rgb *out, int n, size_t stride, const float *weight, int radius) {
    for (int i = 0; i < n; i++) {
        Rgb sum = {0};
        for (int k = -radius; k <= radius; k++) {
            int j = i + k < 0 ? 0 : i + k >= n ? n - 1 : i + k;
            float w = weight[k < 0 ? -k : k];
            Rgb c = in[(size_t)j * stride];
            sum.r += w * c.r, sum.g += w * c.g, sum.b += w * c.b;
        }
        out[(size_t)i * stride] = sum;
    }
}

/* A running mean of 2 r + 1 samples; edge pixels repeat. */
static void mean_line(const Rgb *in, Rgb *out, int n, size_t stride, int r) {
    Rgb sum = rgb_scale(in[0], (float)(r + 1));
    for (int k = 1; k <= r; k++) sum = rgb_plus(sum, in[(size_t)(k < n ? k : n - 1) * stride]);
    for (int i = 0; i < n; i++) {
        out[(size_t)i * stride] = rgb_scale(sum, 1.0f / (float)(2 * r + 1));
        Rgb enter = in[(size_t)(i + r + 1 < n ? i + r + 1 : n - 1) * stride];
        sum = rgb_plus(sum, rgb_plus(enter, rgb_scale(in[(size_t)(i > r ? i - r : 0) * stride], -1.0f)));
    }
}

/* A narrow kernel by its weights. */
static void blur_narrow(Canvas *canvas, Rgb *spare, float sigma) {
    enum { MOST = 5 };
    float weight[MOST + 1] = {1.0f}, total = 1.0f;
    int radius = sigma < 0.8f ? 2 : MOST;
    for (int k = 1; k <= radius; k++) {
        weight[k] = expf(-0.5f * (float)(k * k) / (sigma * sigma));
        total += 2.0f * weight[k];
    }
    for (int k = 0; k <= radius; k++) weight[k] /= total;
    for (int y = 0; y < canvas->h; y++) {
        size_t at = (size_t)y * (size_t)canvas->w;
        blur_line(canvas->px + at, spare + at, canvas->w, 1, weight, radius);
    }
    for (int x = 0; x < canvas->w; x++)
        blur_line(spare + x, canvas->px + x, canvas->h, (size_t)canvas->w, weight, radius);
}

/* A wide one by two running means that have its variance together: (w^2 - 1) / 6 = sigma^2. */
static void blur_wide(Canvas *canvas, Rgb *spare, float sigma) {
    int radius = (int)(0.5f * sqrtf(6.0f * sigma * sigma + 1.0f));
    for (int pass = 0; pass < 2; pass++) {
        for (int y = 0; y < canvas->h; y++) {
            size_t at = (size_t)y * (size_t)canvas->w;
            mean_line(canvas->px + at, spare + at, canvas->w, 1, radius);
        }
        for (int x = 0; x < canvas->w; x++)
            mean_line(spare + x, canvas->px + x, canvas->h, (size_t)canvas->w, radius);
    }
}

bool canvas_blur(Canvas *canvas, float sigma, Error *e) {
    Canvas spare;
    if (sigma < 0.05f) return true;
    if (!canvas_new(&spare, canvas->w, canvas->h, e)) return false;
    if (sigma <= 2.0f)
        blur_narrow(canvas, spare.px, sigma);
    else
        blur_wide(canvas, spare.px, sigma);
    canvas_free(&spare);
    return true;
}

void canvas_halve(const Canvas *from, Canvas *to) {
    for (int y = 0; y < to->h; y++)
        for (int x = 0; x < to->w; x++) {
            const Rgb *a = from->px + (size_t)(2 * y) * (size_t)from->w + 2 * x, *b = a + from->w;
            to->px[(size_t)y * (size_t)to->w + (size_t)x] = (Rgb){
                0.25f * (a[0].r + a[1].r + b[0].r + b[1].r), 0.25f * (a[0].g + a[1].g + b[0].g + b[1].g),
                0.25f * (a[0].b + a[1].b + b[0].b + b[1].b)};
        }
}

Rgb canvas_at(const Canvas *canvas, float x, float y) {
    x = clampf(x - 0.5f, 0.0f, (float)(canvas->w - 1)), y = clampf(y - 0.5f, 0.0f, (float)(canvas->h - 1));
    int i = (int)x, j = (int)y, right = i + 1 < canvas->w, down = j + 1 < canvas->h ? canvas->w : 0;
    const Rgb *p = canvas->px + (size_t)j * (size_t)canvas->w + i;
    float u = x - (float)i, v = y - (float)j;
    return rgb_mix(rgb_mix(p[0], p[right], u), rgb_mix(p[down], p[down + right], u), v);
}

/* sRGB's curve; above 0.7 a shoulder bends highlights so that 1.6 and more becomes white. */
static float encode(float x) {
    const float knee = 0.7f, top = 1.6f;
    if (x > knee) {
        float t = minf((x - knee) / (top - knee), 1.0f);
        x = knee + (1.0f - knee) * (1.0f - (1.0f - t) * (1.0f - t) * (1.0f - t));
    }
    return 255.0f * (x <= 0.0031308f ? 12.92f * x : 1.055f * powf(x, 1.0f / 2.4f) - 0.055f) + 0.5f;
}

void draw_bytes(const Canvas *canvas, uint8_t *rgb) {
    /* The curve is looked up by square root, in which it is nearly straight: off by less than 0.02 steps. */
    enum { STEPS = 512 };
    float curve[STEPS + 2];
    const float top = 1.27f; /* a little above the root of the shoulder's end */
    for (int i = 0; i < STEPS + 2; i++) {
        float root = top * (float)i / STEPS;
        curve[i] = encode(root * root);
    }
    size_t n = (size_t)canvas->w * (size_t)canvas->h;
    for (size_t i = 0; i < n; i++) {
        float c[3] = {canvas->px[i].r, canvas->px[i].g, canvas->px[i].b};
        for (int k = 0; k < 3; k++) {
            float at = minf(sqrtf(maxf(c[k], 0.0f)), top) * (STEPS / top);
            int j = (int)at;
            rgb[3 * i + (size_t)k] = (uint8_t)mixf(curve[j], curve[j + 1], at - (float)j);
        }
    }
}

/* ------------------------------------------------------------------ colours */

static float linear_of(float s) {
    return s <= 0.04045f ? s / 12.92f : powf((s + 0.055f) / 1.055f, 2.4f);
}

Rgb rgb_hex(uint32_t srgb) {
    return (Rgb){linear_of((float)(srgb >> 16 & 255u) / 255.0f),
                 linear_of((float)(srgb >> 8 & 255u) / 255.0f), linear_of((float)(srgb & 255u) / 255.0f)};
}

static float hsv_channel(float hue, float saturation, float value, float shift) {
    float k = hue + shift - floorf(hue + shift);
    float t = clampf(fabsf(6.0f * k - 3.0f) - 1.0f, 0.0f, 1.0f);
    return linear_of(value * (1.0f - saturation * (1.0f - t)));
}

Rgb rgb_hsv(float hue, float saturation, float value) {
    return (Rgb){hsv_channel(hue, saturation, value, 0.0f), hsv_channel(hue, saturation, value, 2.0f / 3.0f),
                 hsv_channel(hue, saturation, value, 1.0f / 3.0f)};
}
