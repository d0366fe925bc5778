#define _GNU_SOURCE /* sched_getaffinity */
#include "data/loader.h"

#include "core/device.h"
#include "data/loader_inside.h"
#include "data/mix.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------- slots --- */

static bool slot_open(Slot *s, const Loader *l, Error *e) {
    size_t n = (size_t)l->room;
    *s = (Slot){.step = -1};
    s->sample = mem_zero(n, sizeof *s->sample);
    s->left_out = mem_zero(n, sizeof *s->left_out);
    s->image = l->o.device ? device_pinned_get(n * l->each) : mem_zero(n, l->each);
    s->id = mem_zero(n, sizeof *s->id);
    s->label = mem_zero(n, sizeof *s->label);
    s->identity = mem_zero(n, sizeof *s->identity);
    s->size = mem_zero(n, 2 * sizeof *s->size);
    if (l->classes) s->target = mem_zero(n * (size_t)l->classes, sizeof *s->target);
    if (l->set.geometry != GEOMETRY_CROP) s->fit = mem_zero(n, 2 * sizeof *s->fit);
    bool ok = s->sample && s->left_out && s->image && s->id && s->label && s->identity && s->size &&
              (s->target || !l->classes) && (s->fit || l->set.geometry == GEOMETRY_CROP);
    if (!ok) return error_memory(e, n * l->each);
    size_t square = (size_t)l->o.image_size * (size_t)l->o.image_size;
    size_t masks = (size_t)l->set.masks_per_image * square;
    if (l->o.masks && l->o.train) s->mask = mem_zero(n, masks);
    if (l->o.masks && !l->o.train) s->truth = mem_zero(n, sizeof *s->truth);
    return !l->o.masks || s->mask || s->truth ? true : error_memory(e, n * masks);
}

static void slot_close(Slot *s, int room, bool pinned) {
    for (int i = 0; s->truth && i < room; i++) {
        bytes_free(&s->truth[i].masks);
        bytes_free(&s->truth[i].runs);
    }
    mem_free(s->truth);
    bytes_free(&s->truth_list);
    mem_free(s->mask);
    mem_free(s->fit);
    mem_free(s->sample);
    mem_free(s->left_out);
    if (pinned)
        device_pinned_free(s->image);
    else
        mem_free(s->image);
    mem_free(s->target);
    mem_free(s->id);
    mem_free(s->label);
    mem_free(s->identity);
    mem_free(s->size);
}

static void exchange_truth(SlotTruth *a, SlotTruth *b) {
    SlotTruth t = *a;
    *a = *b;
    *b = t;
}

/* Where nothing comes twice: closes the gaps that corrupt images left. Returns how many samples remain. */
static int slot_compact(const Loader *l, Slot *s) {
    int kept = 0;
    size_t masks = (size_t)l->set.masks_per_image * (size_t)l->o.image_size * (size_t)l->o.image_size;
    for (int i = 0; i < s->n; i++) {
        if (s->left_out[i]) continue;
        if (kept < i) {
            memcpy(s->image + (size_t)kept * l->each, s->image + (size_t)i * l->each, l->each);
            memcpy(s->size + 2 * kept, s->size + 2 * i, 2 * sizeof *s->size);
            s->id[kept] = s->id[i];
            s->label[kept] = s->label[i];
            s->identity[kept] = s->identity[i];
            if (s->fit) memcpy(s->fit + 2 * kept, s->fit + 2 * i, 2 * sizeof *s->fit);
            if (s->mask) memcpy(s->mask + (size_t)kept * masks, s->mask + (size_t)i * masks, masks);
            if (s->truth) exchange_truth(&s->truth[kept], &s->truth[i]);
        }
        kept++;
    }
    return kept;
}

