#include "data/draw.h"

#include <math.h>

void path_clear(Path *path) {
    path->points = path->contours = 0;
}

static void point(Path *path, float x, float y) {
    if (path->points >= PATH_POINTS) die("path: more than %d points", PATH_POINTS);
    path->x[path->points] = x;
    path->y[path->points++] = y;
}

void path_move(Path *path, float x, float y) {
    if (path->contours >= PATH_CONTOURS) die("path: more than %d contours", PATH_CONTOURS);
    path->first[path->contours++] = path->points;
    point(path, x, y);
}

void path_line(Path *path, float x, float y) {
    point(path, x, y);
}

void path_cubic(Path *path, float ax, float ay, float bx, float by, float x, float y) {
    enum { STEPS = 10 };
    float x0 = path->x[path->points - 1], y0 = path->y[path->points - 1];
    for (int i = 1; i <= STEPS; i++) {
        float t = (float)i / STEPS, s = 1.0f - t;
        float w0 = s * s * s, w1 = 3.0f * s * s * t, w2 = 3.0f * s * t * t, w3 = t * t * t;
        point(path, w0 * x0 + w1 * ax + w2 * bx + w3 * x, w0 * y0 + w1 * ay + w2 * by + w3 * y);
    }
}

void path_ellipse(Path *path, float cx, float cy, float rx, float ry, float angle) {
    enum { STEPS = 36 };
    float co = cosf(angle), si = sinf(angle);
    for (int i = 0; i < STEPS; i++) {
        float t = 6.2831853f * (float)i / STEPS, x = rx * cosf(t), y = ry * sinf(t);
        if (i == 0)
            path_move(path, cx + co * x - si * y, cy + si * x + co * y);
        else
            path_line(path, cx + co * x - si * y, cy + si * x + co * y);
    }
}

/* A tapered stroke along a quadratic curve: one side out, the other side back. */
void path_stroke(Path *path, float x0, float y0, float cx, float cy, float x1, float y1, float w0, float w1) {
    enum { STEPS = 6 };
    float px[STEPS + 1], py[STEPS + 1], nx[STEPS + 1], ny[STEPS + 1];
    for (int i = 0; i <= STEPS; i++) {
        float t = (float)i / STEPS, s = 1.0f - t, w = 0.5f * mixf(w0, w1, t);
        float dx = s * (cx - x0) + t * (x1 - cx), dy = s * (cy - y0) + t * (y1 - cy);
        float scale = w / maxf(sqrtf(dx * dx + dy * dy), 1e-9f);
        px[i] = s * s * x0 + 2.0f * s * t * cx + t * t * x1;
        py[i] = s * s * y0 + 2.0f * s * t * cy + t * t * y1;
        nx[i] = -dy * scale, ny[i] = dx * scale;
    }
    path_move(path, px[0] + nx[0], py[0] + ny[0]);
    for (int i = 1; i <= STEPS; i++) path_line(path, px[i] + nx[i], py[i] + ny[i]);
    for (int i = STEPS; i >= 0; i--) path_line(path, px[i] - nx[i], py[i] - ny[i]);
}

void path_smooth(Path *path, const float *x, const float *y, int n) {
    path_move(path, x[0], y[0]);
    for (int i = 0; i < n; i++) {
        int before = (i + n - 1) % n, next = (i + 1) % n, after = (i + 2) % n;
        path_cubic(path, x[i] + (x[next] - x[before]) / 6.0f, y[i] + (y[next] - y[before]) / 6.0f,
                   x[next] - (x[after] - x[i]) / 6.0f, y[next] - (y[after] - y[i]) / 6.0f, x[next], y[next]);
    }
}
