#include "data/masks.h"

#include "data/coco.h"
#include "data/polygon.h"
#include "data/sa1b.h"

#include <string.h>

enum { FILE_BYTES = 1 << 30, INSIDE = 128 /* of a soft mask: what is more */ };

/* Where mask k comes from. */
typedef struct Item {
    const CocoAnnotation *note; /* coco; or */
    size_t begin;               /* sa1b: its runs in Masks.runs; */
    int64_t count;              /* 0: the PNG */
} Item;

void masks_free(Masks *m) {
    Bytes *const owned[] = {&m->list, &m->ids, &m->runs, &m->one, &m->scratch, &m->column, &m->file};
    for (int i = 0; i < COUNT(owned); i++) bytes_free(owned[i]);
    image_free(&m->picture);
    *m = (Masks){0};
}

bool masks_layout(int layout) {
    return layout == LAYOUT_COCO || layout == LAYOUT_MASKS || layout == LAYOUT_SA1B || layout == LAYOUT_HQSEG;
}

static bool is_object(const CocoAnnotation *a) {
    return !a->crowd && a->shape != COCO_NONE;
}

bool masks_any(const Dataset *d, int64_t i) {
    if (d->layout != LAYOUT_COCO) return d->sample[i].mask != NULL;
    const CocoImage *im = &d->coco->image[d->sample[i].id];
    for (int64_t k = 0; k < im->count; k++)
        if (is_object(&d->coco->annotation[im->first + k])) return true;
    return false;
}

/* -------------------------------------------------------------------------------------------- reading --- */

static bool add(Masks *m, Item item, int64_t id, Error *e) {
    if (!bytes_append(&m->list, &item, sizeof item, e) || !bytes_append(&m->ids, &id, sizeof id, e))
        return false;
    m->count++;
    return true;
}

/* `height` x `width` is what `path` says of the picture `name`, which is m->height x m->width. */
static bool check_size(const Masks *m, const char *name, const char *path, int height, int width, Error *e) {
    if (height == m->height && width == m->width) return true;
    bool turned = height == m->width && width == m->height;
    return error_set(e, ERROR_FORMAT, "%s: the picture is %d x %d pixels, its mask in %s %d x %d%s", name,
                     m->width, m->height, path, width, height,
                     turned ? "; if the photograph is turned by EXIF, see data.orientation" : "");
}

static bool read_coco(Masks *m, const Dataset *d, int64_t i, Error *e) {
    const CocoImage *im = &d->coco->image[d->sample[i].id];
    const char *name = d->sample[i].path;
    if (im->width && im->height && !check_size(m, name, d->source, im->height, im->width, e)) return false;
    for (int64_t k = 0; k < im->count; k++) {
        const CocoAnnotation *a = &d->coco->annotation[im->first + k];
        if (!is_object(a)) continue;
        if (a->shape == COCO_RLE && !check_size(m, name, d->source, a->rle.height, a->rle.width, e))
            return false;
        if (!add(m, (Item){.note = a}, a->id, e)) return false;
    }
    return true;
}

static bool read_sa1b(Masks *m, const char *path, Error *e) {
    m->scratch.size = 0;
    if (!bytes_read(&m->file, path, FILE_BYTES, e) ||
        !sa1b_parse(&m->scratch, &m->runs, path, (const char *)m->file.data, m->file.size, m->height,
                    m->width, e))
        return false;
    const Sa1bMask *mask = (const Sa1bMask *)(const void *)m->scratch.data;
    int64_t n = (int64_t)(m->scratch.size / sizeof *mask);
    for (int64_t k = 0; k < n; k++)
        if (!add(m, (Item){.begin = mask[k].begin, .count = mask[k].count}, mask[k].id, e)) return false;
    return true;
}

static bool read_file(Masks *m, const Sample *s, const ImageOptions *limits, Error *e) {
    return mask_file_read(&m->picture, &m->file, s->mask, limits, e) &&
           check_size(m, s->path, s->mask, m->picture.height, m->picture.width, e) && add(m, (Item){0}, 0, e);
}

