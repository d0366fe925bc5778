#include "data/coco.h"

#include "core/file.h"
#include "data/coco_inside.h"
#include "data/walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES = 1 << 30, CHUNK = 1 << 20, SIDE = 1000000 };
static const int64_t most_items = 100000000;

struct CocoChunk {
    struct CocoChunk *next;
    size_t used, size;
    _Alignas(16) char data[];
};

void *coco_get(Coco *c, size_t size, Error *e) {
    size = (size + 15) / 16 * 16;
    struct CocoChunk *k = c->chunk;
    if (!k || k->size - k->used < size) {
        size_t room = size > CHUNK ? size : CHUNK;
        k = mem_get(sizeof *k + room);
        if (!k) {
            error_memory(e, sizeof *k + room);
            return NULL;
        }
        *k = (struct CocoChunk){.next = c->chunk, .size = room};
        c->chunk = k;
    }
    k->used += size;
    return k->data + k->used - size;
}

void coco_close(Coco *c) {
    if (!c) return;
    for (struct CocoChunk *k = c->chunk, *next; k; k = next) {
        next = k->next;
        mem_free(k);
    }
    mem_free(c);
}

static char *copy_text(Coco *c, const char *text, Error *e) {
    size_t n = strlen(text) + 1;
    char *copy = coco_get(c, n, e);
    return copy ? memcpy(copy, text, n) : NULL;
}

/* Room for as many items as the array has; *count is set. An absent list is empty. */
static bool make_list(Coco *c, Json list, void **out, int64_t *count, size_t each, Error *e) {
    if (json_exists(list) && !json_expect(list, JSON_ARRAY, e)) return false;
    *count = json_count(list);
    if (*count > most_items) return json_error(list, e, "more than %lld entries", (long long)most_items);
    *out = coco_get(c, (size_t)*count * each, e);
    return *out != NULL;
}

/* ------------------------------------------------------------------------------------ ids to places --- */

typedef struct Place {
    int64_t id, place;
} Place;

static int compare_places(const void *a, const void *b) {
    int64_t x = ((const Place *)a)->id, y = ((const Place *)b)->id;
    return (x > y) - (x < y);
}

static bool sort_places(Place *list, int64_t n, Json where, Error *e) {
    if (n) qsort(list, (size_t)n, sizeof *list, compare_places);
    for (int64_t i = 1; i < n; i++)
        if (list[i].id == list[i - 1].id)
            return json_error(where, e, "the id %lld stands twice", (long long)list[i].id);
    return true;
}

static bool find_place(const Place *list, int64_t n, Json id, const char *of, int32_t *out, Error *e) {
    Place key = {0};
    if (!json_int(id, -JSON_MAX_INT, JSON_MAX_INT, &key.id, e)) return false;
    const Place *found = n ? bsearch(&key, list, (size_t)n, sizeof *list, compare_places) : NULL;
    if (!found) return json_error(id, e, "there is no %s with id %lld", of, (long long)key.id);
    *out = (int32_t)found->place;
    return true;
}

/* ------------------------------------------------------------------------------------------- lists --- */

/* A name that stays below the folder of images. */
static bool check_file(Json name, const char *file, Error *e) {
    if (!file[0] || file[0] == '/') return json_error(name, e, "expected a path below the folder of images");
    for (const char *p = file; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || p[2] == '\0'))
            return json_error(name, e, "expected a path below the folder of images, not one with \"..\"");
    }
    return true;
}

static bool read_side(Json j, int *out, Error *e) {
    int64_t v = 0;
    if (json_exists(j) && !json_int(j, 1, SIDE, &v, e)) return false;
    *out = (int)v;
    return true;
}

static int compare_images(const void *a, const void *b) {
    return walk_compare(((const CocoImage *)a)->file, ((const CocoImage *)b)->file);
}

static bool read_images(Coco *c, Json list, Place **places, Error *e) {
    void *memory = NULL;
    if (!json_expect(list, JSON_ARRAY, e) || !make_list(c, list, &memory, &c->images, sizeof *c->image, e))
        return false;
    c->image = memory;
    CocoImage *im = c->image;
    for (Json j = json_first(list); json_exists(j); j = json_next(j), im++) {
        const char *file;
        Json name = json_get(j, "file_name");
        *im = (CocoImage){0};
        if (!json_int(json_get(j, "id"), -JSON_MAX_INT, JSON_MAX_INT, &im->id, e) ||
            !json_text(name, &file, e) || !check_file(name, file, e) ||
            !read_side(json_get(j, "width"), &im->width, e) ||
            !read_side(json_get(j, "height"), &im->height, e))
            return false;
        im->file = copy_text(c, file, e);
        if (!im->file) return false;
    }
    if (c->images) qsort(c->image, (size_t)c->images, sizeof *c->image, compare_images);
    *places = coco_get(c, (size_t)c->images * sizeof **places, e);
    if (!*places) return false;
    for (int64_t i = 0; i < c->images; i++) (*places)[i] = (Place){c->image[i].id, i};
    return sort_places(*places, c->images, list, e);
}

static bool read_categories(Coco *c, Json list, Place **places, Error *e) {
    void *memory = NULL;
    if (!make_list(c, list, &memory, &c->categories, sizeof *c->category, e)) return false;
    c->category = memory;
    *places = coco_get(c, (size_t)c->categories * sizeof **places, e);
    if (!*places) return false;
    int64_t i = 0;
    for (Json j = json_first(list); json_exists(j); j = json_next(j), i++) {
        const char *name;
        CocoCategory *k = &c->category[i];
        if (!json_int(json_get(j, "id"), -JSON_MAX_INT, JSON_MAX_INT, &k->id, e) ||
            !json_text(json_get(j, "name"), &name, e))
            return false;
        k->name = copy_text(c, name, e);
        if (!k->name) return false;
        (*places)[i] = (Place){k->id, i};
    }
    return sort_places(*places, c->categories, list, e);
}

