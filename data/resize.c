#include "data/resize.h"

#include <math.h>
#include <string.h>

#include "data/exact.h"

enum { FRACTION = 22, SPLIT = 15 };

ResizeView resize_view(const Image *im) {
    return (ResizeView){im->pixel, (size_t)im->width * 3, im->width, im->height};
}

ResizeView resize_view_part(const Image *im, ImageBox box) {
    size_t stride = (size_t)im->width * 3;
    return (ResizeView){im->pixel + (size_t)box.y * stride + (size_t)box.x * 3, stride, box.width,
                        box.height};
}

ResizeTo resize_whole(ResizeView from, int width, int height, ResizeFilter filter) {
    return (ResizeTo){.right = (float)from.width,
                      .bottom = (float)from.height,
                      .width = width,
                      .height = height,
                      .part = {0, 0, width, height},
                      .filter = filter};
}

static double kernel(ResizeFilter filter, double x) {
    const double a = -0.5;
    x = fabs(x);
    if (filter == RESIZE_BILINEAR) return x < 1.0 ? 1.0 - x : 0.0;
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
}

/* Cuts the arrays from one block, each at a multiple of 64 bytes for the vector loads. */
static bool axis_reserve(ResizeAxis *a, int taps, int count, Error *e) {
    size_t size[] = {(size_t)count * (size_t)taps * 8 * sizeof(int16_t),
                     (size_t)count * (size_t)taps * sizeof(int32_t), (size_t)count * sizeof(int),
                     (size_t)taps * sizeof(double)};
    size_t at[COUNT(size)], total = 0;
    for (int i = 0; i < COUNT(size); i++) {
        at[i] = total;
        total += (size[i] + 63) / 64 * 64;
    }
    if (!bytes_reserve(&a->memory, total, e)) return false;
    uint8_t *base = a->memory.data;
    a->packed = (int16_t *)(void *)(base + at[0]);
    a->weight = (int32_t *)(void *)(base + at[1]);
    a->first = (int *)(void *)(base + at[2]);
    a->exact = (double *)(void *)(base + at[3]);
    return true;
}

/* Four taps of one output as two vectors of 16: for each tap pair (0, 1) and (2, 3) the weights stand as
 * w0 w1 w0 w1 w0 w1 0 0, once for each colour. weight = high * 2^15 + low. */
static void axis_pack(ResizeAxis *a) {
    const int32_t *w = a->weight;
    int16_t *p = a->packed;
    for (int64_t i = 0; i < (int64_t)a->count * a->taps; i += 4, w += 4, p += 32)
        for (int lane = 0; lane < 2; lane++)
            for (int k = 0; k < 8; k++) {
                int32_t v = k < 6 ? w[2 * lane + (k & 1)] : 0;
                p[8 * lane + k] = (int16_t)(v & ((1 << SPLIT) - 1));
                p[16 + 8 * lane + k] = (int16_t)(v >> SPLIT);
            }
}

/* Weights for outputs first_out .. first_out + count - 1 of `out`, made from the span lo..hi of `size`
 * pixels. */
static bool axis_set(ResizeAxis *a, int size, float lo, float hi, int out, int first_out, int count,
                     ResizeFilter filter, Error *e) {
    bool same = a->memory.data && a->size == size && a->lo == lo && a->hi == hi && a->out == out &&
                a->first_out == first_out && a->count == count && a->filter == filter;
    if (same) return true;
    double scale = (double)(hi - lo) / out, stretch = scale < 1.0 ? 1.0 : scale;
    double support = (filter == RESIZE_BICUBIC ? 2.0 : 1.0) * stretch;
    int taps = (int)ceil(support) * 2 + 1;
    taps = (taps + 3) / 4 * 4;
    a->count = 0;
    if (!axis_reserve(a, taps, count, e)) return false;
    for (int i = 0; i < count; i++) {
        double centre = lo + (first_out + i + 0.5) * scale, sum = 0.0, *w = a->exact;
        int from = (int)(centre - support + 0.5), to = (int)(centre + support + 0.5);
        if (from < 0) from = 0;
        if (to > size) to = size;
        int n = to - from;
        for (int k = 0; k < n; k++) {
            w[k] = kernel(filter, (k + from - centre + 0.5) * (1.0 / stretch));
            sum += w[k];
        }
        int32_t *row = a->weight + (size_t)i * (size_t)taps;
        for (int k = 0; k < n; k++) {
            double v = (sum != 0.0 ? w[k] / sum : w[k]) * (1 << FRACTION);
            row[k] = (int32_t)(v < 0.0 ? v - 0.5 : v + 0.5);
        }
        memset(row + n, 0, (size_t)(taps - n) * sizeof *row);
        a->first[i] = from;
    }
    a->size = size, a->lo = lo, a->hi = hi, a->out = out, a->first_out = first_out, a->count = count;
    a->filter = filter, a->taps = taps;
    axis_pack(a);
    return true;
}

/* Pillow 13 goes down first when that leaves clearly less to do (found by comparing 1,400 sizes with it;
 * before 13 it always went across first). The order shows, since every pass rounds. */
static bool down_first(ResizeView from, const ResizeTo *to) {
    return to->height < from.height && from.height - to->height > 2 * (from.width - to->width);
}

/* The source pixels that the outputs of an axis look at: first .. last - 1. */
static void axis_span(const ResizeAxis *a, int *first, int *last) {
    int end = a->first[a->count - 1] + a->taps;
    *first = a->first[0];
    *last = end < a->size ? end : a->size;
}

bool resize_run(Resizer *r, Image *out, ResizeView from, const ResizeTo *to, Error *e) {
    const ImageBox *part = &to->part;
    if (!axis_set(&r->x, from.width, to->left, to->right, to->width, part->x, part->width, to->filter, e) ||
        !axis_set(&r->y, from.height, to->top, to->bottom, to->height, part->y, part->height, to->filter,
                  e) ||
        !image_reserve(out, part->width, part->height, e))
        return false;
    int left, right, top, bottom;
    axis_span(&r->x, &left, &right);
    axis_span(&r->y, &top, &bottom);
    bool down = down_first(from, to);
    size_t row = (size_t)part->width * 3, between = down ? (size_t)right * 3 : row + 1;
    between = (between + 63) / 64 * 64;
    if (!bytes_reserve(&r->rows, between * (size_t)(down ? part->height : bottom - top) + IMAGE_SLACK, e))
        return false;
    uint8_t *rows = r->rows.data;
    if (down) {
        size_t skip = (size_t)left * 3;
        resize_down(&r->y, rows + skip, between, from.pixel + skip, from.stride, 0, (right - left) * 3);
        resize_across(&r->x, out->pixel, row, rows, between, part->height);
    } else {
        resize_across(&r->x, rows, between, from.pixel + (size_t)top * from.stride, from.stride,
                      bottom - top);
        resize_down(&r->y, out->pixel, row, rows, between, top, (int)row);
    }
    return true;
}

void resize_free(Resizer *r) {
    bytes_free(&r->x.memory);
    bytes_free(&r->y.memory);
    bytes_free(&r->rows);
    *r = (Resizer){0};
}
