/* Step memory for AddressSanitizer, by the linker's --wrap: each block has a stretch behind it that may not
 * be touched, nor may what is free, so that a kernel that leaves its tensor is found. */
#ifdef __SANITIZE_ADDRESS__

#include "core/base.h"
extern "C" {
#include "core/heap.h"
Block *__real_heap_get(Heap *h, size_t size);
void __real_heap_drop(Heap *h, Block *b);
Block *__wrap_heap_get(Heap *h, size_t size);
void __wrap_heap_drop(Heap *h, Block *b);
void __real_heap_free(Heap *h);
void __wrap_heap_free(Heap *h);
}

#include <sanitizer/asan_interface.h>

enum { BEHIND = 64 };

extern "C" Block *__wrap_heap_get(Heap *h, size_t size) {
    Block *b = __real_heap_get(h, size + BEHIND);
    if (!b) return b;
    char *p = (char *)heap_data(h, b);
    ASAN_POISON_MEMORY_REGION(p, b->size);
    ASAN_UNPOISON_MEMORY_REGION(p, size);
    return b;
}

extern "C" void __wrap_heap_drop(Heap *h, Block *b) {
    if (b->refs == 1) ASAN_POISON_MEMORY_REGION(heap_data(h, b), b->size);
    __real_heap_drop(h, b);
}

/* The addresses will be others' memory: of fibers, say. */
extern "C" void __wrap_heap_free(Heap *h) {
    Block first = {};
    if (h) ASAN_UNPOISON_MEMORY_REGION(heap_data(h, &first), heap_peak(h));
    __real_heap_free(h);
}

#endif
