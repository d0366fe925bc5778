/* The "segmentation" of a COCO annotation: polygons, or runs, compressed or not. */
#include "data/coco_inside.h"

#include <string.h>

enum { MOST_POINTS = 1 << 22 };

/* The numbers of an array into s->numbers. */
static bool read_numbers(CocoScratch *s, Json list, double lo, double hi, int64_t *count, Error *e) {
    s->numbers.size = 0;
    *count = 0;
    for (Json j = json_first(list); json_exists(j); j = json_next(j), (*count)++) {
        double v;
        if (!json_number(j, lo, hi, &v, e) || !bytes_append(&s->numbers, &v, sizeof v, e)) return false;
    }
    return true;
}

static bool read_polygon(Coco *c, CocoScratch *s, Json list, CocoPolygon *out, Error *e) {
    int64_t n;
    if (!json_expect(list, JSON_ARRAY, e) || !read_numbers(s, list, -1e7, 1e7, &n, e)) return false;
    if (n % 2 || n < 6 || n / 2 > MOST_POINTS)
        return json_error(list, e, "expected x and y of at least 3 points, found %lld numbers", (long long)n);
    double *xy = coco_get(c, s->numbers.size, e);
    if (!xy) return false;
    memcpy(xy, s->numbers.data, s->numbers.size);
    *out = (CocoPolygon){n / 2, xy};
    return true;
}

static bool read_polygons(Coco *c, CocoScratch *s, Json list, CocoAnnotation *a, Error *e) {
    int64_t n = json_count(list);
    if (n == 0) return true; /* some writers put [] where there is no mask */
    CocoPolygon *polygon = coco_get(c, (size_t)n * sizeof *polygon, e);
    if (!polygon) return false;
    a->shape = COCO_POLYGONS;
    a->polygons = n;
    a->polygon = polygon;
    for (Json j = json_first(list); json_exists(j); j = json_next(j), polygon++)
        if (!read_polygon(c, s, j, polygon, e)) return false;
    return true;
}

static bool read_size(const Coco *c, Json list, const CocoAnnotation *a, int *height, int *width, Error *e) {
    const CocoImage *im = &c->image[a->image];
    int64_t side[2] = {0};
    int n = 0;
    if (!json_expect(list, JSON_ARRAY, e)) return false;
    for (Json j = json_first(list); json_exists(j) && n < 3; j = json_next(j), n++)
        if (n < 2 && !json_int(j, 1, RLE_SIDE, &side[n], e)) return false;
    if (n != 2) return json_error(list, e, "expected two numbers: height, width");
    if (im->width && (side[0] != im->height || side[1] != im->width))
        return json_error(list, e, "the mask is %lld x %lld (height x width), its image %d x %d",
                          (long long)side[0], (long long)side[1], im->height, im->width);
    *height = (int)side[0], *width = (int)side[1];
    return true;
}

static bool read_runs(Coco *c, CocoScratch *s, Json object, CocoAnnotation *a, Error *e) {
    Json counts = json_get(object, "counts");
    int height = 0, width = 0;
    if (!read_size(c, json_get(object, "size"), a, &height, &width, e)) return false;
    s->runs.size = 0;
    Error why;
    bool ok;
    if (json_type(counts) == JSON_ARRAY) {
        int64_t n;
        if (!read_numbers(s, counts, 0.0, 4294967295.0, &n, e)) return false;
        ok = rle_from_counts(&a->rle, &s->runs, (const double *)(const void *)s->numbers.data, n, height,
                             width, &why);
    } else {
        const char *text;
        if (!json_text(counts, &text, e)) return false;
        ok = rle_from_text(&a->rle, &s->runs, text, height, width, &why);
    }
    if (!ok) return json_error(counts, e, "%s", why.text);
    uint32_t *run = coco_get(c, s->runs.size, e);
    if (!run) return false;
    memcpy(run, s->runs.data, s->runs.size);
    a->rle.run = run;
    a->shape = COCO_RLE;
    return true;
}

bool coco_shape(Coco *c, CocoScratch *s, Json segmentation, CocoAnnotation *a, Error *e) {
    switch (json_type(segmentation)) {
    case JSON_ABSENT:
    case JSON_NULL:
        return true;
    case JSON_ARRAY:
        return read_polygons(c, s, segmentation, a, e);
    case JSON_OBJECT:
        return read_runs(c, s, segmentation, a, e);
    default:
        return json_error(segmentation, e, "expected polygons (an array) or runs (an object)");
    }
}
