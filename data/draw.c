#include "data/draw.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------ coverage */

/* Adds the line's share to each pixel it passes, so that the running sum along a row is the area of each
 * pixel that lies right of the line, signed by the line's direction. */
static void cover_line(Plane *cover, const Box *box, float x0, float y0, float x1, float y1) {
    float sign = 1.0f;
    if (y0 == y1) return;
    if (y0 > y1) {
        float x = x0, y = y0;
        x0 = x1, y0 = y1, x1 = x, y1 = y;
        sign = -1.0f;
    }
    float slope = (x1 - x0) / (y1 - y0);
    int from = (int)maxf(floorf(y0), (float)box->y0), to = (int)minf(ceilf(y1), (float)box->y1);
    for (int row = from; row < to; row++) {
        float top = maxf(y0, (float)row), low = minf(y1, (float)row + 1.0f), dy = sign * (low - top);
        if (low <= top) continue;
        float a = x0 + (top - y0) * slope, b = x0 + (low - y0) * slope;
        float left = minf(a, b), right = maxf(a, b), *v = cover->v + (size_t)row * (size_t)cover->w;
        int first = (int)clampf(floorf(left), (float)box->x0, (float)box->x1);
        int last = (int)clampf(floorf(right), (float)box->x0, (float)box->x1);
        float per = dy / maxf(right - left, 1e-6f), before = 0.0f;
        for (int col = first; col <= last && col < box->x1; col++) {
            float l = clampf(left, (float)col, (float)col + 1.0f),
                  r = clampf(right, (float)col, (float)col + 1.0f);
            float middle = (float)col + 1.0f - 0.5f * (l + r);
            float here = first == last && r - l < 1e-6f ? dy * middle : per * ((l - left) + (r - l) * middle);
            v[col] += here - before;
            before = here;
        }
        if (last + 1 < box->x1) v[last + 1] += dy - before;
    }
}

void draw_path(Brush *brush, const Path *path) {
    Plane *cover = &brush->cover;
    const Map *m = &brush->map;
    float px[PATH_POINTS], py[PATH_POINTS];
    float lo_x = 1e9f, lo_y = 1e9f, hi_x = -1e9f, hi_y = -1e9f;
    for (int i = 0; i < path->points; i++) {
        px[i] = m->xx * path->x[i] + m->xy * path->y[i] + m->x0;
        py[i] = m->yx * path->x[i] + m->yy * path->y[i] + m->y0;
        lo_x = minf(lo_x, px[i]), hi_x = maxf(hi_x, px[i]);
        lo_y = minf(lo_y, py[i]), hi_y = maxf(hi_y, py[i]);
    }
    Box *b = &brush->box;
    b->x0 = (int)clampf(floorf(lo_x), 0.0f, (float)cover->w);
    b->y0 = (int)clampf(floorf(lo_y), 0.0f, (float)cover->h);
    b->x1 = (int)clampf(ceilf(hi_x) + 1.0f, 0.0f, (float)cover->w);
    b->y1 = (int)clampf(ceilf(hi_y) + 1.0f, 0.0f, (float)cover->h);
    if (b->x1 <= b->x0 || b->y1 <= b->y0) {
        *b = (Box){0};
        return;
    }
    size_t width = (size_t)(b->x1 - b->x0);
    for (int y = b->y0; y < b->y1; y++)
        memset(cover->v + (size_t)y * (size_t)cover->w + b->x0, 0, width * sizeof(float));
    for (int c = 0; c < path->contours; c++) {
        int first = path->first[c], end = c + 1 < path->contours ? path->first[c + 1] : path->points;
        for (int i = first; i < end; i++) {
            int j = i + 1 < end ? i + 1 : first;
            cover_line(cover, b, px[i], py[i], px[j], py[j]);
        }
    }
    for (int y = b->y0; y < b->y1; y++) {
        float sum = 0.0f, *v = cover->v + (size_t)y * (size_t)cover->w;
        for (int x = b->x0; x < b->x1; x++) {
            sum += v[x];
            v[x] = minf(fabsf(sum), 1.0f);
        }
    }
}

void draw_whole(Brush *brush) {
    Plane *cover = &brush->cover;
    brush->box = (Box){0, 0, cover->w, cover->h};
    for (int i = 0; i < cover->w * cover->h; i++) cover->v[i] = 1.0f;
}

/* One pass of a running mean of 2 r + 1 samples over a line of n, zero outside. */
static void mean_line(const float *in, float *out, int n, size_t stride, int r) {
    float sum = 0.0f, scale = 1.0f / (float)(2 * r + 1);
    for (int i = 0; i < r && i < n; i++) sum += in[(size_t)i * stride];
    for (int i = 0; i < n; i++) {
        if (i + r < n) sum += in[(size_t)(i + r) * stride];
        out[(size_t)i * stride] = sum * scale;
        if (i - r >= 0) sum -= in[(size_t)(i - r) * stride];
    }
}

/* Box width whose two passes have the variance sigma^2: (w^2 - 1) / 6 = sigma^2. */
static int mean_radius(float sigma) {
    return (int)(0.5f * (sqrtf(6.0f * sigma * sigma + 1.0f) - 1.0f) + 0.5f);
}

