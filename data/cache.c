#include "data/cache.h"

#include <stdatomic.h>
#include <string.h>

enum { EMPTY, BUSY, READY };

typedef struct Entry {
    size_t at; /* into the block */
    int width, height;
    atomic_int state;
} Entry;

struct Cache {
    Entry *entry;
    uint8_t *block;
    size_t size;
    atomic_size_t used;
};

bool cache_open(Cache **out, int64_t samples, size_t bytes, Error *e) {
    Cache *c = mem_zero(1, sizeof *c);
    *out = NULL;
    if (!c) return error_memory(e, sizeof *c);
    c->entry = mem_zero((size_t)samples, sizeof *c->entry);
    c->block = c->entry ? mem_get(bytes) : NULL;
    c->size = bytes;
    if (!c->block) {
        cache_close(c);
        return error_memory(e, bytes);
    }
    *out = c;
    return true;
}

void cache_close(Cache *c) {
    if (!c) return;
    mem_free(c->entry);
    mem_free(c->block);
    mem_free(c);
}

Image cache_get(const Cache *c, int64_t i) {
    const Entry *x = &c->entry[i];
    if (atomic_load_explicit(&x->state, memory_order_acquire) != READY) return (Image){0};
    return (Image){.width = x->width, .height = x->height, .channels = 3, .pixel = c->block + x->at};
}

void cache_put(Cache *c, int64_t i, const Image *im) {
    Entry *x = &c->entry[i];
    int expected = EMPTY;
    size_t pixels = (size_t)im->width * (size_t)im->height * 3, size = (pixels + IMAGE_SLACK + 63) / 64 * 64;
    if (atomic_load_explicit(&c->used, memory_order_relaxed) + size > c->size) return;
    if (!atomic_compare_exchange_strong(&x->state, &expected, BUSY)) return;
    size_t at = atomic_fetch_add(&c->used, size);
    if (at + size > c->size) return; /* others were faster; this one stays BUSY, which reads as absent */
    memcpy(c->block + at, im->pixel, pixels);
    x->at = at;
    x->width = im->width;
    x->height = im->height;
    atomic_store_explicit(&x->state, READY, memory_order_release);
}
