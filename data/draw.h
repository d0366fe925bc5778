/* draw: a small painter. Colours are linear light; edges are anti-aliased by exact pixel coverage.
 *
 * A Brush paints on one Canvas. A path is first turned into coverage (draw_path), which may be softened, and
 * is then laid down as colour (draw_flat, draw_gradient, draw_each). Points are given in units of the caller;
 * the brush's map turns them into pixels, x right, y down, pixel (0, 0) covering [0, 1) x [0, 1). */
#ifndef LETHE_DRAW_H
#define LETHE_DRAW_H

#include "core/base.h"

typedef struct Rgb {
    float r, g, b; /* linear light; 1 is white, more is allowed until draw_bytes */
} Rgb;

typedef struct Canvas {
    int w, h;
    Rgb *px; /* [h, w] */
} Canvas;

typedef struct Plane {
    int w, h;
    float *v; /* [h, w] */
} Plane;

typedef struct Box {
    int x0, y0, x1, y1; /* pixels; x1 and y1 are one past the last */
} Box;

#define PATH_POINTS   1024 /* a longer path is a programmer's mistake */
#define PATH_CONTOURS 16

typedef struct Path {
    int points, contours;
    int first[PATH_CONTOURS + 1]; /* contour c is points first[c] .. first[c + 1] - 1, closed */
    float x[PATH_POINTS], y[PATH_POINTS];
} Path;

typedef struct Map {
    float xx, xy, x0, yx, yy, y0; /* pixel x = xx x + xy y + x0, pixel y = yx x + yy y + y0 */
} Map;

typedef struct Brush {
    Canvas *canvas;
    Plane cover; /* valid inside box only */
    Plane spare; /* room for softening */
    Box box;
    Map map;
} Brush;

typedef enum { BLEND_OVER, BLEND_MULTIPLY, BLEND_ADD } Blend;

/* Memory. The contents start undefined. */
bool canvas_new(Canvas *canvas, int w, int h, Error *e);
void canvas_free(Canvas *canvas);
bool plane_new(Plane *plane, int w, int h, Error *e);
void plane_free(Plane *plane);
bool brush_new(Brush *brush, Canvas *canvas, Error *e); /* map: the identity; canvas is borrowed */
void brush_free(Brush *brush);

/* Paths. A contour starts with path_move and closes by itself. Curves are cut into short lines. Contours
 * that wind against each other leave holes; a contour must not cross itself. */
void path_clear(Path *path);
void path_move(Path *path, float x, float y);
void path_line(Path *path, float x, float y);
void path_cubic(Path *path, float ax, float ay, float bx, float by, float x, float y);
void path_ellipse(Path *path, float cx, float cy, float rx, float ry, float angle);
void path_stroke(Path *path, float x0, float y0, float cx, float cy, float x1, float y1, float w0, float w1);
void path_smooth(Path *path, const float *x, const float *y, int n); /* closed Catmull-Rom through n points */

/* Coverage. */
void draw_path(Brush *brush, const Path *path);
void draw_whole(Brush *brush);               /* the whole canvas; laid down with alpha 1, it replaces */
void draw_soften(Brush *brush, float sigma); /* pixels; grows the box */

/* Laying down what is covered, times alpha. */
void draw_flat(Brush *brush, Rgb colour, float alpha, Blend blend);
void draw_gradient(Brush *brush, float x0, float y0, Rgb from, float x1, float y1, Rgb to, float alpha);
typedef Rgb (*DrawEach)(const void *what, float x, float y); /* pixel centre, in pixels */
void draw_each(Brush *brush, DrawEach colour, const void *what, float alpha);

/* A soft elliptical spot, a Gaussian cut at three sigma, in the brush's units; needs no path. */
void draw_glow(Brush *brush, float x, float y, float sx, float sy, float angle, Rgb colour, float alpha,
               Blend blend);

/* Whole canvases. */
void canvas_fill(Canvas *canvas, Rgb colour);
bool canvas_blur(Canvas *canvas, float sigma, Error *e); /* edges repeat */
void canvas_halve(const Canvas *from, Canvas *to);       /* 2 x 2 means; from is twice the size of to */
Rgb canvas_at(const Canvas *canvas, float x, float y);   /* bilinear, pixels, clamped to the edge */
void draw_bytes(const Canvas *canvas, uint8_t *rgb);     /* sRGB, [h, w, 3], with a soft shoulder at white */

Rgb rgb_hex(uint32_t srgb);                            /* 0xRRGGBB */
Rgb rgb_hsv(float hue, float saturation, float value); /* hue in turns; read as sRGB */

static inline Rgb rgb_mix(Rgb a, Rgb b, float t) {
    return (Rgb){a.r + (b.r - a.r) * t, a.g + (b.g - a.g) * t, a.b + (b.b - a.b) * t};
}

static inline Rgb rgb_scale(Rgb a, float s) {
    return (Rgb){a.r * s, a.g * s, a.b * s};
}

static inline Rgb rgb_times(Rgb a, Rgb b) {
    return (Rgb){a.r * b.r, a.g * b.g, a.b * b.b};
}

static inline Rgb rgb_plus(Rgb a, Rgb b) {
    return (Rgb){a.r + b.r, a.g + b.g, a.b + b.b};
}

/* Without the NaN rules of fminf and fmaxf, which cost a call each. */
static inline float minf(float a, float b) {
    return a < b ? a : b;
}

static inline float maxf(float a, float b) {
    return a > b ? a : b;
}

static inline float clampf(float x, float lo, float hi) {
    return x < lo ? lo : x > hi ? hi : x;
}

static inline float mixf(float a, float b, float t) {
    return a + (b - a) * t;
}

/* 0 below lo, 1 above hi, smooth in between; lo > hi gives the falling edge. */
static inline float smoothf(float lo, float hi, float x) {
    float t = clampf((x - lo) / (hi - lo), 0.0f, 1.0f);
    return t * t * (3.0f - 2.0f * t);
}

#endif
