/* safetensors_values: from the bytes of a tensor in a file to a tensor in memory. For readers of files, each
 * of which knows how to come by those bytes. */
#ifndef LETHE_SAFETENSORS_VALUES_H
#define LETHE_SAFETENSORS_VALUES_H

#include "core/safetensors.h"

typedef struct SafeBytes {
    const char *path; /* for messages */
    const void *self;
    /* `size` bytes from byte `at` of the tensor in C order, little endian. */
    bool (*get)(const void *self, const SafeEntry *x, uint64_t at, void *out, size_t size, Error *e);
} SafeBytes;

/* As safe_fits, safe_read and safe_read_real. */
bool safe_values_fit(const char *path, const SafeEntry *x, const Tensor *t, Error *e);
bool safe_values_read(const SafeBytes *b, const SafeEntry *x, Tensor *t, Error *e);
bool safe_values_real(const SafeBytes *b, const SafeEntry *x, real *out, int64_t count, Error *e);

#endif
