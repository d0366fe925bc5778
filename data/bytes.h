/* bytes: a growing run of bytes that is used again and again: a worker reads one file after another into the
 * same Bytes, and after the largest one no more memory is asked for. */
#ifndef LETHE_BYTES_H
#define LETHE_BYTES_H

#include "core/base.h"

typedef struct Bytes {
    uint8_t *data;
    size_t size, capacity;
} Bytes;

bool bytes_reserve(Bytes *b, size_t capacity, Error *e); /* keeps the contents; grows by doubling at least */
bool bytes_append(Bytes *b, const void *data, size_t size, Error *e);
void bytes_free(Bytes *b);

/* The whole file replaces the contents. An empty file, a folder and a file above `cap` bytes are errors. */
bool bytes_read(Bytes *b, const char *path, size_t cap, Error *e);

/* Writes beside `path` and renames: a reader sees the old file or the whole new one. Not fsynced: a power cut
 * may cost the file, which for a drawn or predicted picture can be made again. */
bool bytes_write(const Bytes *b, const char *path, Error *e);

#endif
