#include "core/torch_legacy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A pickle of protocol 2 of the number 0x1950a86a20f9469cfc6c, as it stands in every such file. */
static const uint8_t magic[] = {0x80, 2,    0x8A, 10,   0x6C, 0xFC, 0x9C, 0x46,
                                0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, '.'};
static const int64_t VERSION = 1001;

bool torch_legacy_is(const void *head, size_t size) {
    return size >= sizeof magic && memcmp(head, magic, sizeof magic) == 0;
}

void torch_legacy_close(TorchLegacy *t) {
    zip_close(&t->zip);
    pickle_close(&t->object);
    mem_free(t->data);
    *t = (TorchLegacy){0};
}

static bool refuse(const Input *in, const char *what, Error *e) {
    return error_set(e, ERROR_FORMAT, "%s: %s", in->path, what);
}

/* The next pickle of the row. */
static bool next(TorchLegacy *t, const Input *in, const char *what, Pickle *p, Error *e) {
    size_t used;
    char entry[64];
    snprintf(entry, sizeof entry, "the pickle at %zu (%s)", t->at, what);
    if (!pickle_open(p, in->path, entry, t->data + t->at, t->size - t->at, &used, e)) return false;
    t->at += used;
    return true;
}

static bool read_version(TorchLegacy *t, const Input *in, Error *e) {
    Pickle p;
    bool fine = next(t, in, "the version", &p, e);
    const PickleNode *n = fine ? &p.node[p.root] : NULL;
    if (fine && (n->kind != PICKLE_INT || n->integer != VERSION))
        fine = refuse(in, "its version is not 1001", e);
    pickle_close(&p);
    return fine;
}

static bool read_sizes(TorchLegacy *t, const Input *in, Error *e) {
    Pickle p;
    bool fine = next(t, in, "the sizes", &p, e);
    uint32_t little = fine ? pickle_get(&p, p.root, "little_endian") : 0;
    if (little) t->big = p.node[little].kind == PICKLE_BOOL && !p.node[little].integer;
    pickle_close(&p);
    return fine;
}

/* ------------------------------------------------------------------------------------------- storages --- */

static int compare_text(const PickleText *a, const PickleText *b) {
    size_t n = a->size < b->size ? a->size : b->size;
    int order = n ? memcmp(a->at, b->at, n) : 0;
    return order ? order : (a->size > b->size) - (a->size < b->size);
}

static int compare_storage(const void *a, const void *b) {
    return compare_text(&((const PickleStorage *)a)->key, &((const PickleStorage *)b)->key);
}

static int compare_entry(const void *a, const void *b) {
    return strcmp(((const ZipEntry *)a)->name, ((const ZipEntry *)b)->name);
}

/* One key: its length and bytes stand at *at. Storages that no tensor refers to cannot be: their width is not
 * known. */
static bool read_storage(TorchLegacy *t, const Input *in, const PickleStorage *sorted, PickleText key,
                         char *name, uint64_t *at, Error *e) {
    char shown[PICKLE_SHOWN];
    const PickleStorage like = {.key = key}, *s = NULL;
    uint64_t length = 0, bytes;
    if (t->object.storages > 1)
        s = bsearch(&like, sorted, t->object.storages - 1, sizeof *s, compare_storage);
    if (!s) return refuse(in, "it lists a storage that no tensor lies in", e);
    if (in->size - *at < sizeof length) return refuse(in, "it was cut short", e);
    if (!input_get(in, *at, &length, sizeof length, e)) return false;
    *at += sizeof length;
    uint64_t width = s->bytes ? 1 : (uint64_t)safe_type_bits(s->type) / 8;
    if (__builtin_mul_overflow(length, width, &bytes) || bytes > in->size - *at)
        return error_set(e, ERROR_FORMAT,
                         "%s: storage %s claims %" PRIu64 " elements, but the file ends after %" PRIu64
                         " bytes: it was cut short",
                         in->path, pickle_shown(key, shown), length, in->size - *at);
    memcpy(name, key.at, key.size);
    name[key.size] = '\0';
    t->zip.entry[t->zip.count++] =
        (ZipEntry){.name = name - strlen(TORCH_LEGACY_ROOT "/data/"), .begin = *at, .size = bytes};
    *at += bytes;
    return true;
}

