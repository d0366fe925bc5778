/* cache: decoded images of a small data set, kept in one block of memory. Decoding the same thousand files
 * anew in every epoch would cost more than the rest of the loader's work together.
 *
 * Safe for any number of threads without a lock: a sample's pixels are written once, by whoever is first, and
 * then never change. */
#ifndef LETHE_CACHE_H
#define LETHE_CACHE_H

#include "data/image.h"

typedef struct Cache Cache;

/* Room for `samples` images, `bytes` of pixels in all. */
bool cache_open(Cache **out, int64_t samples, size_t bytes, Error *e);
void cache_close(Cache *c); /* NULL is fine */

/* The image of sample i, borrowed: pixel is NULL if it is not there. */
Image cache_get(const Cache *c, int64_t i);

/* Keeps a copy if there is room left and nobody else is doing so. */
void cache_put(Cache *c, int64_t i, const Image *im);

#endif