/* All samples are there: mixes them and fills in the Batch. */
static bool slot_finish(const Loader *l, Slot *s, Error *e) {
    int n = slot_compact(l, s), size = l->o.image_size;
    Batch *b = &s->batch;
    if (s->truth && !loader_truth_gather(s, n, e)) return false;
    *b = (Batch){
        .n = n,
        .whole = s->whole,
        .image = {.data = s->image, .dim = {n, 3, size, size}, .ndim = 4, .dtype = DT_F32, .name = "image"},
        .id = s->id,
        .label = s->label,
        .identity = s->identity,
        .size = s->size,
        .each = s->mask ? (int)l->set.masks_per_image : 0,
        .mask = s->mask,
        .truths = (int64_t)(s->truth_list.size / sizeof(BatchMask)),
        .truth = (const BatchMask *)(const void *)s->truth_list.data,
        .fit = s->fit,
        .epoch = s->epoch,
        .fixed = !l->o.train || l->o.plain};
    if (l->augment.raw) {
        b->image.data = NULL;
        b->pixel = s->image;
        b->level = l->augment.value[0];
    }
    if (!l->o.train) return true;
    Mix m = mix_draw(&l->set, l->o.seed, s->epoch, s->first, size);
    if (!l->augment.raw) mix_images(&m, (float *)s->image, n, size);
    if (!l->classes) return true;
    mix_targets(&m, l->set.smoothing, s->label, s->target, n, l->classes);
    b->target =
        (Tensor){.data = s->target, .dim = {n, l->classes}, .ndim = 2, .dtype = DT_F32, .name = "target"};
    return true;
}

/* ------------------------------------------------------------------------------------------ workers --- */

/* The slot that wants a worker most; NULL: none does. */
static Slot *slot_wanting(Loader *l) {
    Slot *best = NULL;
    for (int i = 0; i < 2; i++) {
        Slot *s = &l->slot[i];
        if (s->state == SLOT_FILLING && s->next < s->n && (!best || s->turn < best->turn)) best = s;
    }
    return best;
}

/* After a worker is through: the last one finishes the batch. Called and returns with the lock held. */
static void slot_settle(Loader *l, Slot *s) {
    if (s->busy > 0 || s->next < s->n) return;
    if (s->done == s->n) {
        s->state = SLOT_FINISHING;
        pthread_mutex_unlock(&l->lock);
        Error e;
        bool ok = slot_finish(l, s, &e);
        pthread_mutex_lock(&l->lock);
        s->state = ok ? SLOT_READY : SLOT_FAILED;
        if (!ok) s->error = e;
    } else {
        s->state = s->failed_at >= 0 ? SLOT_FAILED : SLOT_EMPTY; /* or it was given up */
    }
    pthread_cond_broadcast(&l->settled);
}