/* The keys' names, each with what makes it an entry's before it. */
static bool take_room(TorchLegacy *t, const Input *in, const Pickle *keys, Error *e) {
    enum { MOST_KEY = 100 };
    size_t count = 0;
    const PickleNode *list = &keys->node[keys->root];
    if (list->kind != PICKLE_LIST) return refuse(in, "its list of storages is none", e);
    for (uint32_t c = list->chain.first; c; c = keys->cell[c].next, count++) {
        const PickleNode *key = &keys->node[keys->cell[c].node];
        if (key->kind != PICKLE_TEXT || key->text.size > MOST_KEY || memchr(key->text.at, 0, key->text.size))
            return refuse(in, "the key of a storage is no text, or a long one", e);
    }
    if (count > ZIP_MAX_ENTRIES) return refuse(in, "it has too many storages", e);
    t->zip.entry = mem_zero(count + 1, sizeof *t->zip.entry);
    t->zip.text = mem_zero(count + 1, sizeof(TORCH_LEGACY_ROOT "/data/") + MOST_KEY);
    return t->zip.entry && t->zip.text ? true : error_memory(e, count * sizeof *t->zip.entry);
}

static bool read_storages(TorchLegacy *t, const Input *in, const Pickle *keys, Error *e) {
    static const char before[] = TORCH_LEGACY_ROOT "/data/";
    uint64_t at = t->at;
    if (!take_room(t, in, keys, e)) return false;
    size_t bytes = t->object.storages * sizeof *t->object.storage;
    PickleStorage *sorted = mem_get(bytes);
    if (!sorted) return error_memory(e, bytes);
    size_t count = t->object.storages - 1; /* the first is unused */
    if (count) memcpy(sorted, t->object.storage + 1, count * sizeof *sorted);
    if (count) qsort(sorted, count, sizeof *sorted, compare_storage);
    char *name = t->zip.text;
    bool fine = true;
    for (uint32_t c = keys->node[keys->root].chain.first; c && fine; c = keys->cell[c].next) {
        PickleText key = keys->node[keys->cell[c].node].text;
        memcpy(name, before, sizeof before - 1);
        name += sizeof before - 1;
        fine = read_storage(t, in, sorted, key, name, &at, e);
        name += key.size + 1;
    }
    mem_free(sorted);
    if (!fine) return false;
    if (at != in->size)
        return error_set(e, ERROR_FORMAT, "%s: %" PRIu64 " bytes after the last storage belong to none",
                         in->path, in->size - at);
    qsort(t->zip.entry, (size_t)t->zip.count, sizeof *t->zip.entry, compare_entry);
    for (int64_t i = 1; i < t->zip.count; i++)
        if (strcmp(t->zip.entry[i - 1].name, t->zip.entry[i].name) == 0)
            return refuse(in, "it lists a storage twice", e);
    return true;
}

bool torch_legacy_open(TorchLegacy *t, const Input *in, Error *e) {
    Pickle keys = {0};
    *t = (TorchLegacy){.at = sizeof magic};
    t->size = in->size < PICKLE_MAX_BYTES ? (size_t)in->size : PICKLE_MAX_BYTES;
    t->data = mem_get(t->size);
    if (!t->data) return error_memory(e, t->size);
    bool fine = input_get(in, 0, t->data, t->size, e) && read_version(t, in, e) && read_sizes(t, in, e) &&
                next(t, in, "the object", &t->object, e) && next(t, in, "the keys", &keys, e) &&
                read_storages(t, in, &keys, e);
    pickle_close(&keys);
    return fine;
}
