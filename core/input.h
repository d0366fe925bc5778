/* input: the bytes of one file that somebody else made, at any place of it: from the disk, or from memory. */
#ifndef LETHE_INPUT_H
#define LETHE_INPUT_H

#include "core/base.h"

typedef struct Input {
    int fd;               /* -1: from memory */
    const uint8_t *bytes; /* from memory; borrowed */
    uint64_t size;        /* of the file */
    char *path;           /* for messages */
} Input;

/* A regular file; anything else is an error, and never waited for. */
bool input_open(Input *in, const char *path, Error *e);
/* `bytes` are borrowed until input_close; `name` is for messages. */
bool input_open_bytes(Input *in, const char *name, const void *bytes, size_t size, Error *e);
void input_close(Input *in); /* fine after a failed open, and of one that is all zero */

/* `size` bytes from byte `at`, which the caller has checked against in->size. */
bool input_get(const Input *in, uint64_t at, void *out, size_t size, Error *e);

#endif
