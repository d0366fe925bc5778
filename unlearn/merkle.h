/* merkle: one hash of a list of lines, from which any single line can be proved to be in the list with a few
 * hashes (RFC 6962, section 2.1): a leaf is SHA-256(0x00 || line), a node above is
 * SHA-256(0x01 || left || right), and a node without a neighbour goes up as it is. */
#ifndef LETHE_MERKLE_H
#define LETHE_MERKLE_H

#include "core/hash.h"

/* Of the lines of a file, without their newlines; of an empty file, SHA-256 of nothing. `lines` may be NULL.
 */
bool merkle_file(const char *path, char root[HASH_TEXT], int64_t *lines, Error *e);

#endif
