/* Any bytes as a COCO file. What is accepted keeps its promises: places in range, masks of their image's
 * size. */
#include "data/coco.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const Coco *c) {
    int64_t sum = 0;
    for (int64_t i = 0; i < c->images; i++) {
        if (c->image[i].first != sum || !c->image[i].file[0] || c->image[i].file[0] == '/') abort();
        sum += c->image[i].count;
    }
    if (sum != c->annotations) abort();
    for (int64_t i = 0; i < c->annotations; i++) {
        const CocoAnnotation *a = &c->annotation[i];
        if (a->image < 0 || a->image >= c->images || a->category < 0 || a->category >= c->categories) abort();
        if (a->shape == COCO_RLE && rle_area(&a->rle) > (int64_t)a->rle.height * a->rle.width) abort();
        double all = 0.0;
        for (int64_t p = 0; p < a->polygons; p++)
            for (int64_t k = 0; k < 2 * a->polygon[p].points; k++) all += a->polygon[p].xy[k];
        if (all != all) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Error e = {0};
    Coco *c;
    if (coco_parse(&c, "fuzz", (const char *)data, size, &e)) {
        check(c);
        coco_close(c);
    } else if (e.code == ERROR_NONE || strncmp(e.text, "fuzz:", 5) != 0) {
        abort();
    }
    return 0;
}
