/* Everything in an image. */
#include "cli/coco_write.h"
#include "cli/overlay.h"
#include "cli/segment.h"

#include "core/clock.h"
#include "core/comm.h"
#include "core/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

typedef struct Bar {
    const char *name;
    int64_t image, images;
    double began;
} Bar;

static bool bar_wanted(void) {
    return isatty(STDERR_FILENO) && comm_first();
}

static bool bar_draw(void *self, int64_t points, int64_t all) {
    const Bar *b = self;
    char line[200], left[32], text[300];
    struct winsize size;
    const int width = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
    const double took = clock_seconds() - b->began;
    progress_time(left, points ? took * (double)(all - points) / (double)points : -1);
    snprintf(line, sizeof line, "%.60s  image %lld/%lld  point %lld/%lld  ETA %s", b->name,
             (long long)b->image + 1, (long long)b->images, (long long)points, (long long)all, left);
    progress_share(text, sizeof text, width - 1, (double)points / (double)all, line);
    fprintf(stderr, "\r%s\033[K", text);
    return true;
}

static void bar_clear(void) {
    fputs("\r\033[K", stderr);
}

/* Larger masks are drawn first, so that smaller ones stay visible. */
static int area_order(const void *a, const void *b) {
    const GeneratorMask *p = *(const GeneratorMask *const *)a, *q = *(const GeneratorMask *const *)b;
    if (p->area != q->area) return p->area > q->area ? -1 : 1;
    return (p > q) - (p < q);
}

static bool picture_put(Segment *s, int64_t i, const GeneratorMasks *found, uint8_t *mask, Error *e) {
    char path[FILE_PATH];
    const GeneratorMask **order = mem_get((size_t)found->count * sizeof *order + 1);
    if (!order) return error_memory(e, (size_t)found->count * sizeof *order);
    for (int64_t k = 0; k < found->count; k++) order[k] = &found->mask[k];
    qsort(order, (size_t)found->count, sizeof *order, area_order);
    for (int64_t k = 0; k < found->count; k++) {
        rle_to_mask(&order[k]->rle, mask);
        overlay_mask(&s->image, mask, overlay_colour(order[k] - found->mask));
    }
    mem_free(order);
    return names_path(&s->guard, path, s->set->out, s->name[i], ".png", e) &&
           image_write_png(&s->image, path, e);
}

static bool masks_put(const Segment *s, int64_t i, const GeneratorMasks *found, uint8_t *mask, Error *e) {
    char folder[FILE_PATH], path[FILE_PATH], name[32];
    if (!names_path(&s->guard, folder, s->set->out, s->name[i], "_masks", e) || !file_make_folder(folder, e))
        return false;
    for (int64_t k = 0; k < found->count; k++) {
        snprintf(name, sizeof name, "%lld", (long long)k);
        rle_to_mask(&found->mask[k].rle, mask);
        if (!names_path(&s->guard, path, folder, name, ".png", e) ||
            !segment_write_mask(path, mask, s->image.width, s->image.height, e))
            return false;
    }
    return true;
}

static bool record_put(Bytes *list, const GeneratorMask *m, int64_t id, Error *e) {
    char more[COCO_MORE];
    const CocoRecord r = coco_generated(m, more);
    return coco_put_annotation(list, id, &r, e);
}

static bool json_put(const Segment *s, int64_t i, const GeneratorMasks *found, Error *e) {
    char path[FILE_PATH];
    Bytes list = {0};
    bool fine = names_path(&s->guard, path, s->set->out, s->name[i], ".json", e);
    for (int64_t k = 0; fine && k < found->count; k++) fine = record_put(&list, &found->mask[k], k + 1, e);
    fine = fine && coco_write_image(path, s->path[i], s->image.width, s->image.height, &list, e);
    bytes_free(&list);
    return fine;
}

bool segment_all(Segment *s, int64_t i, Error *e) {
    GeneratorMasks found = {0};
    Bar bar = {s->name[i], i, s->images, clock_seconds()};
    const size_t pixels = (size_t)s->image.width * (size_t)s->image.height;
    const bool draws = bar_wanted();
    bool fine = generator_run(s->model.predictor, &s->image, &s->set->generator, draws ? bar_draw : NULL,
                              &bar, &found, e);
    if (draws) bar_clear();
    if (!fine) return error_prefix(e, "%s", s->path[i]);
    uint8_t *mask = mem_get(pixels);
    fine = mask ? true : error_memory(e, pixels);
    fine = fine && json_put(s, i, &found, e) && (!s->set->masks || masks_put(s, i, &found, mask, e)) &&
           picture_put(s, i, &found, mask, e);
    if (fine) printf("%s: %lld masks\n", s->path[i], (long long)found.count);
    mem_free(mask);
    generator_free(&found);
    return fine;
}
