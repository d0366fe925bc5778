/* DIR/CLASS/.../IMAGE: torchvision's ImageFolder. */
#include "core/file.h"
#include "data/dataset.h"
#include "data/walk.h"

static bool list_class(Dataset *d, const char *path, const char *name, Error *e) {
    Walk w;
    int32_t label = d->classes;
    if (!walk_open(&w, path, e)) return false;
    bool ok = true;
    if (w.count == 0)
        ok = error_set(e, ERROR_FORMAT,
                       "no images in the class folder %s: expected .jpg, .jpeg or .png files; remove it",
                       path);
    ok = ok && dataset_add_class(d, name, e);
    for (int64_t i = 0; ok && i < w.count; i++) ok = dataset_add(d, w.path[i], label, e);
    walk_close(&w);
    return ok;
}

static bool each_class(Dataset *d, bool files, Error *e) {
    FileList list;
    char path[FILE_PATH];
    if (!file_list_open(&list, d->source, e)) return false;
    bool ok = true;
    for (int64_t i = 0; ok && i < list.count; i++) {
        const char *name = list.name[i];
        if (name[0] == '.') continue;
        ok = file_join(path, sizeof path, d->source, name, e);
        if (!ok || file_kind(path) != FILE_FOLDER) continue;
        ok = files ? list_class(d, path, name, e) : dataset_add_class(d, name, e);
    }
    file_list_close(&list);
    return ok;
}

bool dataset_list_classes(Dataset *d, Error *e) {
    return each_class(d, false, e);
}

bool dataset_list_folder(Dataset *d, Error *e) {
    if (!each_class(d, true, e)) return false;
    if (d->count) return true;
    return error_set(e, ERROR_FORMAT, "no images in %s: expected %s/CLASS/NAME.jpg (or .jpeg, .png)",
                     d->source, d->source);
}
