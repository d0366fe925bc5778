/* A sample whose picture is fitted into the square whole, and its masks with it (data/fit.h, data/masks.h).
 */
#include "core/file.h"
#include "data/fit.h"
#include "data/loader_inside.h"

#include <stdio.h>
#include <string.h>

/* -------------------------------------------------------------------------------- which have any --- */

/* Lists the places of samples that have masks, and tells once how many have none. */
static bool pick(Loader *l, Error *e) {
    const Dataset *d = l->data;
    int64_t kept = 0, first = -1;
    char name[FILE_PATH];
    l->pick = mem_get((size_t)d->count * sizeof *l->pick);
    if (!l->pick) return error_memory(e, (size_t)d->count * sizeof *l->pick);
    for (int64_t i = 0; i < d->count; i++) {
        if (masks_any(d, i)) {
            l->pick[kept++] = (uint32_t)i;
        } else if (first < 0) {
            first = i;
        }
    }
    l->count = kept;
    if (kept == 0) return error_set(e, ERROR_VALUE, "%s: no image of %s has a mask", d->key, d->source);
    if (kept == d->count || l->o.rank > 0) return true;
    char text[FILE_PATH + 200];
    snprintf(text, sizeof text, "%s: %lld of %lld images have no mask and are left out; the first: %s",
             d->key, (long long)(d->count - kept), (long long)d->count,
             dataset_name(d, first, name, sizeof name));
    loader_warn(l, text);
    return true;
}

bool loader_masks_open(Loader *l, Error *e) {
    if (!masks_layout(l->data->layout))
        return error_set(e, ERROR_VALUE,
                         "%s: %s has no masks: they come with the layouts coco, masks, sa1b and hqseg",
                         l->data->key, l->data->source);
    if (l->set.geometry == GEOMETRY_CROP)
        return error_set(e, ERROR_VALUE,
                         "data.geometry is crop, which masks do not follow: set it to longest or stretch");
    return pick(l, e);
}

void loader_no_mask(Loader *l, int64_t i, const char *why) {
    char name[FILE_PATH], text[FILE_PATH + 200];
    if (l->told_empty) return;
    l->told_empty = true;
    snprintf(text, sizeof text, "%s: %s; it is left out, and others like it without a word",
             dataset_name(l->data, i, name, sizeof name), why);
    loader_warn(l, text);
}

/* -------------------------------------------------------------------------------------------- training ---
 */

/* Mask k, if it may be drawn under this fit, into a square. */
static bool draw_one(const Loader *l, Worker *w, int64_t k, uint8_t *out, bool *good, Error *e) {
    Masks *m = &w->masks;
    AugmentScratch *s = &w->scratch;
    GreyPlane plane;
    *good = false;
    if (l->data->layout == LAYOUT_SA1B) {
        Rle r;
        if (!masks_runs(m, k, &r, e)) return false;
        double share = (double)rle_area(&r) / ((double)m->height * m->width);
        if (share > l->set.mask_max_share) return true;
    }
    if (!masks_plane(m, k, &plane, e)) return false;
    *good = sample_mask(out, l->o.image_size, &plane, &s->x, &s->y) >= l->set.mask_min;
    return true;
}

/* Masks in a random order, as many as are wanted; those found stand for what is missing. *found: how many
 * different ones. */
static bool draw(const Loader *l, Worker *w, const Fit *f, Rng rng, uint8_t *out, int64_t *found, Error *e) {
    Masks *m = &w->masks;
    size_t square = (size_t)l->o.image_size * (size_t)l->o.image_size;
    int64_t want = l->set.masks_per_image;
    Rng r = rng_sub(rng, AUGMENT_OBJECTS);
    *found = 0;
    if (!fit_axes(f, m->width, m->height, &w->scratch.x, &w->scratch.y, e) ||
        !bytes_reserve(&w->order, (size_t)m->count * sizeof(uint32_t), e))
        return false;
    uint32_t *order = (uint32_t *)(void *)w->order.data;
    for (int64_t k = 0; k < m->count; k++) order[k] = (uint32_t)k;
    rng_shuffle(&r, order, (size_t)m->count);
    for (int64_t k = 0; k < m->count && *found < want; k++) {
        bool good;
        if (!draw_one(l, w, order[k], out + (size_t)*found * square, &good, e)) return false;
        *found += good;
    }
    for (int64_t k = *found; *found && k < want; k++)
        memcpy(out + (size_t)k * square, out + (size_t)(k % *found) * square, square);
    return true;
}

