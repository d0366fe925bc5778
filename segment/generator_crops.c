#include "segment/generator_crops.h"

#include <math.h>

#include "data/exact.h"

enum { NEAR = 20 };

int generator_side(const GeneratorSettings *set, int layer) {
    return (int)((double)set->points_per_side / pow(set->crop_point_shrink, layer));
}

double generator_place(int n, int i) {
    const double first = 1.0 / (2 * n), last = 1 - first;
    if (n == 1) return first;
    return i == n - 1 ? last : i * ((last - first) / (n - 1)) + first; /* as numpy's linspace rounds */
}

/* One axis: crop i of n begins at i x step and is `size` long. */
static void axis_cut(int length, int n, int overlap, int *size, int *step) {
    *size = (int)(((int64_t)overlap * (n - 1) + length + n - 1) / n);
    *step = *size - overlap;
}

static bool layer_cut(int width, int height, int layer, double share, GeneratorCrop *out, Error *e) {
    const int n = 1 << layer, shorter = width < height ? width : height;
    const int overlap = (int)(share * shorter * (2.0 / n));
    int w, h, step_x, step_y;
    axis_cut(width, n, overlap, &w, &step_x);
    axis_cut(height, n, overlap, &h, &step_y);
    if (step_x * (n - 1) >= width || step_y * (n - 1) >= height)
        return error_set(e, ERROR_VALUE, "%d x %d pixels are too few for crops of layer %d (%d x %d of them)",
                         width, height, layer, n, n);
    for (int i = 0; i < n * n; i++) {
        const int x = i / n * step_x, y = i % n * step_y;
        const ImageBox box = {x, y, x + w < width ? w : width - x, y + h < height ? h : height - y};
        out[i] = (GeneratorCrop){box, layer};
    }
    return true;
}

bool generator_crops(int width, int height, const GeneratorSettings *set, GeneratorCrop **out, int *count,
                     Error *e) {
    int n = 1;
    for (int layer = 1; layer <= set->crop_layers; layer++) n += 1 << (2 * layer);
    GeneratorCrop *crop = mem_get((size_t)n * sizeof *crop);
    if (!crop) return error_memory(e, (size_t)n * sizeof *crop);
    crop[0] = (GeneratorCrop){{0, 0, width, height}, 0};
    *count = 1;
    for (int layer = 0; layer <= set->crop_layers; layer++) {
        if (generator_side(set, layer) < 1) {
            error_set(e, ERROR_VALUE, "%d points a side leave none for crops of layer %d",
                      set->points_per_side, layer);
            goto fail;
        }
        if (layer == 0) continue;
        if (!layer_cut(width, height, layer, set->crop_overlap, crop + *count, e)) goto fail;
        *count += 1 << (2 * layer);
    }
    *out = crop;
    return true;
fail:
    mem_free(crop);
    return false;
}

static bool near(double a, double b) {
    return fabs(a - b) <= NEAR;
}

bool generator_cut(MaskBox box, ImageBox crop, int width, int height) {
    const int right = crop.x + crop.width, bottom = crop.y + crop.height;
    return (near(box.x0, crop.x) && !near(box.x0, 0)) || (near(box.y0, crop.y) && !near(box.y0, 0)) ||
           (near(box.x1, right) && !near(box.x1, width)) || (near(box.y1, bottom) && !near(box.y1, height));
}
