#include "data/dataset.h"

#include "core/file.h"
#include "core/hash.h"
#include "core/json.h"
#include "data/coco.h"
#include "data/walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The text may still move, so a path is its offset + 1 until dataset_open has seen them all. */
static bool keep_path(Dataset *d, const char *path, const char **place, Error *e) {
    *place = (const char *)(path ? (uintptr_t)d->text.size + 1 : 0);
    return !path || bytes_append(&d->text, path, strlen(path) + 1, e);
}

static void fix_path(const Dataset *d, const char **path) {
    uintptr_t place = (uintptr_t)*path;
    *path = place ? (const char *)d->text.data + (place - 1) : NULL;
}

static bool add(Dataset *d, const char *path, const char *mask, int32_t label, Error *e) {
    if ((size_t)d->count == d->capacity) {
        size_t capacity = d->capacity ? 2 * d->capacity : 1024;
        Sample *grown = mem_resize(d->sample, capacity * sizeof *grown);
        if (!grown) return error_memory(e, capacity * sizeof *grown);
        d->sample = grown;
        d->capacity = capacity;
    }
    Sample s = {.id = d->count, .label = label, .identity = label};
    if (!keep_path(d, path, &s.path, e) || !keep_path(d, mask, &s.mask, e)) return false;
    d->sample[d->count++] = s;
    return true;
}

bool dataset_add(Dataset *d, const char *path, int32_t label, Error *e) {
    return add(d, path, NULL, label, e);
}

bool dataset_add_pair(Dataset *d, const char *path, const char *mask, Error *e) {
    return add(d, path, mask, -1, e);
}

bool dataset_add_class(Dataset *d, const char *name, Error *e) {
    enum { STEP = 64 };
    if (d->classes % STEP == 0) {
        size_t size = (size_t)(d->classes + STEP) * sizeof *d->class_name;
        char **grown = mem_resize(d->class_name, size);
        if (!grown) return error_memory(e, size);
        d->class_name = grown;
    }
    char *copy = mem_string(name);
    if (!copy) return error_memory(e, strlen(name) + 1);
    d->class_name[d->classes++] = copy;
    return true;
}

/* ------------------------------------------------------------------------------------------ layout --- */

/* Of a folder: flat, or what lies beside its first .jpg, if there are images in it. */
static bool find_folder_layout(int *out, const char *folder, Error *e) {
    FileList list;
    char path[FILE_PATH];
    if (!file_list_open(&list, folder, e)) return false;
    *out = LAYOUT_FOLDER;
    bool ok = true, told = false;
    for (int64_t i = 0; ok && !told && i < list.count; i++) {
        const char *name = list.name[i];
        if (name[0] == '.' || !walk_is_image(name)) continue;
        *out = LAYOUT_FLAT;
        if (walk_is_png(name)) continue;
        ok = file_join(path, sizeof path, folder, name, e);
        if (ok) *out = dataset_pair_layout(path);
        told = true;
    }
    file_list_close(&list);
    return ok;
}

static bool find_layout(int *out, const char *path, Error *e) {
    FileKind kind = file_kind(path);
    const char *dot = strrchr(path, '.');
    if (kind == FILE_FOLDER && !dataset_is_idx(path)) return find_folder_layout(out, path, e);
    if (kind == FILE_NONE) return error_set(e, ERROR_IO, "%s: there is no such file or folder", path);
    if (dataset_is_idx(path)) {
        *out = LAYOUT_IDX;
        return true;
    }
    if (dot && strcmp(dot, ".json") == 0) {
        *out = LAYOUT_COCO;
        return true;
    }
    return error_set(e, ERROR_VALUE, "%s: expected a folder of images, a COCO .json file or IDX files", path);
}

static bool list(Dataset *d, const DataSettings *set, bool train, Error *e) {
    switch (d->layout) {
    case LAYOUT_FOLDER:
        return dataset_list_folder(d, e);
    case LAYOUT_FLAT:
        return dataset_list_flat(d, e);
    case LAYOUT_IDX:
        return dataset_list_idx(d, train, e);
    case LAYOUT_MASKS:
        return dataset_list_masks(d, set->masks, e);
    case LAYOUT_SA1B:
        return dataset_list_sa1b(d, e);
    case LAYOUT_HQSEG:
        return dataset_list_hqseg(d, train, set->partial, e);
    default:
        return dataset_list_coco(d, set->images, e);
    }
}

/* -------------------------------------------------------------------------------------------- split --- */