/* ------------------------------------------------------------------------------------------ evaluation ---
 */

/* All masks with anything inside, as runs. */
static bool list_truth(const Loader *l, Worker *w, SlotTruth *t, int64_t *found, Error *e) {
    Masks *m = &w->masks;
    int64_t most = l->set.eval_masks ? l->set.eval_masks : m->count;
    t->masks.size = t->runs.size = 0;
    for (int64_t k = 0; k < m->count && t->count < most; k++) {
        Rle r;
        if (!masks_runs(m, k, &r, e)) return false;
        if (rle_area(&r) == 0) continue;
        BatchMask mask = {.height = r.height, .width = r.width, .runs = r.count, .id = m->id[k]};
        if (!bytes_append(&t->masks, &mask, sizeof mask, e) ||
            !bytes_append(&t->runs, r.run, (size_t)r.count * sizeof *r.run, e))
            return false;
        t->count++;
    }
    const uint32_t *run = (const uint32_t *)(const void *)t->runs.data;
    BatchMask *mask = (BatchMask *)(void *)t->masks.data;
    for (int64_t k = 0; k < t->count; run += mask[k++].runs) mask[k].run = run;
    *found = t->count;
    return true;
}

bool loader_truth_gather(Slot *s, int n, Error *e) {
    s->truth_list.size = 0;
    for (int i = 0; i < n; i++) {
        const SlotTruth *t = &s->truth[i];
        BatchMask *mask = (BatchMask *)(void *)t->masks.data;
        for (int64_t k = 0; k < t->count; k++) mask[k].image = i;
        if (t->count && !bytes_append(&s->truth_list, mask, (size_t)t->count * sizeof *mask, e)) return false;
    }
    return true;
}

/* ------------------------------------------------------------------------------------------ one sample ---
 */

/* The masks of sample i under *f, which loses its jitter if none can be seen under it. */
static bool masks_for(Loader *l, Worker *w, Slot *s, int place, int64_t i, Rng rng, const int32_t size[2],
                      Fit *f, bool *none, Error *e) {
    size_t square = (size_t)l->o.image_size * (size_t)l->o.image_size;
    int64_t found = 0;
    *none = false;
    if (!masks_read(&w->masks, l->data, i, size[0], size[1], &l->augment.limits, e)) return false;
    if (l->o.train) {
        uint8_t *out = s->mask + (size_t)place * (size_t)l->set.masks_per_image * square;
        if (!draw(l, w, f, rng, out, &found, e)) return false;
        if (!found) *f = fit_draw(&l->augment, rng, size[1], size[0], false);
        if (!found && !draw(l, w, f, rng, out, &found, e)) return false;
    } else {
        s->truth[place].count = 0;
        if (!list_truth(l, w, &s->truth[place], &found, e)) return false;
    }
    *none = found == 0;
    return true;
}

bool loader_fitted(Loader *l, Worker *w, Slot *s, int place, int64_t i, const AugmentSource *from, Rng rng,
                   bool *none, Error *e) {
    int32_t *size = s->size + 2 * place, *fit = s->fit + 2 * place;
    *none = false;
    if (!fit_size(&l->augment, from, size, e)) return false;
    Fit f = fit_draw(&l->augment, rng, size[1], size[0], true);
    if (l->o.masks && !masks_for(l, w, s, place, i, rng, size, &f, none, e)) return false;
    if (*none) return true;
    fit[0] = f.window.height, fit[1] = f.window.width;
    return fit_run(&l->augment, &w->scratch, from, &f, rng, (float *)(s->image + (size_t)place * l->each), e);
}
