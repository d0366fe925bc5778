/* safetensors_header: the JSON header of a safetensors file. For core/safetensors*.c alone. */
#ifndef LETHE_SAFETENSORS_HEADER_H
#define LETHE_SAFETENSORS_HEADER_H

#include "core/safetensors.h"

typedef struct SafeHeader {
    SafeEntry *entry; /* by begin, then end */
    SafeMeta *meta;   /* by key */
    SafeEntry **by_name;
    int64_t entries;
    int metas;
    bool has_meta; /* "__metadata__" was seen */
} SafeHeader;

/* Parses and checks the `size` bytes at `text`, in which strings are unescaped in place: the header's names
 * point there. `data` is the number of bytes that follow the header in the file. `path` is for messages. On
 * failure, too, safe_header_close frees what was taken. */
bool safe_header_parse(SafeHeader *h, const char *path, char *text, size_t size, uint64_t data, Error *e);
void safe_header_close(SafeHeader *h);

/* product(dim) * bits / 8, or false when it overflows or is no whole number of bytes. */
bool safe_bytes(const int64_t *dim, int ndim, SafeType type, uint64_t *bytes);

#endif