/* The first K samples of each class stay (train), or all others. Samples without a label are one class. */
static bool split(Dataset *d, int64_t first, bool train, Error *e) {
    int64_t *seen = mem_zero((size_t)d->classes + 1, sizeof *seen), kept = 0;
    if (!seen) return error_memory(e, ((size_t)d->classes + 1) * sizeof *seen);
    for (int64_t i = 0; i < d->count; i++) {
        Sample s = d->sample[i];
        bool early = seen[s.label + 1]++ < first;
        if (early == train) d->sample[kept++] = s;
    }
    mem_free(seen);
    d->count = kept;
    if (kept) return true;
    return error_set(e, ERROR_VALUE, "data.per_class_train is %lld, which leaves no image of %s for the test",
                     (long long)first, d->source);
}

typedef struct Class {
    const char *name;
    int32_t label;
} Class;

static int compare_classes(const void *a, const void *b) {
    return strcmp(((const Class *)a)->name, ((const Class *)b)->name);
}

/* label[i]: the place of the set's class i among `name`. */
static bool map_classes(const Dataset *d, Class *other, int count, const char *whose, int32_t *label,
                        Error *e) {
    qsort(other, (size_t)count, sizeof *other, compare_classes);
    for (int i = 0; i < d->classes; i++) {
        const Class key = {d->class_name[i], 0};
        const Class *found = bsearch(&key, other, (size_t)count, sizeof *other, compare_classes);
        if (!found && whose)
            return error_set(e, ERROR_VALUE, "class %s of %s does not exist in %s", key.name, d->source,
                             whose);
        label[i] = found ? found->label : -1;
    }
    return true;
}

bool dataset_use_classes(Dataset *d, char *const *name, int count, const char *whose, Error *e) {
    size_t bytes = (size_t)count * sizeof(Class) + (size_t)d->classes * sizeof(int32_t);
    Class *other = mem_zero(1, bytes + 1);
    if (!other) return error_memory(e, bytes);
    int32_t *label = (int32_t *)(other + count);
    for (int i = 0; i < count; i++) other[i] = (Class){name[i], i};
    bool ok = map_classes(d, other, count, whose, label, e);
    for (int64_t i = 0; ok && d->classes && i < d->count; i++)
        d->sample[i].label = d->sample[i].identity = label[d->sample[i].label];
    mem_free(other);
    if (!ok) return false;
    while (d->classes) mem_free(d->class_name[--d->classes]);
    for (int i = 0; ok && i < count; i++) ok = dataset_add_class(d, name[i], e);
    return ok;
}

/* ---------------------------------------------------------------------------------------- open, close --- */

static bool fill(Dataset *d, const char *path, const DataSettings *set, bool train, Error *e) {
    d->source = mem_string(path);
    if (!d->source) return error_memory(e, strlen(path) + 1);
    d->layout = set->layout;
    d->lenient = set->corrupt == CORRUPT_SKIP;
    if (d->layout == LAYOUT_AUTO && !find_layout(&d->layout, path, e)) return false;
    if (!list(d, set, train, e)) return false;
    for (int64_t i = 0; i < d->count; i++) {
        fix_path(d, &d->sample[i].path);
        fix_path(d, &d->sample[i].mask);
    }
    return true;
}

/* The labels of a test folder are the classes of the training folder. */
static bool share_classes(Dataset *d, const DataSettings *set, Error *e) {
    int layout = set->layout;
    if (d->layout != LAYOUT_FOLDER || !set->train[0] || strcmp(set->train, d->source) == 0) return true;
    Dataset *train = mem_zero(1, sizeof *train);
    if (!train) return error_memory(e, sizeof *train);
    train->source = mem_string(set->train);
    bool ok = train->source ? true : error_memory(e, strlen(set->train) + 1);
    ok = ok && (layout != LAYOUT_AUTO || find_layout(&layout, set->train, e));
    if (ok && layout == LAYOUT_FOLDER) {
        char whose[FILE_PATH + 16];
        snprintf(whose, sizeof whose, "data.train (%s)", set->train);
        ok = dataset_list_classes(train, e) &&
             dataset_use_classes(d, train->class_name, train->classes, whose, e);
    }
    dataset_close(train);
    return ok ? true : error_prefix(e, "its labels are the classes of data.train");
}

