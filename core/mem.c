#include "core/base.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_uint_fast64_t calls, live, most;
static atomic_int_fast64_t fail_after = -1;

/* True when a test asked for this very request to fail. */
static bool refused(void) {
    atomic_fetch_add(&calls, 1);
    if (atomic_load(&fail_after) < 0) return false;
    return atomic_fetch_sub(&fail_after, 1) == 0;
}

void *mem_get(size_t size) {
    if (refused() || size > PTRDIFF_MAX - 64) return NULL;
    if (size > atomic_load(&most)) atomic_store(&most, size);
    void *p = aligned_alloc(64, (size + 63) / 64 * 64 + (size == 0) * 64);
    if (p) atomic_fetch_add(&live, 1);
    return p;
}

void *mem_zero(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) return NULL;
    void *p = mem_get(bytes);
    if (p) memset(p, 0, bytes);
    return p;
}

void *mem_resize(void *p, size_t size) {
    void *q = mem_get(size);
    if (!q || !p) return q;
    size_t old = malloc_usable_size(p);
    memcpy(q, p, old < size ? old : size);
    mem_free(p);
    return q;
}

void mem_free(void *p) {
    if (p) atomic_fetch_sub(&live, 1);
    free(p);
}

char *mem_string(const char *text) {
    size_t n = strlen(text) + 1;
    char *copy = mem_get(n);
    return copy ? memcpy(copy, text, n) : NULL;
}

MemStat mem_stat(void) {
    return (MemStat){atomic_load(&calls), atomic_load(&live), atomic_load(&most)};
}

void mem_stat_most(void) {
    atomic_store(&most, 0);
}

void mem_fail_after(int64_t n) {
    atomic_store(&fail_after, n);
}