static void *work(void *argument) {
    Worker *w = argument;
    Loader *l = w->loader;
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        Slot *s = slot_wanting(l);
        if (!s) {
            pthread_cond_wait(&l->work, &l->lock);
            continue;
        }
        int place = s->next++;
        s->busy++;
        pthread_mutex_unlock(&l->lock);
        Error e;
        bool ok = loader_sample(l, w, s, place, &e);
        pthread_mutex_lock(&l->lock);
        s->busy--;
        s->done += ok;
        if (!ok) {
            if (s->failed_at < 0 || place < s->failed_at) {
                s->failed_at = place;
                s->error = e;
            }
            s->next = s->n;
        }
        slot_settle(l, s);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* Waits until no worker touches the slot; what is not begun of it is given up. */
static void slot_cancel(Loader *l, Slot *s) {
    s->next = s->n;
    while (s->busy > 0 || s->state == SLOT_FINISHING) pthread_cond_wait(&l->settled, &l->lock);
    s->state = SLOT_EMPTY;
}

static void slot_begin(Loader *l, Slot *s, int64_t step) {
    slot_cancel(l, s);
    s->step = step;
    s->turn = l->turns++;
    s->next = s->busy = s->done = 0;
    s->failed_at = -1;
    s->state = SLOT_FILLING;
    loader_plan(l, s, step);
    if (s->n == 0) slot_settle(l, s);
    pthread_cond_broadcast(&l->work);
}

/* ------------------------------------------------------------------------------------------- source --- */

static Slot *slot_of(Loader *l, int64_t step) {
    for (int i = 0; i < 2; i++)
        if (l->slot[i].state != SLOT_EMPTY && l->slot[i].step == step) return &l->slot[i];
    return NULL;
}

static bool get(void *self, int64_t step, const Batch **out, Error *e) {
    Loader *l = self;
    if (step < 0) die("loader: step %lld", (long long)step);
    pthread_mutex_lock(&l->lock);
    Slot *s = slot_of(l, step);
    if (!s) {
        s = &l->slot[0];
        slot_begin(l, s, step);
    }
    while (s->state == SLOT_FILLING || s->state == SLOT_FINISHING) pthread_cond_wait(&l->settled, &l->lock);
    bool ok = s->state == SLOT_READY;
    if (ok) {
        Slot *next = s == &l->slot[0] ? &l->slot[1] : &l->slot[0];
        bool more = l->o.train || (step + 1) % l->steps != 0;
        if (more && !slot_of(l, step + 1)) slot_begin(l, next, step + 1);
        *out = &s->batch;
    } else {
        *e = s->error;
        s->state = SLOT_EMPTY;
    }
    pthread_mutex_unlock(&l->lock);
    return ok;
}

static bool describe(void *self, int64_t i, char *line, size_t size, Error *e) {
    const Loader *l = self;
    if (i < 0 || i >= l->count) die("loader: there is no sample %lld", (long long)i);
    return dataset_describe(l->data, loader_place(l, i), line, size, e);
}

static void close_loader(void *self) {
    Loader *l = self;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; l->worker && i < l->workers; i++) {
        Worker *w = &l->worker[i];
        if (w->started) pthread_join(w->thread, NULL);
        augment_scratch_free(&w->scratch);
        bytes_free(&w->file);
        bytes_free(&w->order);
        masks_free(&w->masks);
        image_free(&w->decoded);
    }
    for (int i = 0; i < 2; i++) {
        slot_close(&l->slot[i], l->room, l->o.device);
        mem_free(l->order[i].list);
    }
    for (int64_t i = 0; i < l->corrupts; i++) mem_free(l->corrupt[i].reason);
    mem_free(l->corrupt);
    mem_free(l->bad);
    mem_free(l->pick);
    mem_free(l->worker);
    cache_close(l->cache);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->settled);
    pthread_mutex_destroy(&l->lock);
    mem_free(l);
}

/* --------------------------------------------------------------------------------------------- open --- */

static int standard_workers(const LoaderOptions *o) {
    cpu_set_t set;
    int n = o->processors;
    if (n == 0) n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n > 1 ? n - 1 : 1;
}

static bool check(Loader *l, Error *e) {
    const LoaderOptions *o = &l->o;
    if (o->image_size < 1) die("loader: images of side %d", o->image_size);
    if (o->rank < 0 || o->rank >= o->ranks) die("loader: rank %d of %d", o->rank, o->ranks);
    if (o->batch < 1 || (o->batch % o->ranks != 0 && !o->uneven))
        return error_set(e, ERROR_VALUE,
                         "train.batch is %lld, which %d ranks cannot share: make it a multiple",
                         (long long)o->batch, o->ranks);
    if (o->train && mix_wanted(&l->set) && o->ranks > 1 && o->batch / o->ranks % 2 != 0)
        return error_set(e, ERROR_VALUE,
                         "train.batch is %lld: with data.mixup or data.cutmix each of %d ranks needs an "
                         "even number of samples",
                         (long long)o->batch, o->ranks);
    if (l->data->count > UINT32_MAX)
        return error_set(e, ERROR_LIMIT, "%s: more than 2^32 images", l->data->key);
    if (o->train && l->set.geometry != GEOMETRY_CROP &&
        (l->set.randaugment > 0.0 || l->set.erase > 0.0 || mix_wanted(&l->set)))
        return error_set(e, ERROR_VALUE,
                         "data.randaugment, data.erase, data.mixup and data.cutmix go with data.geometry "
                         "crop: set them to 0");
    if (o->masks && !loader_masks_open(l, e)) return false;
    if (loader_steps(l) == 0)
        return error_set(
            e, ERROR_VALUE,
            "train.batch is %lld, but %s (%s) has %lld images: lower it, or set data.drop_last to false",
            (long long)o->batch, l->data->key, l->data->source, (long long)l->count);
    if (o->train && mix_wanted(&l->set) && l->data->classes == 0)
        return error_set(e, ERROR_VALUE, "data.mixup and data.cutmix need classes, and %s (%s) has none",
                         l->data->key, l->data->source);
    if (o->classes && l->data->classes == 0)
        return error_set(e, ERROR_VALUE,
                         "%s: %s has no classes, and the model tells classes apart: give it a folder a class",
                         l->data->key, l->data->source);
    if (o->classes && o->classes < l->data->classes)
        return error_set(e, ERROR_VALUE, "model.classes is %d, but %s (%s) has %d classes", o->classes,
                         l->data->key, l->data->source, l->data->classes);
    return true;
}

