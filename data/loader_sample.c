#include "data/loader_inside.h"

#include <stdio.h>
#include <string.h>

enum { FILE_BYTES = 1 << 30, REPLACE = 31 /* rng_sub */, TRIES = 1000, PROBES = 64 };

/* ------------------------------------------------------------------------------------ corrupt images --- */

void loader_warn(const Loader *l, const char *text) {
    if (l->o.log) {
        log_warn(l->o.log, "%s", text);
    } else {
        fprintf(stderr, "warning: %s\n", text);
    }
}

static bool list_corrupt(Loader *l, int64_t i, const char *reason, Error *e) {
    if ((size_t)l->corrupts == l->corrupt_room) {
        size_t room = l->corrupt_room ? 2 * l->corrupt_room : 16;
        Corrupt *grown = mem_resize(l->corrupt, room * sizeof *grown);
        if (!grown) return error_memory(e, room * sizeof *grown);
        l->corrupt = grown;
        l->corrupt_room = room;
    }
    char *copy = mem_string(reason);
    if (!copy) return error_memory(e, strlen(reason) + 1);
    l->corrupt[l->corrupts++] = (Corrupt){i, copy};
    l->bad[i] = true;
    return true;
}

/* Sample i cannot be read. False when the run shall end. Called with the lock held. */
static bool note_corrupt(Loader *l, int64_t i, const Error *why, Error *e) {
    char text[sizeof why->text + 64];
    if (l->bad[i]) return true; /* told already */
    if (l->set.corrupt == CORRUPT_STOP || why->code == ERROR_MEMORY) {
        *e = *why;
        return error_prefix(e, "%s", l->data->key);
    }
    if (!list_corrupt(l, i, why->text, e)) return false;
    snprintf(text, sizeof text, "%s; skipped", why->text);
    loader_warn(l, text);
    if ((double)l->corrupts <= l->set.corrupt_max * (double)l->data->count) return true;
    return error_set(
        e, ERROR_FORMAT,
        "%s: %lld of %lld images cannot be read, more than data.corrupt_max = %g allows; the last: %s",
        l->data->key, (long long)l->corrupts, (long long)l->data->count, l->set.corrupt_max, why->text);
}

/* -------------------------------------------------------------------------------------- one sample --- */

/* Decodes the whole image, or takes it from the cache. *out is borrowed from the worker or the cache. */
static bool read_pixels(Loader *l, Worker *w, int64_t i, Image *out, Error *e) {
    if (l->data->pixel) {
        if (!dataset_pixels(l->data, i, &w->decoded, e)) return false;
        *out = w->decoded;
        return true;
    }
    const char *path = l->data->sample[i].path;
    *out = cache_get(l->cache, i);
    if (out->pixel) return true;
    if (!bytes_read(&w->file, path, FILE_BYTES, e) ||
        !image_decode(&w->decoded, w->file.data, w->file.size, path, &l->augment.limits, e))
        return false;
    cache_put(l->cache, i, &w->decoded);
    *out = w->decoded;
    return true;
}

/* *none: there is no mask where one is wanted. */
static bool load(Loader *l, Worker *w, Slot *s, int place, int64_t i, Rng rng, bool *none, Error *e) {
    Image pixels;
    AugmentSource from = {.name = l->data->sample[i].path};
    if (l->data->pixel || l->cache) {
        if (!read_pixels(l, w, i, &pixels, e)) return false;
        from.decoded = &pixels;
    } else {
        if (!bytes_read(&w->file, from.name, FILE_BYTES, e)) return false;
        from.data = w->file.data;
        from.size = w->file.size;
    }
    if (s->fit) return loader_fitted(l, w, s, place, i, &from, rng, none, e);
    *none = false;
    return augment_run(&l->augment, &w->scratch, &from, rng, s->image + (size_t)place * l->each,
                       s->size + 2 * place, e);
}

/* load; *ok: it is loaded. False when the run shall end. A sample that was corrupt before is tried again: a
 * crop may miss the damage, and what a batch holds must not depend on what was read before. */
static bool try_load(Loader *l, Worker *w, Slot *s, int place, int64_t i, Rng rng, bool *ok, Error *e) {
    Error why;
    bool none = false;
    *ok = load(l, w, s, place, i, rng, &none, &why) && !none;
    if (!*ok) {
        pthread_mutex_lock(&l->lock);
        bool go_on = none || note_corrupt(l, i, &why, e);
        if (none) loader_no_mask(l, i, l->o.train ? "no mask in it can be drawn" : "its masks are empty");
        pthread_mutex_unlock(&l->lock);
        return go_on;
    }
    const Sample *sample = &l->data->sample[i];
    s->id[place] = sample->id;
    s->label[place] = sample->label;
    s->identity[place] = sample->identity;
    return true;
}

bool loader_sample(Loader *l, Worker *w, Slot *s, int place, Error *e) {
    int64_t i = s->sample[place];
    Rng rng = rng_open(l->o.seed, RNG_AUGMENT, s->epoch, (uint64_t)l->data->sample[i].id);
    Rng other = rng_sub(rng, REPLACE);
    bool ok, once = !l->o.train || l->o.plain; /* nothing twice */
    s->left_out[place] = false;
    if (!try_load(l, w, s, place, i, rng, &ok, e)) return false;
    if (!ok && once) s->left_out[place] = true;
    for (int k = 0; !ok && !once; k++) {
        if (k == TRIES)
            return error_set(e, ERROR_FORMAT, "%s: no readable image among %d drawn in place of %s",
                             l->data->key, TRIES, l->data->sample[i].path);
        int64_t instead = loader_place(l, (int64_t)rng_below(&other, (uint64_t)l->count));
        if (!try_load(l, w, s, place, instead, rng, &ok, e)) return false;
    }
    return true;
}

/* ------------------------------------------------------------------------------------------- cache --- */

/* What the pixels of the whole data set need, from the headers of a few images; 0 if none could be read. */
static double guess_bytes(Loader *l) {
    int64_t stride = (l->data->count + PROBES - 1) / PROBES, read = 0;
    double sum = 0.0;
    Bytes *file = &l->worker[0].file;
    for (int64_t i = 0; i < l->data->count; i += stride) {
        Error e;
        ImageInfo info;
        const char *path = l->data->sample[i].path;
        if (!bytes_read(file, path, FILE_BYTES, &e) ||
            !image_probe(&info, file->data, file->size, path, &l->augment.limits, &e))
            continue;
        sum += 3.0 * info.width * info.height + 2 * IMAGE_SLACK;
        read++;
    }
    return read ? sum / (double)read * (double)l->data->count : 0.0;
}

bool loader_cache(Loader *l, Error *e) {
    enum { MIB = 1 << 20 };
    double most = (double)l->set.cache_mb * MIB, guess = most > 0.0 && !l->data->pixel ? guess_bytes(l) : 0.0;
    if (guess == 0.0 || guess > most) return true;
    double room = 1.2 * guess + MIB; /* the guess may be short */
    return cache_open(&l->cache, l->data->count, (size_t)(room < most ? room : most), e);
}
