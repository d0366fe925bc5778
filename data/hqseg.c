/* The sets of HQSeg-44K (Ke et al. 2023, 4.1) in the folders their archives make, below one root. */
#include "core/file.h"
#include "data/dataset.h"
#include "data/walk.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *images, *masks; /* NAME.jpg in the one, NAME.png in the other */
    bool train;                 /* or validation */
} parts[] = {
    {"DIS5K/DIS-TR/im", "DIS5K/DIS-TR/gt", true},
    {"thin_object_detection/ThinObject5K/images_train", "thin_object_detection/ThinObject5K/masks_train",
     true},
    {"cascade_psp/fss_all", "cascade_psp/fss_all", true},
    {"cascade_psp/DUTS-TR", "cascade_psp/DUTS-TR", true},
    {"cascade_psp/DUTS-TE", "cascade_psp/DUTS-TE", true},
    {"cascade_psp/ecssd", "cascade_psp/ecssd", true},
    {"cascade_psp/MSRA_10K", "cascade_psp/MSRA_10K", true},
    {"DIS5K/DIS-VD/im", "DIS5K/DIS-VD/gt", false},
    {"thin_object_detection/COIFT/images", "thin_object_detection/COIFT/masks", false},
    {"thin_object_detection/HRSOD/images", "thin_object_detection/HRSOD/masks_max255", false},
    {"thin_object_detection/ThinObject5K/images_test", "thin_object_detection/ThinObject5K/masks_test",
     false},
};

static bool list_part(Dataset *d, const char *images, const char *masks, Error *e) {
    char mask[FILE_PATH];
    Walk w;
    if (!walk_open(&w, images, e)) return false;
    bool ok = true;
    for (int64_t i = 0; ok && i < w.count; i++) {
        if (walk_is_png(w.path[i])) continue;
        bool found = dataset_pair_file(mask, sizeof mask, masks, file_base(w.path[i]), ".png");
        ok = dataset_add_pair(d, w.path[i], found ? mask : NULL, e);
    }
    walk_close(&w);
    return ok;
}

/* Appends ", name" to the list of what is missing. */
static void append(char *list, size_t size, const char *name) {
    size_t used = strlen(list);
    snprintf(list + used, size - used, "%s%s", used ? ", " : "", name);
}

bool dataset_list_hqseg(Dataset *d, bool train, bool partial, Error *e) {
    char images[FILE_PATH], masks[FILE_PATH], missing[1024] = "";
    for (int i = 0; i < COUNT(parts); i++) {
        if (parts[i].train != train) continue;
        if (!file_join(images, sizeof images, d->source, parts[i].images, e) ||
            !file_join(masks, sizeof masks, d->source, parts[i].masks, e))
            return false;
        if (file_kind(images) != FILE_FOLDER) {
            append(missing, sizeof missing, parts[i].images);
        } else if (file_kind(masks) != FILE_FOLDER) {
            append(missing, sizeof missing, parts[i].masks);
        } else if (!list_part(d, images, masks, e)) {
            return false;
        }
    }
    if (missing[0] && !partial)
        return error_set(e, ERROR_IO, "%s lacks %s; to do without, set data.partial to true", d->source,
                         missing);
    if (d->count) return true;
    return error_set(e, ERROR_FORMAT, "%s: none of HQSeg-44K's sets is there: it lacks %s", d->source,
                     missing[0] ? missing : "images");
}