bool dataset_open(Dataset **out, const DataSettings *set, bool train, Error *e) {
    *out = NULL;
    const char *path = train || !set->test[0] ? set->train : set->test;
    const char *key = train ? "data.train" : "data.test";
    if (!data_settings_check(set, e)) return false;
    if (!path[0])
        return error_set(e, ERROR_VALUE,
                         "%s is empty: name a folder, a COCO JSON or an IDX file (--set %s=...)", key, key);
    Dataset *d = mem_zero(1, sizeof *d);
    if (!d) return error_memory(e, sizeof *d);
    d->key = key;
    bool ok = fill(d, path, set, train, e);
    bool apart = set->test[0] || (d->layout == LAYOUT_IDX && file_kind(path) == FILE_FOLDER);
    if (ok && !train && !apart && !set->per_class_train)
        ok = error_set(e, ERROR_VALUE, "nothing to evaluate on: it is empty, and data.per_class_train is 0");
    if (ok && set->per_class_train && (train || !apart)) ok = split(d, set->per_class_train, train, e);
    if (ok && !train && set->test[0]) ok = share_classes(d, set, e);
    if (!ok) {
        error_prefix(e, "%s", key);
        dataset_close(d);
        return false;
    }
    *out = d;
    return true;
}

bool dataset_part(Dataset **out, const Dataset *d, const bool *keep, bool wanted, Error *e) {
    *out = NULL;
    Dataset *part = mem_get(sizeof *part);
    Sample *sample = mem_get((size_t)d->count * sizeof *sample);
    if (!part || !sample) {
        mem_free(part);
        mem_free(sample);
        return error_memory(e, (size_t)d->count * sizeof *sample);
    }
    *part = *d;
    part->part = true;
    part->sample = sample;
    part->count = 0;
    for (int64_t i = 0; i < d->count; i++)
        if (keep[i] == wanted) sample[part->count++] = d->sample[i];
    if (part->count == 0) {
        dataset_close(part);
        return error_set(e, ERROR_VALUE, "%s (%s): no sample is left", d->key, d->source);
    }
    *out = part;
    return true;
}

void dataset_close(Dataset *d) {
    if (!d) return;
    if (d->part) {
        mem_free(d->sample);
        mem_free(d);
        return;
    }
    for (int i = 0; i < d->classes; i++) mem_free(d->class_name[i]);
    mem_free(d->class_name);
    mem_free(d->source);
    mem_free(d->sample);
    mem_free(d->pixel);
    coco_close(d->coco);
    bytes_free(&d->text);
    mem_free(d);
}

/* ------------------------------------------------------------------------------------------ samples --- */

bool dataset_pixels(const Dataset *d, int64_t i, Image *out, Error *e) {
    size_t size = (size_t)d->width * (size_t)d->height;
    if (!image_reserve(out, d->width, d->height, e)) return false;
    const uint8_t *from = d->pixel + (size_t)d->sample[i].id * size;
    uint8_t *to = out->pixel;
    for (size_t k = 0; k < size; k++, to += 3) to[0] = to[1] = to[2] = from[k];
    return true;
}

const char *dataset_name(const Dataset *d, int64_t i, char *buffer, size_t size) {
    const Sample *s = &d->sample[i];
    if (s->path) return s->path;
    snprintf(buffer, size, "%s#%lld", d->source, (long long)s->id);
    return buffer;
}

bool dataset_hash(const Dataset *d, int64_t i, char hash[HASH_TEXT], Error *e) {
    const Sample *s = &d->sample[i];
    size_t bytes = (size_t)d->width * (size_t)d->height;
    return s->path ? hash_file(s->path, hash, NULL, e)
                   : hash_bytes(d->pixel + (size_t)s->id * bytes, bytes, hash, e);
}

bool dataset_describe(const Dataset *d, int64_t i, char *line, size_t size, Error *e) {
    char hash[HASH_TEXT], mask[HASH_TEXT], name[FILE_PATH];
    const Sample *s = &d->sample[i];
    bool ok = dataset_hash(d, i, hash, e);
    bool masked = s->mask && hash_file(s->mask, mask, NULL, e);
    if (!(ok && masked == !!s->mask) && !d->lenient) return false;
    JsonWriter w = json_writer(line, size, 0);
    json_put_open(&w, NULL, '{');
    json_put_int(&w, "id", s->id);
    json_put_text(&w, "path", dataset_name(d, i, name, sizeof name));
    if (ok) {
        json_put_text(&w, "sha256", hash);
    } else {
        json_put_null(&w, "sha256");
    }
    if (masked) json_put_text(&w, "mask_sha256", mask);
    if (s->identity >= 0) {
        json_put_text(&w, "identity", d->class_name[s->identity]);
    } else {
        json_put_null(&w, "identity");
    }
    json_put_close(&w, '}');
    if (w.full) return error_set(e, ERROR_LIMIT, "%s: the path is too long for the manifest", name);
    return true;
}
