/* Images with their masks in files of the same name: NAME.jpg with NAME.png or NAME.json. */
#include "core/file.h"
#include "data/dataset.h"
#include "data/walk.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static int stem_length(const char *path) {
    const char *base = file_base(path), *dot = strrchr(base, '.');
    return dot ? (int)(dot - path) : (int)strlen(path);
}

/* The first of STEM.ending and STEM.ENDING that is a file. */
static bool find_file(char *out, size_t size, const char *stem, int length, const char *ending) {
    char upper[32];
    size_t n = strlen(ending);
    if (n >= sizeof upper) die("pairs: the ending %s is too long", ending);
    for (size_t i = 0; i <= n; i++) upper[i] = (char)toupper((unsigned char)ending[i]);
    upper[0] = ending[0];
    const char *const form[] = {ending, upper};
    for (int i = 0; i < COUNT(form); i++) {
        int written = snprintf(out, size, "%.*s%s", length, stem, form[i]);
        if (written > 0 && (size_t)written < size && file_kind(out) == FILE_REGULAR) return true;
    }
    return false;
}

bool dataset_pair_file(char *out, size_t size, const char *folder, const char *image, const char *ending) {
    char stem[FILE_PATH];
    Error ignored;
    return file_join(stem, sizeof stem, folder, image, &ignored) &&
           find_file(out, size, stem, stem_length(stem), ending);
}

int dataset_pair_layout(const char *image) {
    char path[FILE_PATH];
    int stem = stem_length(image);
    if (find_file(path, sizeof path, image, stem, ".json")) return LAYOUT_SA1B;
    if (find_file(path, sizeof path, image, stem, ".png")) return LAYOUT_MASKS;
    return LAYOUT_FLAT;
}

/* ---------------------------------------------------------------------------------------------- masks --- */

static bool has_photograph(const char *stem, int length) {
    char path[FILE_PATH];
    return find_file(path, sizeof path, stem, length, ".jpg") ||
           find_file(path, sizeof path, stem, length, ".jpeg");
}

/* Is this PNG the mask of an image beside it? */
static bool is_mask(const char *path) {
    static const char tail[] = "_mask";
    char other[FILE_PATH];
    int stem = stem_length(path), n = (int)sizeof tail - 1;
    if (!walk_is_png(path)) return false;
    if (has_photograph(path, stem)) return true;
    if (stem <= n || strncmp(path + stem - n, tail, (size_t)n) != 0) return false;
    return has_photograph(path, stem - n) || find_file(other, sizeof other, path, stem - n, ".png");
}

static bool mask_beside(char *out, size_t size, const char *image) {
    int stem = stem_length(image);
    return (!walk_is_png(image) && find_file(out, size, image, stem, ".png")) ||
           find_file(out, size, image, stem, "_mask.png");
}

/* `masks` as it is, or as seen from the images' folder. */
static bool masks_folder(char *out, size_t size, const char *images, const char *masks, Error *e) {
    if (file_kind(masks) == FILE_FOLDER) return file_join(out, size, masks, "", e);
    if (!file_join(out, size, images, masks, e)) return false;
    if (file_kind(out) == FILE_FOLDER) return true;
    return error_set(e, ERROR_IO, "data.masks: neither %s nor %s is a folder", masks, out);
}

static bool below(const char *path, const char *folder) {
    size_t n = strlen(folder);
    while (n && folder[n - 1] == '/') n--;
    return strncmp(path, folder, n) == 0 && path[n] == '/';
}

static bool add_masks(Dataset *d, const Walk *w, const char *folder, int64_t *masked, Error *e) {
    char mask[FILE_PATH];
    size_t root = strlen(d->source);
    for (int64_t i = 0; i < w->count; i++) {
        const char *path = w->path[i], *name = path + root;
        if (folder ? below(path, folder) : is_mask(path)) continue;
        bool found = folder ? dataset_pair_file(mask, sizeof mask, folder, name + (*name == '/'), ".png")
                            : mask_beside(mask, sizeof mask, path);
        if (!dataset_add_pair(d, path, found ? mask : NULL, e)) return false;
        *masked += found;
    }
    return true;
}

bool dataset_list_masks(Dataset *d, const char *masks, Error *e) {
    char folder[FILE_PATH];
    Walk w;
    int64_t masked = 0;
    if (masks[0] && !masks_folder(folder, sizeof folder, d->source, masks, e)) return false;
    if (!walk_open(&w, d->source, e)) return false;
    bool ok = add_masks(d, &w, masks[0] ? folder : NULL, &masked, e);
    if (ok && !masked && masks[0])
        ok = error_set(e, ERROR_FORMAT, "no image in %s has a mask: expected NAME.png in %s for NAME.jpg",
                       d->source, folder);
    if (ok && !masked)
        ok = error_set(e, ERROR_FORMAT,
                       "no image in %s has a mask: expected NAME.jpg and NAME.png, NAME.png and "
                       "NAME_mask.png, or data.masks",
                       d->source);
    walk_close(&w);
    return ok;
}

/* ----------------------------------------------------------------------------------------------- sa1b --- */

bool dataset_list_sa1b(Dataset *d, Error *e) {
    char json[FILE_PATH];
    Walk w;
    int64_t masked = 0;
    if (!walk_open(&w, d->source, e)) return false;
    bool ok = true;
    for (int64_t i = 0; ok && i < w.count; i++) {
        bool found = find_file(json, sizeof json, w.path[i], stem_length(w.path[i]), ".json");
        ok = dataset_add_pair(d, w.path[i], found ? json : NULL, e);
        masked += found;
    }
    if (ok && !masked)
        ok = error_set(e, ERROR_FORMAT, "no image in %s has masks: expected NAME.json beside NAME.jpg",
                       d->source);
    walk_close(&w);
    return ok;
}
