#include "data/sa1b.h"

#include "core/json.h"
#include "data/rle.h"

static bool check_size(Json list, int height, int width, Error *e) {
    int64_t side[2] = {0};
    int n = 0;
    if (!json_expect(list, JSON_ARRAY, e)) return false;
    for (Json j = json_first(list); json_exists(j) && n < 3; j = json_next(j), n++)
        if (n < 2 && !json_int(j, 1, RLE_SIDE, &side[n], e)) return false;
    if (n != 2) return json_error(list, e, "expected two numbers: height, width");
    if (side[0] == height && side[1] == width) return true;
    return json_error(list, e, "the mask is %lld x %lld (height x width), its picture %d x %d",
                      (long long)side[0], (long long)side[1], height, width);
}

static bool read_mask(Bytes *list, Bytes *runs, Json note, int64_t number, int height, int width, Error *e) {
    Json id = json_get(note, "id"), shape = json_get(note, "segmentation"),
         counts = json_get(shape, "counts");
    Sa1bMask m = {.id = number, .begin = runs->size};
    const char *text;
    Error why;
    Rle r;
    if (json_exists(id) && !json_int(id, -JSON_MAX_INT, JSON_MAX_INT, &m.id, e)) return false;
    if (!json_expect(shape, JSON_OBJECT, e) || !check_size(json_get(shape, "size"), height, width, e) ||
        !json_text(counts, &text, e))
        return false;
    if (!rle_from_text(&r, runs, text, height, width, &why)) return json_error(counts, e, "%s", why.text);
    m.count = r.count;
    return bytes_append(list, &m, sizeof m, e);
}

bool sa1b_parse(Bytes *list, Bytes *runs, const char *name, const char *text, size_t size, int height,
                int width, Error *e) {
    JsonFile *f = NULL;
    if (!json_open(&f, name, text, size, e)) return false;
    Json notes = json_get(json_root(f), "annotations");
    bool ok = json_expect(notes, JSON_ARRAY, e);
    int64_t number = 0;
    for (Json j = json_first(notes); ok && json_exists(j); j = json_next(j))
        ok = read_mask(list, runs, j, number++, height, width, e);
    json_close(f);
    return ok;
}