static bool read_box(Json box, double out[4], Error *e) {
    int n = 0;
    if (!json_expect(box, JSON_ARRAY, e)) return false;
    for (Json j = json_first(box); json_exists(j) && n < 5; j = json_next(j), n++)
        if (n < 4 && !json_number(j, n < 2 ? -1e7 : 0.0, 1e7, &out[n], e)) return false;
    return n == 4 ? true : json_error(box, e, "expected four numbers: left, top, width, height");
}

/* 0, 1, false or true. */
static bool read_flag(Json j, bool *out, Error *e) {
    int64_t v = 0;
    *out = false;
    if (!json_exists(j)) return true;
    if (json_type(j) == JSON_BOOL) return json_bool(j, out, e);
    if (!json_int(j, 0, 1, &v, e)) return false;
    *out = v == 1;
    return true;
}

static bool read_annotation(Coco *c, CocoScratch *s, Json j, const Place *images, const Place *categories,
                            CocoAnnotation *a, Error *e) {
    *a = (CocoAnnotation){0};
    Json id = json_get(j, "id"), area = json_get(j, "area");
    if (json_exists(id) && !json_int(id, -JSON_MAX_INT, JSON_MAX_INT, &a->id, e)) return false;
    if (!find_place(images, c->images, json_get(j, "image_id"), "image", &a->image, e) ||
        !find_place(categories, c->categories, json_get(j, "category_id"), "category", &a->category, e) ||
        !read_box(json_get(j, "bbox"), a->box, e) || !read_flag(json_get(j, "iscrowd"), &a->crowd, e))
        return false;
    a->area = a->box[2] * a->box[3];
    if (json_exists(area) && !json_number(area, 0.0, 1e13, &a->area, e)) return false;
    return coco_shape(c, s, json_get(j, "segmentation"), a, e);
}

/* By image, keeping the file's order among those of one image. */
static bool sort_annotations(Coco *c, Error *e) {
    CocoAnnotation *sorted = coco_get(c, (size_t)c->annotations * sizeof *sorted, e);
    if (!sorted) return false;
    for (int64_t i = 0; i < c->annotations; i++) c->image[c->annotation[i].image].count++;
    int64_t first = 0;
    for (int64_t i = 0; i < c->images; i++) {
        c->image[i].first = first;
        first += c->image[i].count;
        c->image[i].count = 0;
    }
    for (int64_t i = 0; i < c->annotations; i++) {
        CocoImage *im = &c->image[c->annotation[i].image];
        sorted[im->first + im->count++] = c->annotation[i];
    }
    c->annotation = sorted;
    return true;
}

static bool read_all(Coco *c, Json root, Error *e) {
    CocoScratch s = {0};
    Place *images, *categories;
    Json list = json_get(root, "annotations");
    void *memory = NULL;
    if (!json_expect(root, JSON_OBJECT, e) || !read_images(c, json_get(root, "images"), &images, e) ||
        !read_categories(c, json_get(root, "categories"), &categories, e) ||
        !make_list(c, list, &memory, &c->annotations, sizeof *c->annotation, e))
        return false;
    c->annotation = memory;
    bool ok = true;
    CocoAnnotation *a = c->annotation;
    for (Json j = json_first(list); ok && json_exists(j); j = json_next(j), a++)
        ok = read_annotation(c, &s, j, images, categories, a, e);
    bytes_free(&s.numbers);
    bytes_free(&s.runs);
    return ok && sort_annotations(c, e);
}

static bool read_file(Coco **out, JsonFile *f, Error *e) {
    Coco *c = mem_zero(1, sizeof *c);
    if (!c) return error_memory(e, sizeof *c);
    if (!read_all(c, json_root(f), e)) {
        coco_close(c);
        return false;
    }
    *out = c;
    return true;
}

bool coco_parse(Coco **out, const char *name, const char *text, size_t size, Error *e) {
    JsonFile *f = NULL;
    *out = NULL;
    bool ok = json_open(&f, name, text, size, e) && read_file(out, f, e);
    json_close(f);
    return ok;
}

bool coco_open(Coco **out, const char *path, Error *e) {
    JsonFile *f = NULL;
    *out = NULL;
    bool ok = json_load(&f, path, FILE_BYTES, e) && read_file(out, f, e);
    json_close(f);
    return ok;
}

/* --------------------------------------------------------------------------------- folder of images --- */

PRINTF_LIKE(3, 4) static bool is_folder(char *out, size_t size, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(out, size, format, args);
    va_end(args);
    return n > 0 && (size_t)n < size && file_kind(out) == FILE_FOLDER;
}

bool coco_folder(char *out, size_t size, const char *path, const char *given, Error *e) {
    if (given[0])
        return is_folder(out, size, "%s", given) ||
               error_set(e, ERROR_IO, "data.images: %s is no folder", given);
    const char *base = file_base(path), *above = base == path ? "." : path;
    int length = base - path > 1 ? (int)(base - path) - 1 : 1;
    if (strncmp(base, "instances_", 10) == 0) base += 10;
    const char *dot = strrchr(base, '.');
    int name = dot ? (int)(dot - base) : (int)strlen(base);
    return is_folder(out, size, "%.*s/%.*s", length, above, name, base) ||
           is_folder(out, size, "%.*s/../%.*s", length, above, name, base) ||
           is_folder(out, size, "%.*s/../images", length, above) ||
           is_folder(out, size, "%.*s", length, above) ||
           error_set(e, ERROR_IO, "%s: its folder of images was not found; name it with data.images", path);
}
