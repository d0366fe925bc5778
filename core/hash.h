/* hash: SHA-256 (FIPS 180-4), computed by OpenSSL. A hash is shown and compared as 64 lower-case hex digits.
 */
#ifndef LETHE_HASH_H
#define LETHE_HASH_H

#include "core/base.h"

enum { HASH_SIZE = 32, HASH_TEXT = 65 }; /* bytes; 64 digits and a NUL */

/* A hash under way. hash_finish ends it; so does hash_drop, for the way out after an error. */
typedef struct Hash {
    struct evp_md_ctx_st *state; /* NULL: none under way */
} Hash;

bool hash_open(Hash *h, Error *e);
bool hash_add(Hash *h, const void *data, size_t size, Error *e);
bool hash_finish(Hash *h, char text[HASH_TEXT], Error *e);
bool hash_finish_raw(Hash *h, uint8_t sum[HASH_SIZE], Error *e);
void hash_drop(Hash *h); /* fine at any time, also twice */

bool hash_bytes(const void *data, size_t size, char text[HASH_TEXT], Error *e);
/* A regular file, read once from start to end in 64 KiB pieces. `size` (bytes) may be NULL. */
bool hash_file(const char *path, char text[HASH_TEXT], uint64_t *size, Error *e);

/* 64 hex digits, lower case, and nothing else. */
bool hash_is_text(const char *text);

/* Bytes as two lower-case digits each, with a NUL after them: text has room for 2 * size + 1. */
void hash_hex(const uint8_t *bytes, size_t size, char *text);

#endif
