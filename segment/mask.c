#include "segment/mask.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

MaskBox mask_box(const uint8_t *mask, int height, int width) {
    int x0 = width, x1 = -1, y0 = height, y1 = -1;
    for (int y = 0; y < height; y++) {
        const uint8_t *row = mask + (size_t)y * (size_t)width;
        int first = 0, last = width - 1;
        while (first < width && !row[first]) first++;
        if (first == width) continue;
        while (!row[last]) last--;
        if (y0 > y) y0 = y;
        y1 = y;
        if (first < x0) x0 = first;
        if (last > x1) x1 = last;
    }
    if (x1 < 0) return (MaskBox){0};
    return (MaskBox){x0, y0, x1, y1};
}

int64_t mask_area(const uint8_t *mask, int64_t pixels) {
    int64_t n = 0;
    for (int64_t i = 0; i < pixels; i++) n += mask[i];
    return n;
}

double mask_iou(const uint8_t *a, const uint8_t *b, int64_t pixels) {
    int64_t both = 0, any = 0;
    for (int64_t i = 0; i < pixels; i++) {
        both += a[i] & b[i];
        any += a[i] | b[i];
    }
    return any ? (double)both / (double)any : 1;
}

/* Tells of each pixel whether all within `reach` of it along the line are set and in the picture. */
static void erode_line(const uint8_t *in, uint8_t *out, int n, size_t stride, int64_t reach) {
    int64_t run = 0; /* set pixels in a row up to here */
    for (int64_t i = 0; i < n + reach; i++) {
        run = i < n && in[(size_t)i * stride] ? run + 1 : 0;
        if (i >= reach) out[(size_t)(i - reach) * stride] = run > 2 * reach;
    }
}

/* `reach` rounds of 3x3 erosion are one by a square of 2 reach + 1; what it takes away replaces *out. */
static void border_band(const uint8_t *mask, int height, int width, int64_t reach, uint8_t *across,
                        uint8_t *out) {
    const size_t w = (size_t)width;
    for (int y = 0; y < height; y++)
        erode_line(mask + (size_t)y * w, across + (size_t)y * w, width, 1, reach);
    for (int x = 0; x < width; x++) erode_line(across + x, out + x, height, w, reach);
    for (size_t i = 0; i < (size_t)height * w; i++) out[i] = mask[i] & !out[i];
}

bool mask_boundary_iou(const uint8_t *a, const uint8_t *b, int height, int width, double ratio, double *out,
                       Error *e) {
    const size_t pixels = (size_t)height * (size_t)width;
    uint8_t *memory = mem_get(3 * pixels);
    if (!memory) return error_memory(e, 3 * pixels);
    const double reach = rint(ratio * hypot(height, width)); /* half to even, as Python's round */
    const int64_t rounds = reach < 1 ? 1 : (int64_t)reach;
    uint8_t *band_a = memory + pixels, *band_b = memory + 2 * pixels;
    border_band(a, height, width, rounds, memory, band_a);
    border_band(b, height, width, rounds, memory, band_b);
    *out = mask_iou(band_a, band_b, (int64_t)pixels);
    mem_free(memory);
    return true;
}

/* Regions are made of runs, the pieces of rows of one value: their memory grows with the border's length, not
 * with the picture. */
typedef struct Run {
    int y, x0, x1; /* columns x0 .. x1 - 1 */
    int64_t root;  /* an earlier run of the same region, or itself */
    int64_t area;  /* at the root: of the region */
    int64_t block; /* at the root: least number of a 2x2 block that the region touches */
} Run;

static int64_t runs_find(const uint8_t *mask, int height, int width, uint8_t value, Run *run) {
    int64_t n = 0;
    for (int y = 0; y < height; y++) {
        const uint8_t *row = mask + (size_t)y * (size_t)width;
        for (int x = 0; x < width;) {
            const int x0 = x;
            while (x < width && row[x] == row[x0]) x++;
            if (row[x0] != value) continue;
            if (run) run[n] = (Run){y, x0, x, n, x - x0, (int64_t)(y / 2) * ((width + 1) / 2) + x0 / 2};
            n++;
        }
    }
    return n;
}

