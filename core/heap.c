#include "core/heap.h"

#include "core/device.h"

#include <sys/mman.h>
#include <unistd.h>

enum { HEAP_ALIGN = 64, HEAP_CHUNK = 512, COMMIT = 64 << 20 };

typedef struct Chunk {
    struct Chunk *next;
    Block block[HEAP_CHUNK];
} Chunk;

struct Heap {
    uint8_t *base;
    bool device;
    size_t limit, live, peak, committed; /* committed: bytes of the GPU's memory behind the address space */
    Block *first;                        /* by address */
    Block *free;                         /* free ones, by address */
    Block *spare;                        /* unused records */
    Chunk *chunk;                        /* where records come from; grows in the first steps only */
};

static Block *record_get(Heap *h) {
    if (!h->spare) {
        Chunk *c = mem_get(sizeof *c);
        if (!c) return NULL;
        c->next = h->chunk;
        h->chunk = c;
        for (int i = 0; i < HEAP_CHUNK; i++) {
            c->block[i].after = h->spare;
            h->spare = &c->block[i];
        }
    }
    Block *b = h->spare;
    h->spare = b->after;
    return b;
}

static void record_put(Heap *h, Block *b) {
    b->after = h->spare;
    h->spare = b;
}

static void free_list_remove(Heap *h, Block *b) {
    if (b->smaller)
        b->smaller->larger = b->larger;
    else
        h->free = b->larger;
    if (b->larger) b->larger->smaller = b->smaller;
}

static void free_list_insert(Heap *h, Block *b) {
    Block *p = NULL, *q = h->free;
    while (q && q->offset < b->offset) p = q, q = q->larger;
    b->smaller = p;
    b->larger = q;
    if (p)
        p->larger = b;
    else
        h->free = b;
    if (q) q->smaller = b;
}

void heap_reset(Heap *h) {
    for (Block *b = h->first; b;) {
        Block *next = b->after;
        record_put(h, b);
        b = next;
    }
    Block *all = record_get(h); /* cannot fail: at least one record was just returned, or this is creation */
    if (!all) die("heap: no memory for a block record");
    *all = (Block){.size = h->limit};
    h->first = h->free = all;
    h->live = 0;
}

static uint8_t *reserve(size_t limit, bool device, Error *e) {
    if (device) return device_reserve(limit);
    void *base =
        mmap(NULL, limit, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        error_memory(e, limit);
        return NULL;
    }
    madvise(base, limit, MADV_HUGEPAGE);
    return base;
}

static size_t all_memory(bool device) {
    size_t free;
    if (device) return device_memory(&free);
    return (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
}

Heap *heap_create(size_t limit, bool device, Error *e) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (limit == 0) limit = all_memory(device);
    limit = limit / page * page;
    Heap *h = mem_zero(1, sizeof *h);
    if (!h) {
        error_memory(e, sizeof *h);
        return NULL;
    }
    if (!(h->base = reserve(limit, device, e))) {
        mem_free(h);
        return NULL;
    }
    h->device = device;
    h->limit = limit;
    Block *all = record_get(h);
    if (!all) {
        error_memory(e, sizeof(Chunk));
        heap_free(h);
        return NULL;
    }
    *all = (Block){.size = limit};
    h->first = h->free = all;
    return h;
}

void heap_free(Heap *h) {
    if (!h) return;
    if (h->device)
        device_release(h->base, h->limit, h->committed);
    else
        munmap(h->base, h->limit);
    for (Chunk *c = h->chunk; c;) {
        Chunk *next = c->next;
        mem_free(c);
        c = next;
    }
    mem_free(h);
}

/* The GPU's memory behind the first `size` bytes, in large pieces. */
static bool commit(Heap *h, size_t size) {
    if (!h->device || size <= h->committed) return true;
    size_t mark = (size + COMMIT - 1) / COMMIT * COMMIT;
    if (mark > h->limit) mark = h->limit;
    if (!device_commit(h->base, h->committed, mark)) return false;
    h->committed = mark;
    return true;
}

Block *heap_get(Heap *h, size_t size) {
    if (size > h->limit) return NULL;
    size = size ? (size + HEAP_ALIGN - 1) / HEAP_ALIGN * HEAP_ALIGN : HEAP_ALIGN;
    Block *b = h->free;
    while (b && b->size < size) b = b->larger;
    if (!b || !commit(h, b->offset + size)) return NULL;
    if (b->size > size) {
        Block *rest = record_get(h);
        if (!rest) return NULL;
        *rest = (Block){.offset = b->offset + size, .size = b->size - size, .before = b, .after = b->after};
        if (b->after) b->after->before = rest;
        b->after = rest;
        b->size = size;
        rest->smaller = b->smaller; /* the rest takes b's place in the free list */
        rest->larger = b->larger;
        if (rest->smaller)
            rest->smaller->larger = rest;
        else
            h->free = rest;
        if (rest->larger) rest->larger->smaller = rest;
    } else {
        free_list_remove(h, b);
    }
    b->refs = 1;
    h->live += size;
    if (b->offset + size > h->peak) h->peak = b->offset + size;
    return b;
}

/* Joins b with the block after it; both are free and b is in the free list. */
static void join(Heap *h, Block *b) {
    Block *next = b->after;
    free_list_remove(h, next);
    b->size += next->size;
    b->after = next->after;
    if (b->after) b->after->before = b;
    record_put(h, next);
}

void heap_drop(Heap *h, Block *b) {
    if (--b->refs > 0) return;
    h->live -= b->size;
    free_list_insert(h, b);
    if (b->after && b->after->refs == 0) join(h, b);
    if (b->before && b->before->refs == 0) join(h, b->before);
}

void *heap_data(const Heap *h, const Block *b) {
    return h->base + b->offset;
}

size_t heap_live(const Heap *h) {
    return h->live;
}

size_t heap_peak(const Heap *h) {
    return h->peak;
}

size_t heap_limit(const Heap *h) {
    return h->limit;
}
