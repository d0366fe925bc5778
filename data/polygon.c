#include "data/polygon.h"

#include <stdlib.h>

enum { FINER = 5 };
static const int64_t most_steps = (int64_t)1 << 26; /* of the fine grid: 50 times round the largest mask */

/* The walk along an outline: the last point, and the places (in column order) where it crosses a column. */
typedef struct Outline {
    Bytes *crossing; /* uint32 each */
    int height, width;
    int u, v;
    bool begun;
} Outline;

/* To the next point of the fine grid. Fine column 5 x + 2 is the middle of column x. */
static bool outline_step(Outline *o, int u, int v, Error *e) {
    const int middle = FINER / 2;
    int left = u < o->u ? u : u - 1, top = v < o->v ? v : o->v;
    bool moved = o->begun && u != o->u;
    o->begun = true;
    o->u = u, o->v = v;
    if (!moved || left < middle || (left - middle) % FINER != 0) return true;
    int x = (left - middle) / FINER, y = top < middle ? 0 : (top - middle + FINER - 1) / FINER;
    if (x >= o->width) return true;
    y = y > o->height ? o->height : y;
    uint32_t place = (uint32_t)x * (uint32_t)o->height + (uint32_t)y;
    return bytes_append(o->crossing, &place, sizeof place, e);
}

/* All points of the fine grid from (x0, y0) to (x1, y1), whichever of the two comes first: the same points
 * for an edge walked backwards. */
static bool outline_edge(Outline *o, int x0, int y0, int x1, int y1, Error *e) {
    int dx = abs(x1 - x0), dy = abs(y1 - y0);
    bool flat = dx >= dy, back = flat ? x0 > x1 : y0 > y1;
    int n = flat ? dx : dy, x = back ? x1 : x0, y = back ? y1 : y0;
    double rise = flat ? (back ? y0 - y1 : y1 - y0) : (back ? x0 - x1 : x1 - x0), slope = n ? rise / n : 0.0;
    for (int k = 0; k <= n; k++) {
        int t = back ? n - k : k;
        int u = flat ? t + x : (int)(x + slope * t + 0.5), v = flat ? (int)(y + slope * t + 0.5) : t + y;
        if (!outline_step(o, u, v, e)) return false;
    }
    return true;
}

static int fine(double v) {
    return (int)(FINER * v + 0.5);
}

static bool outline_walk(Outline *o, const double *xy, int64_t points, Error *e) {
    int64_t steps = 0;
    for (int64_t i = 0; i < points; i++) {
        const double *a = xy + 2 * i, *b = i + 1 < points ? a + 2 : xy;
        int x0 = fine(a[0]), y0 = fine(a[1]), x1 = fine(b[0]), y1 = fine(b[1]);
        int dx = abs(x1 - x0), dy = abs(y1 - y0);
        steps += (dx > dy ? dx : dy) + 1;
        if (steps > most_steps)
            return error_set(e, ERROR_LIMIT, "a polygon's outline is longer than %lld pixels",
                             (long long)most_steps / FINER);
        if (!outline_edge(o, x0, y0, x1, y1, e)) return false;
    }
    return true;
}

static int compare_places(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

bool polygon_to_rle(Rle *r, Bytes *out, Bytes *scratch, const double *xy, int64_t points, int height,
                    int width, Error *e) {
    if (!rle_size_check(height, width, e)) return false;
    Outline o = {.crossing = scratch, .height = height, .width = width};
    scratch->size = 0;
    if (!outline_walk(&o, xy, points, e)) return false;
    uint32_t *place = (uint32_t *)(void *)scratch->data;
    int64_t n = (int64_t)(scratch->size / sizeof *place);
    if (n) qsort(place, (size_t)n, sizeof *place, compare_places);
    return rle_from_places(r, out, place, n, height, width, e);
}