static int64_t root_of(Run *run, int64_t i) {
    for (; run[i].root != i; i = run[i].root) run[i].root = run[run[i].root].root;
    return i;
}

static void runs_unite(Run *run, int64_t i, int64_t j) {
    i = root_of(run, i), j = root_of(run, j);
    if (i == j) return;
    Run *to = &run[i < j ? i : j], *from = &run[i < j ? j : i];
    from->root = to->root;
    to->area += from->area;
    if (from->block < to->block) to->block = from->block;
}

/* 8-connected: runs of neighbouring rows that touch, corners included, are one region. */
static void runs_connect(Run *run, int64_t n) {
    for (int64_t i = 0, above = 0; i < n; i++) {
        while (run[above].y < run[i].y - 1 || (run[above].y == run[i].y - 1 && run[above].x1 < run[i].x0))
            above++;
        for (int64_t j = above; run[j].y == run[i].y - 1 && run[j].x0 <= run[i].x1; j++)
            runs_unite(run, i, j);
    }
}

/* Of equally large ones the first, counting as cv2.connectedComponents: by 2x2 blocks. */
static int64_t largest_region(const Run *run, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++) {
        if (run[i].root != i) continue;
        const Run *a = &run[i], *b = &run[best];
        if (a->area > b->area || (a->area == b->area && a->block < b->block)) best = i;
    }
    return best;
}

bool mask_remove_small(uint8_t *mask, int height, int width, int64_t area, bool holes, bool *changed,
                       Error *e) {
    *changed = false;
    const int64_t n = runs_find(mask, height, width, !holes, NULL);
    if (n == 0) return true;
    Run *run = mem_zero((size_t)n, sizeof *run);
    if (!run) return error_memory(e, (size_t)n * sizeof *run);
    runs_find(mask, height, width, !holes, run);
    runs_connect(run, n);
    bool all_small = true;
    for (int64_t i = 0; i < n; i++) {
        if (run[i].root != i) continue;
        if (run[i].area < area)
            *changed = true;
        else
            all_small = false;
    }
    const int64_t spared = !holes && all_small ? largest_region(run, n) : -1;
    for (int64_t i = 0; *changed && i < n; i++) {
        const int64_t root = root_of(run, i);
        if (run[root].area >= area || root == spared) continue;
        memset(mask + (size_t)run[i].y * (size_t)width + run[i].x0, holes, (size_t)(run[i].x1 - run[i].x0));
    }
    mem_free(run);
    return true;
}

/* Distances to the next pixel outside, along the columns: [height, width]. */
static void column_distance(const uint8_t *mask, int height, int width, int32_t *out) {
    const size_t w = (size_t)width;
    for (int y = 0; y < height; y++)
        for (size_t x = 0, i = (size_t)y * w; x < w; x++, i++)
            out[i] = mask[i] ? 1 + (y > 0 ? out[i - w] : 0) : 0;
    for (int y = height - 1; y >= 0; y--)
        for (size_t x = 0, i = (size_t)y * w; x < w; x++, i++) {
            const int32_t up = 1 + (y + 1 < height ? out[i + w] : 0);
            if (mask[i] && up < out[i]) out[i] = up;
        }
}

typedef struct Parabola {
    int64_t at, height; /* (x - at)^2 + height */
    int64_t from;       /* the first x where it is the lowest */
} Parabola;

/* Where parabola b, which stands right of a, becomes the lower one: the first whole x. */
static int64_t parabola_meet(const Parabola *a, const Parabola *b) {
    const int64_t over = b->at * b->at + b->height - a->at * a->at - a->height, under = 2 * (b->at - a->at);
    return over >= 0 ? (over + under - 1) / under : -(-over / under);
}

