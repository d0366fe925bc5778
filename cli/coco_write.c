#include "cli/coco_write.h"

#include "core/file.h"
#include "core/json.h"

#include <stdio.h>
#include <string.h>

enum { RECORD = 2000 /* bytes of an object without mask and further members */ };

void coco_box(const Rle *rle, double box[4]) {
    int64_t at = 0, left = rle->width, right = -1, top = rle->height, bottom = -1;
    for (int64_t i = 0; i < rle->count; at += rle->run[i], i++) {
        if (i % 2 == 0 || rle->run[i] == 0) continue;
        const int64_t last = at + rle->run[i] - 1, x0 = at / rle->height, x1 = last / rle->height;
        /* A run that goes on in the next column holds the foot of one and the head of the other. */
        const int64_t y0 = x0 == x1 ? at % rle->height : 0;
        const int64_t y1 = x0 == x1 ? last % rle->height : rle->height - 1;
        if (x0 < left) left = x0;
        if (x1 > right) right = x1;
        if (y0 < top) top = y0;
        if (y1 > bottom) bottom = y1;
    }
    const bool empty = right < 0;
    box[0] = empty ? 0 : (double)left;
    box[1] = empty ? 0 : (double)top;
    box[2] = empty ? 0 : (double)(right - left + 1);
    box[3] = empty ? 0 : (double)(bottom - top + 1);
}

static void put_box(JsonWriter *w, const double box[4]) {
    json_put_open(w, "bbox", '[');
    for (int k = 0; k < 4; k++) json_put_real(w, NULL, box[k]);
    json_put_close(w, ']');
}

static void put_mask(JsonWriter *w, const Rle *rle, const Bytes *counts) {
    json_put_open(w, "segmentation", '{');
    json_put_open(w, "size", '[');
    json_put_int(w, NULL, rle->height);
    json_put_int(w, NULL, rle->width);
    json_put_close(w, ']');
    json_put_text(w, "counts", (const char *)counts->data);
    json_put_close(w, '}');
}

static void put_members(JsonWriter *w, int64_t id, const CocoRecord *r, const Bytes *counts) {
    const bool result = id < 0;
    if (!result) json_put_int(w, "id", id);
    json_put_int(w, "image_id", r->image);
    json_put_int(w, "category_id", r->category);
    if (result) {
        json_put_real(w, "score", r->iou);
        put_box(w, r->box);
    } else {
        json_put_int(w, "iscrowd", 0);
        json_put_int(w, "area", rle_area(r->rle));
        put_box(w, r->box);
        json_put_real(w, "predicted_iou", r->iou);
        json_put_real(w, "stability_score", r->stability);
    }
    put_mask(w, r->rle, counts);
}

/* id -1: a result. */
static bool record_put(Bytes *list, int64_t id, const CocoRecord *r, Error *e) {
    Bytes counts = {0};
    char *text = NULL;
    bool fine = rle_to_text(r->rle, &counts, e);
    const size_t size = RECORD + 2 * counts.size + (r->more ? strlen(r->more) : 0);
    if (fine && !(text = mem_get(size))) fine = error_memory(e, size);
    if (fine) {
        JsonWriter w = json_writer(text, size, 0);
        json_put_open(&w, NULL, '{');
        put_members(&w, id, r, &counts);
        json_put_close(&w, '}');
        size_t n = w.used;
        if (r->more) n = n - 1 + (size_t)snprintf(text + n - 1, size - n + 1, ", %s}", r->more);
        if (w.full || n >= size) die("a COCO record of %zu bytes has no room", n);
        fine = (!list->size || bytes_append(list, ",\n", 2, e)) && bytes_append(list, text, n, e);
    }
    mem_free(text);
    bytes_free(&counts);
    return fine;
}

CocoRecord coco_generated(const GeneratorMask *m, char more[COCO_MORE]) {
    snprintf(more, COCO_MORE, "\"point_coords\": [[%.17g, %.17g]], \"crop_box\": [%d, %d, %d, %d]", m->x,
             m->y, m->crop.x, m->crop.y, m->crop.width, m->crop.height);
    return (CocoRecord){.image = 1,
                        .category = 1,
                        .rle = &m->rle,
                        .box = {m->box.x0, m->box.y0, m->box.x1 - m->box.x0, m->box.y1 - m->box.y0},
                        .iou = m->iou,
                        .stability = m->stability,
                        .more = more};
}

bool coco_put_annotation(Bytes *list, int64_t id, const CocoRecord *r, Error *e) {
    return record_put(list, id, r, e);
}

bool coco_put_result(Bytes *list, const CocoRecord *r, Error *e) {
    return record_put(list, -1, r, e);
}

static bool file_put_list(const char *path, const char *head, const Bytes *list, const char *tail, Error *e) {
    Bytes file = {0};
    const bool fine = bytes_append(&file, head, strlen(head), e) &&
                      (!list->size || bytes_append(&file, list->data, list->size, e)) &&
                      bytes_append(&file, tail, strlen(tail), e) && file_write(path, file.data, file.size, e);
    bytes_free(&file);
    return fine;
}

bool coco_write_image(const char *path, const char *image, int width, int height, const Bytes *list,
                      Error *e) {
    char head[2 * FILE_PATH + 400];
    JsonWriter w = json_writer(head, sizeof head - 100, 0);
    json_put_open(&w, NULL, '{');
    json_put_open(&w, "images", '[');
    json_put_open(&w, NULL, '{');
    json_put_int(&w, "id", 1);
    json_put_text(&w, "file_name", image);
    json_put_int(&w, "width", width);
    json_put_int(&w, "height", height);
    json_put_close(&w, '}');
    json_put_close(&w, ']');
    if (w.full) return error_set(e, ERROR_LIMIT, "%s: the path is too long", image);
    snprintf(head + w.used, sizeof head - w.used,
             ",\n\"categories\": [{\"id\": 1, \"name\": \"object\"}],\n\"annotations\": [\n");
    return file_put_list(path, head, list, "\n]}\n", e);
}

bool coco_write_results(const char *path, const Bytes *list, Error *e) {
    return file_put_list(path, "[\n", list, "\n]\n", e);
}
