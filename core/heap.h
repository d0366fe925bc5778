/* heap: step memory. First fit by address over one stretch of reserved address space, so that the same
 * requests in the same order get the same places every step, and pages that were touched once stay. */
#ifndef LETHE_HEAP_H
#define LETHE_HEAP_H

#include "core/base.h"

typedef struct Heap Heap;
typedef struct Block Block;
struct Block {
    size_t offset, size;
    int refs;                /* 0: free */
    Block *before, *after;   /* neighbours by address; `after` also links unused records */
    Block *smaller, *larger; /* free list by address */
};

/* Address space only; 0: the machine's memory. `device`: of the GPU, and memory follows as it is used. */
Heap *heap_create(size_t limit, bool device, Error *e);
void heap_free(Heap *h);               /* NULL is fine */
void heap_reset(Heap *h);              /* everything free again */
Block *heap_get(Heap *h, size_t size); /* refs = 1; NULL when the limit is reached */
void heap_drop(Heap *h, Block *b);     /* one reference less; the last frees it */
void *heap_data(const Heap *h, const Block *b);
size_t heap_live(const Heap *h);
size_t heap_peak(const Heap *h); /* highest address ever used */
size_t heap_limit(const Heap *h);

#endif