/* Squared distances of a row from the distances along the columns: the lower envelope of parabolas
 * (Felzenszwalb and Huttenlocher 2012). Columns -1 and n are outside. Returns the largest and its column. */
static int64_t row_farthest(const int32_t *column, int n, Parabola *hull, int *at) {
    int64_t count = 0, most = 0;
    for (int64_t x = -1; x <= n; x++) {
        const int64_t d = x < 0 || x == n ? 0 : column[x];
        Parabola next = {x, d * d, INT64_MIN};
        while (count > 0 && (next.from = parabola_meet(&hull[count - 1], &next)) <= hull[count - 1].from)
            count--;
        if (count == 0) next.from = INT64_MIN;
        hull[count++] = next;
    }
    for (int64_t x = 0, k = 0; x < n; x++) {
        while (k + 1 < count && hull[k + 1].from <= x) k++;
        const int64_t d = (x - hull[k].at) * (x - hull[k].at) + hull[k].height;
        if (d > most) most = d, *at = (int)x;
    }
    return most;
}

bool mask_centre(const uint8_t *mask, int height, int width, int *x, int *y, Error *e) {
    const size_t pixels = (size_t)height * (size_t)width, hull_size = sizeof(Parabola) * ((size_t)width + 2);
    int32_t *column = mem_get(pixels * sizeof *column);
    Parabola *hull = mem_get(hull_size);
    int64_t most = 0;
    if (!column || !hull) {
        error_memory(e, pixels * sizeof *column + hull_size);
        goto out;
    }
    column_distance(mask, height, width, column);
    for (int row = 0; row < height; row++) {
        int at = 0;
        const int64_t d = row_farthest(column + (size_t)row * (size_t)width, width, hull, &at);
        if (d > most) most = d, *x = at, *y = row;
    }
    if (most == 0) error_set(e, ERROR_VALUE, "the mask is empty: it has no centre");
out:
    mem_free(column);
    mem_free(hull);
    return most > 0;
}

typedef struct Ranked {
    double score;
    int64_t index;
} Ranked;

static int ranked_order(const void *a, const void *b) {
    const Ranked *p = a, *q = b;
    if (p->score != q->score) return p->score > q->score ? -1 : 1;
    return (p->index > q->index) - (p->index < q->index);
}

/* In float and in torchvision's order of operations, so that the same pairs lie above a limit. 0 / 0 (two
 * empty boxes) is above none. */
static float box_iou(const MaskBox *a, const MaskBox *b) {
    const float w = (float)(fmin(a->x1, b->x1) - fmax(a->x0, b->x0));
    const float h = (float)(fmin(a->y1, b->y1) - fmax(a->y0, b->y0));
    const float area_a = (float)((a->x1 - a->x0) * (a->y1 - a->y0));
    const float area_b = (float)((b->x1 - b->x0) * (b->y1 - b->y0));
    const float both = fmaxf(w, 0) * fmaxf(h, 0);
    return both / (area_a + area_b - both);
}

int64_t mask_nms(const MaskBox *box, const double *score, int64_t n, double limit, int64_t *keep, Error *e) {
    Ranked *ranked = mem_get((size_t)n * sizeof *ranked + 1);
    if (!ranked) {
        error_memory(e, (size_t)n * sizeof *ranked);
        return -1;
    }
    for (int64_t i = 0; i < n; i++) ranked[i] = (Ranked){score[i], i};
    qsort(ranked, (size_t)n, sizeof *ranked, ranked_order);
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++) {
        const MaskBox *this = &box[ranked[i].index];
        bool gone = false;
        for (int64_t k = 0; k < kept && !gone; k++) gone = (double)box_iou(&box[keep[k]], this) > limit;
        if (!gone) keep[kept++] = ranked[i].index;
    }
    mem_free(ranked);
    return kept;
}