bool masks_read(Masks *m, const Dataset *d, int64_t i, int height, int width, const ImageOptions *limits,
                Error *e) {
    const Sample *s = &d->sample[i];
    bool ok = true;
    m->height = height, m->width = width;
    m->count = 0;
    m->list.size = m->ids.size = m->runs.size = 0;
    if (d->layout == LAYOUT_COCO) {
        ok = read_coco(m, d, i, e);
    } else if (s->mask) {
        ok = d->layout == LAYOUT_SA1B ? read_sa1b(m, s->mask, e) : read_file(m, s, limits, e);
    }
    m->id = (int64_t *)(void *)m->ids.data;
    return ok;
}

/* ------------------------------------------------------------------------------------------ one mask --- */

/* An empty column-wise canvas for the picture. */
static bool canvas(Masks *m, Error *e) {
    size_t pixels = (size_t)m->height * (size_t)m->width;
    if (!bytes_reserve(&m->column, pixels, e)) return false;
    memset(m->column.data, 0, pixels);
    return true;
}

static GreyPlane canvas_plane(const Masks *m, ImageBox box) {
    GreyPlane p = plane_of(m->column.data, (size_t)m->height, 1, m->width, m->height);
    p.box = box;
    return p;
}

static ImageBox box_union(ImageBox a, ImageBox b) {
    if (a.width == 0) return b;
    if (b.width == 0) return a;
    int right = a.x + a.width > b.x + b.width ? a.x + a.width : b.x + b.width;
    int bottom = a.y + a.height > b.y + b.height ? a.y + a.height : b.y + b.height;
    int x = a.x < b.x ? a.x : b.x, y = a.y < b.y ? a.y : b.y;
    return (ImageBox){x, y, right - x, bottom - y};
}

static bool polygon(Masks *m, const CocoAnnotation *a, int64_t k, Rle *r, Error *e) {
    m->one.size = 0;
    return polygon_to_rle(r, &m->one, &m->scratch, a->polygon[k].xy, a->polygon[k].points, m->height,
                          m->width, e);
}

/* Paints all polygons of an annotation: their union. */
static bool paint(Masks *m, const CocoAnnotation *a, GreyPlane *out, Error *e) {
    ImageBox box = {0};
    Rle r;
    if (!canvas(m, e)) return false;
    for (int64_t k = 0; k < a->polygons; k++) {
        if (!polygon(m, a, k, &r, e)) return false;
        rle_paint(&r, m->column.data);
        box = box_union(box, rle_box(&r));
    }
    *out = canvas_plane(m, box);
    return true;
}

static GreyPlane file_plane(const Masks *m) {
    return plane_of(m->picture.pixel, 3, (size_t)m->width * 3, m->width, m->height);
}

static const Item *item_of(const Masks *m, int64_t k) {
    if (k < 0 || k >= m->count) die("masks: there is no mask %lld", (long long)k);
    return (const Item *)(const void *)m->list.data + k;
}

bool masks_runs(Masks *m, int64_t k, Rle *out, Error *e) {
    const Item *i = item_of(m, k);
    GreyPlane p = file_plane(m);
    if (i->note && i->note->shape == COCO_RLE) {
        *out = i->note->rle;
        return true;
    }
    if (i->count) {
        *out =
            (Rle){m->height, m->width, i->count, (const uint32_t *)(const void *)(m->runs.data + i->begin)};
        return true;
    }
    if (i->note && i->note->polygons == 1) return polygon(m, i->note, 0, out, e);
    if (i->note && !paint(m, i->note, &p, e)) return false;
    m->one.size = 0;
    return rle_from_plane(out, &m->one, &p, INSIDE, e);
}

bool masks_plane(Masks *m, int64_t k, GreyPlane *out, Error *e) {
    const Item *i = item_of(m, k);
    Rle r;
    if (i->note && i->note->shape == COCO_POLYGONS) return paint(m, i->note, out, e);
    if (!i->note && !i->count) {
        *out = file_plane(m);
        return true;
    }
    if (!masks_runs(m, k, &r, e) || !canvas(m, e)) return false;
    rle_paint(&r, m->column.data);
    *out = canvas_plane(m, rle_box(&r));
    return true;
}