void draw_soften(Brush *brush, float sigma) {
    int r = mean_radius(sigma);
    Box old = brush->box, *b = &brush->box;
    if (r < 1 || old.x1 <= old.x0) return;
    Plane *cover = &brush->cover, *spare = &brush->spare;
    b->x0 = old.x0 > 2 * r ? old.x0 - 2 * r : 0, b->y0 = old.y0 > 2 * r ? old.y0 - 2 * r : 0;
    b->x1 = old.x1 + 2 * r < cover->w ? old.x1 + 2 * r : cover->w;
    b->y1 = old.y1 + 2 * r < cover->h ? old.y1 + 2 * r : cover->h;
    for (int y = b->y0; y < b->y1; y++)
        for (int x = b->x0; x < b->x1; x++)
            if (y < old.y0 || y >= old.y1 || x < old.x0 || x >= old.x1)
                cover->v[(size_t)y * (size_t)cover->w + (size_t)x] = 0.0f;
    for (int pass = 0; pass < 2; pass++) {
        for (int y = b->y0; y < b->y1; y++) {
            size_t at = (size_t)y * (size_t)cover->w + (size_t)b->x0;
            mean_line(cover->v + at, spare->v + at, b->x1 - b->x0, 1, r);
        }
        for (int x = b->x0; x < b->x1; x++) {
            size_t at = (size_t)b->y0 * (size_t)cover->w + (size_t)x;
            mean_line(spare->v + at, cover->v + at, b->y1 - b->y0, (size_t)cover->w, r);
        }
    }
}

/* ------------------------------------------------------------------ colour on coverage */

static inline void blend_pixel(Rgb *px, Rgb c, float a, Blend blend) {
    if (blend == BLEND_MULTIPLY) c = (Rgb){px->r * c.r, px->g * c.g, px->b * c.b};
    if (blend == BLEND_ADD) c = (Rgb){px->r + c.r, px->g + c.g, px->b + c.b};
    *px = a >= 1.0f ? c : rgb_mix(*px, c, a);
}

void draw_flat(Brush *brush, Rgb colour, float alpha, Blend blend) {
    for (int y = brush->box.y0; y < brush->box.y1; y++) {
        size_t row = (size_t)y * (size_t)brush->cover.w;
        for (int x = brush->box.x0; x < brush->box.x1; x++) {
            float a = alpha * brush->cover.v[row + (size_t)x];
            if (a > 0.0f) blend_pixel(brush->canvas->px + row + x, colour, a, blend);
        }
    }
}

void draw_gradient(Brush *brush, float x0, float y0, Rgb from, float x1, float y1, Rgb to, float alpha) {
    const Map *m = &brush->map;
    float ax = m->xx * x0 + m->xy * y0 + m->x0, ay = m->yx * x0 + m->yy * y0 + m->y0;
    float dx = m->xx * x1 + m->xy * y1 + m->x0 - ax, dy = m->yx * x1 + m->yy * y1 + m->y0 - ay;
    float norm = 1.0f / maxf(dx * dx + dy * dy, 1e-12f);
    for (int y = brush->box.y0; y < brush->box.y1; y++) {
        size_t row = (size_t)y * (size_t)brush->cover.w;
        for (int x = brush->box.x0; x < brush->box.x1; x++) {
            float t = (((float)x + 0.5f - ax) * dx + ((float)y + 0.5f - ay) * dy) * norm;
            blend_pixel(brush->canvas->px + row + x, rgb_mix(from, to, clampf(t, 0.0f, 1.0f)),
                        alpha * brush->cover.v[row + (size_t)x], BLEND_OVER);
        }
    }
}

void draw_each(Brush *brush, DrawEach colour, const void *what, float alpha) {
    for (int y = brush->box.y0; y < brush->box.y1; y++) {
        size_t row = (size_t)y * (size_t)brush->cover.w;
        for (int x = brush->box.x0; x < brush->box.x1; x++) {
            float a = alpha * brush->cover.v[row + (size_t)x];
            if (a > 0.0f)
                blend_pixel(brush->canvas->px + row + x, colour(what, (float)x + 0.5f, (float)y + 0.5f), a,
                            BLEND_OVER);
        }
    }
}

void draw_glow(Brush *brush, float x, float y, float sx, float sy, float angle, Rgb colour, float alpha,
               Blend blend) {
    const Map *m = &brush->map;
    float co = cosf(angle), si = sinf(angle);
    /* Columns of J are the spot's axes in pixels; its inverse takes pixels to sigmas. */
    float ax = sx * (m->xx * co + m->xy * si), ay = sx * (m->yx * co + m->yy * si);
    float bx = sy * (m->xy * co - m->xx * si), by = sy * (m->yy * co - m->yx * si);
    float det = ax * by - ay * bx;
    if (fabsf(det) < 1e-9f) return;
    float cx = m->xx * x + m->xy * y + m->x0, cy = m->yx * x + m->yy * y + m->y0;
    float reach_x = 3.0f * (fabsf(ax) + fabsf(bx)), reach_y = 3.0f * (fabsf(ay) + fabsf(by));
    const Canvas *canvas = brush->canvas;
    int x0 = (int)clampf(floorf(cx - reach_x), 0.0f, (float)canvas->w);
    int x1 = (int)clampf(ceilf(cx + reach_x), 0.0f, (float)canvas->w);
    int y0 = (int)clampf(floorf(cy - reach_y), 0.0f, (float)canvas->h);
    int y1 = (int)clampf(ceilf(cy + reach_y), 0.0f, (float)canvas->h);
    for (int j = y0; j < y1; j++)
        for (int i = x0; i < x1; i++) {
            float dx = (float)i + 0.5f - cx, dy = (float)j + 0.5f - cy;
            float u = (by * dx - bx * dy) / det, v = (ax * dy - ay * dx) / det, d = u * u + v * v;
            if (d < 9.0f)
                blend_pixel(canvas->px + (size_t)j * (size_t)canvas->w + i, colour, alpha * expf(-0.5f * d),
                            blend);
        }
}
