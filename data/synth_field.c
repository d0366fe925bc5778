#include "data/synth_field.h"

#include <string.h>

bool field_new(Field *field, int size, const Noise *noise, Error *e) {
    memset(field, 0, sizeof *field);
    if (size < 32 || size > 1024) return error_set(e, ERROR_VALUE, "size: %d must be from 32 to 1024", size);
    size_t bytes = (size_t)size * (size_t)size * sizeof(uint16_t);
    field->noise = noise;
    if (!canvas_new(&field->picture, size, size, e) || !brush_new(&field->sharp, &field->picture, e) ||
        !brush_new(&field->soft, &field->picture, e)) {
        field_free(field);
        return false;
    }
    field->owner = mem_get(bytes);
    if (field->owner) return true;
    field_free(field);
    return error_memory(e, bytes);
}

void field_free(Field *field) {
    canvas_free(&field->picture);
    brush_free(&field->sharp);
    brush_free(&field->soft);
    mem_free(field->owner);
    field->owner = NULL;
}

void field_clear(Field *field) {
    size_t pixels = (size_t)field->picture.w * (size_t)field->picture.h;
    memset(field->owner, 0, pixels * sizeof *field->owner);
    field->instances = 0;
}

bool field_claim(Field *field, int category, float least) {
    enum { FEWEST = 16 };
    const Brush *b = &field->sharp;
    int left[FIELD_MOST + 1] = {0}, mine = 0, w = field->picture.w;
    if (field->instances == FIELD_MOST) return false;
    for (int i = 0; i < w * field->picture.h; i++) left[field->owner[i]]++;
    for (int y = b->box.y0; y < b->box.y1; y++)
        for (int x = b->box.x0; x < b->box.x1; x++)
            if (b->cover.v[(size_t)y * (size_t)w + (size_t)x] >= 0.5f)
                left[field->owner[y * w + x]]--, mine++;
    if (mine < FEWEST) return false;
    for (int k = 1; k <= field->instances; k++)
        if (left[k] < FEWEST || (float)left[k] < least * (float)field->whole[k]) return false;
    int k = ++field->instances;
    field->category[k] = category;
    field->whole[k] = mine;
    for (int y = b->box.y0; y < b->box.y1; y++)
        for (int x = b->box.x0; x < b->box.x1; x++)
            if (b->cover.v[(size_t)y * (size_t)w + (size_t)x] >= 0.5f) field->owner[y * w + x] = (uint16_t)k;
    return true;
}
