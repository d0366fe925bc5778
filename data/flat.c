/* DIR/.../IMAGE: photographs without labels. */
#include "data/dataset.h"
#include "data/walk.h"

bool dataset_list_flat(Dataset *d, Error *e) {
    Walk w;
    if (!walk_open(&w, d->source, e)) return false;
    bool ok = true;
    if (w.count == 0 && w.others)
        ok = error_set(e, ERROR_FORMAT,
                       "no images in %s: expected .jpg, .jpeg or .png files, found %lld others", d->source,
                       (long long)w.others);
    if (w.count == 0 && !w.others)
        ok = error_set(e, ERROR_FORMAT,
                       "no images in %s: expected .jpg, .jpeg or .png files, but it is empty", d->source);
    for (int64_t i = 0; ok && i < w.count; i++) ok = dataset_add(d, w.path[i], -1, e);
    walk_close(&w);
    return ok;
}
