/* The images of a COCO file as a data set: no labels, the annotations at hand. */
#include "core/file.h"
#include "data/coco.h"
#include "data/dataset.h"

bool dataset_list_coco(Dataset *d, const char *images, Error *e) {
    char folder[FILE_PATH], path[FILE_PATH];
    if (!coco_open(&d->coco, d->source, e) || !coco_folder(folder, sizeof folder, d->source, images, e))
        return false;
    if (d->coco->images == 0)
        return error_set(e, ERROR_FORMAT, "%s: no images: \"images\" is empty", d->source);
    for (int64_t i = 0; i < d->coco->images; i++)
        if (!file_join(path, sizeof path, folder, d->coco->image[i].file, e) || !dataset_add(d, path, -1, e))
            return false;
    return true;
}
