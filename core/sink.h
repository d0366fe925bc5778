/* sink: a new file, written from start to end and hashed on the way, so that its SHA-256 costs no second
 * read. Small pieces are gathered into writes of 1 MiB. The file is on the disk only after sink_finish. */
#ifndef LETHE_SINK_H
#define LETHE_SINK_H

#include "core/file.h"
#include "core/hash.h"

typedef struct Sink {
    int fd;        /* -1: closed */
    int code;      /* errno of the write or fsync that failed; 0: none did */
    uint64_t size; /* bytes put so far */
    Hash hash;
    uint8_t *buffer;
    size_t used; /* bytes in buffer */
    char path[FILE_PATH];
} Sink;

#define SINK_NONE                                                                                            \
    { .fd = -1 } /* for cleanup before sink_open */

bool sink_open(Sink *s, const char *path, Error *e); /* creates; an error if something is there already */
bool sink_put(Sink *s, const void *data, size_t size, Error *e);
/* Writes the rest, fsyncs, closes. A failed fsync means the content is lost: the caller removes the file. */
bool sink_finish(Sink *s, char sha256[HASH_TEXT], Error *e);
void sink_drop(Sink *s); /* closes what is open and frees; the file stays. Fine at any time, also twice */

#endif
