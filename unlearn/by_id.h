/* by_id: the order of rows that begin with a sample's id, int64_t: for qsort and bsearch. */
#ifndef LETHE_UNLEARN_BY_ID_H
#define LETHE_UNLEARN_BY_ID_H

#include <stdint.h>

static inline int by_id(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

#endif
