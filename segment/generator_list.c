#include "segment/generator_list.h"

#include <string.h>

/* The runs of all masks follow each other, in order: when they move, each is found again. */
static void list_link(GeneratorMasks *list) {
    const uint32_t *run = (const uint32_t *)(const void *)list->runs.data;
    for (int64_t i = 0; i < list->count; i++) {
        list->mask[i].rle.run = run;
        run += list->mask[i].rle.count;
    }
}

bool generator_list_add(GeneratorMasks *list, const GeneratorMask *m, Error *e) {
    if (list->count == list->room) {
        const int64_t room = list->room ? 2 * list->room : 64;
        GeneratorMask *mask = mem_resize(list->mask, (size_t)room * sizeof *mask);
        if (!mask) return error_memory(e, (size_t)room * sizeof *mask);
        list->mask = mask;
        list->room = room;
    }
    const uint8_t *before = list->runs.data;
    const size_t begin = list->runs.size;
    if (!bytes_append(&list->runs, m->rle.run, (size_t)m->rle.count * sizeof *m->rle.run, e)) return false;
    list->mask[list->count] = *m;
    list->mask[list->count++].rle.run = (const uint32_t *)(const void *)(list->runs.data + begin);
    if (list->runs.data != before) list_link(list);
    return true;
}

bool generator_list_join(GeneratorMasks *list, const GeneratorMasks *more, Error *e) {
    for (int64_t i = 0; i < more->count; i++)
        if (!generator_list_add(list, &more->mask[i], e)) return false;
    return true;
}

void generator_free(GeneratorMasks *m) {
    mem_free(m->mask);
    bytes_free(&m->runs);
    *m = (GeneratorMasks){0};
}

/* The masks keep[0 .. n - 1] alone, in that order. */
static bool list_select(GeneratorMasks *list, const int64_t *keep, int64_t n, Error *e) {
    GeneratorMasks kept = {0};
    for (int64_t i = 0; i < n; i++) {
        if (generator_list_add(&kept, &list->mask[keep[i]], e)) continue;
        generator_free(&kept);
        return false;
    }
    generator_free(list);
    *list = kept;
    return true;
}

bool generator_list_suppress(GeneratorMasks *list, const double *score, double limit, Error *e) {
    const size_t count = (size_t)list->count, size = count * (sizeof(MaskBox) + sizeof(int64_t));
    if (count == 0) return true;
    MaskBox *box = mem_get(size);
    if (!box) return error_memory(e, size);
    int64_t *keep = (int64_t *)(void *)(box + count);
    for (size_t i = 0; i < count; i++) box[i] = list->mask[i].box;
    const int64_t n = mask_nms(box, score, list->count, limit, keep, e);
    const bool fine = n >= 0 && list_select(list, keep, n, e);
    mem_free(box);
    return fine;
}

/* Tells whether the mask of *m was changed; if so *m borrows its new runs from `runs`. */
static bool mask_clean(GeneratorMask *m, int64_t area, uint8_t *mask, Bytes *runs, bool *changed, Error *e) {
    bool filled, dropped;
    rle_to_mask(&m->rle, mask);
    if (!mask_remove_small(mask, m->rle.height, m->rle.width, area, true, &filled, e) ||
        !mask_remove_small(mask, m->rle.height, m->rle.width, area, false, &dropped, e))
        return false;
    *changed = filled || dropped;
    if (!*changed) return true;
    runs->size = 0;
    m->box = mask_box(mask, m->rle.height, m->rle.width);
    if (!rle_from_mask(&m->rle, runs, mask, m->rle.height, m->rle.width, e)) return false;
    m->area = rle_area(&m->rle);
    return true;
}

bool generator_list_clean(GeneratorMasks *list, int64_t area, double limit, Error *e) {
    if (list->count == 0) return true;
    GeneratorMasks clean = {0};
    Bytes runs = {0};
    const size_t pixels = (size_t)list->mask[0].rle.height * (size_t)list->mask[0].rle.width;
    uint8_t *mask = mem_get(pixels);
    double *unchanged = mem_get((size_t)list->count * sizeof *unchanged);
    bool fine = mask && unchanged ? true : error_memory(e, pixels);
    for (int64_t i = 0; fine && i < list->count; i++) {
        GeneratorMask m = list->mask[i];
        bool changed = false;
        fine = mask_clean(&m, area, mask, &runs, &changed, e) && generator_list_add(&clean, &m, e);
        unchanged[i] = !changed;
    }
    fine = fine && generator_list_suppress(&clean, unchanged, limit, e);
    mem_free(mask);
    mem_free(unchanged);
    bytes_free(&runs);
    GeneratorMasks gone = clean;
    if (fine) {
        gone = *list;
        *list = clean;
    }
    generator_free(&gone);
    return fine;
}