static bool fill(Loader *l, Error *e) {
    bool soft = l->o.train && l->data->classes && (mix_wanted(&l->set) || l->set.smoothing > 0.0);
    size_t pixels = (size_t)3 * (size_t)l->o.image_size * (size_t)l->o.image_size;
    l->augment = augment_of(&l->set, l->o.image_size, l->o.train);
    /* What is fitted whole comes as floats: its padding is none of the 256 values that bytes stand for. */
    l->augment.raw = l->set.geometry == GEOMETRY_CROP && l->o.device && l->o.train && !mix_wanted(&l->set) &&
                     l->set.erase == 0;
    l->each = l->augment.raw ? pixels : pixels * sizeof(float);
    l->classes = !soft ? 0 : l->o.classes ? l->o.classes : l->data->classes;
    l->room = (int)(l->o.batch / l->o.ranks) + 2;
    l->steps = loader_steps(l);
    l->workers = l->set.workers ? (int)l->set.workers : standard_workers(&l->o);
    l->worker = mem_zero((size_t)l->workers, sizeof *l->worker);
    l->bad = mem_zero((size_t)l->data->count, sizeof *l->bad);
    if (!l->worker || !l->bad) return error_memory(e, (size_t)l->data->count);
    for (int i = 0; i < 2; i++) {
        size_t size = loader_draws(l) ? (size_t)l->count * sizeof(uint32_t) : sizeof(uint32_t);
        l->order[i] = (Order){-1, mem_get(size)};
        if (!l->order[i].list) return error_memory(e, size);
        if (!slot_open(&l->slot[i], l, e)) return false;
    }
    if (!loader_cache(l, e)) return false;
    for (int i = 0; i < l->workers; i++) {
        Worker *w = &l->worker[i];
        w->loader = l;
        int code = pthread_create(&w->thread, NULL, work, w);
        if (code)
            return error_set(e, ERROR_STATE, "cannot start a thread: %s; lower data.workers", strerror(code));
        w->started = true;
    }
    return true;
}

bool loader_open(Source *out, const Dataset *data, const LoaderOptions *o, Error *e) {
    Loader *l = mem_zero(1, sizeof *l);
    if (!l) return error_memory(e, sizeof *l);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->settled, NULL);
    l->data = data;
    l->set = *o->set;
    l->o = *o;
    l->o.set = &l->set;
    l->count = data->count;
    if (!check(l, e) || !fill(l, e)) {
        close_loader(l);
        return false;
    }
    *out = (Source){.self = l,
                    .samples = l->count,
                    .steps_per_epoch = l->steps,
                    .get = get,
                    .describe = describe,
                    .close = close_loader};
    return true;
}

/* ------------------------------------------------------------------------------------------ corrupt --- */

int64_t loader_corrupt_count(const Source *source) {
    Loader *l = source->self;
    pthread_mutex_lock(&l->lock);
    int64_t n = l->corrupts;
    pthread_mutex_unlock(&l->lock);
    return n;
}

bool loader_corrupt_at(const Source *source, int64_t k, LoaderCorrupt *out) {
    Loader *l = source->self;
    pthread_mutex_lock(&l->lock);
    bool there = k >= 0 && k < l->corrupts;
    if (there) {
        const Sample *s = &l->data->sample[l->corrupt[k].sample];
        *out = (LoaderCorrupt){s->path ? s->path : l->data->source, l->corrupt[k].reason, s->id};
    }
    pthread_mutex_unlock(&l->lock);
    return there;
}
