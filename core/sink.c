#include "core/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SINK_BUFFER = 1 << 20 };

bool sink_open(Sink *s, const char *path, Error *e) {
    *s = (Sink)SINK_NONE;
    int n = snprintf(s->path, sizeof s->path, "%s", path);
    if (n < 0 || (size_t)n >= sizeof s->path)
        return error_set(e, ERROR_LIMIT, "%.200s...: path too long", path);
    s->buffer = mem_get(SINK_BUFFER);
    if (!s->buffer) return error_memory(e, SINK_BUFFER);
    if (!hash_open(&s->hash, e)) goto fail;
    s->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (s->fd >= 0) return true;
    s->code = errno;
    file_error(e, path, "create", s->code);
fail:
    sink_drop(s);
    return false;
}

/* Hashes a piece while it is warm in the cache, and writes it. */
static bool sink_write(Sink *s, const void *data, size_t size, Error *e) {
    if (!hash_add(&s->hash, data, size, e)) return false;
    if (file_put(s->fd, data, size)) return true;
    s->code = errno;
    return file_error(e, s->path, "write", s->code);
}

static bool sink_flush(Sink *s, Error *e) {
    size_t n = s->used;
    s->used = 0;
    return n == 0 || sink_write(s, s->buffer, n, e);
}

bool sink_put(Sink *s, const void *data, size_t size, Error *e) {
    const uint8_t *from = data;
    s->size += size;
    while (size > 0) {
        if (s->used == 0 && size >= SINK_BUFFER) {
            if (!sink_write(s, from, SINK_BUFFER, e)) return false;
            from += SINK_BUFFER;
            size -= SINK_BUFFER;
            continue;
        }
        size_t room = SINK_BUFFER - s->used, n = size < room ? size : room;
        memcpy(s->buffer + s->used, from, n);
        s->used += n;
        from += n;
        size -= n;
        if (s->used == SINK_BUFFER && !sink_flush(s, e)) return false;
    }
    return true;
}

bool sink_finish(Sink *s, char sha256[HASH_TEXT], Error *e) {
    bool ok = sink_flush(s, e) && hash_finish(&s->hash, sha256, e);
    if (ok && fsync(s->fd) != 0) {
        s->code = errno;
        ok = file_error(e, s->path, "fsync", s->code);
    }
    if (ok) {
        int fd = s->fd;
        s->fd = -1;
        if (close(fd) != 0) { /* some network file systems report a failed write only here */
            s->code = errno;
            ok = file_error(e, s->path, "close", s->code);
        }
    }
    sink_drop(s);
    return ok;
}

void sink_drop(Sink *s) {
    if (s->fd >= 0) close(s->fd);
    s->fd = -1;
    hash_drop(&s->hash);
    mem_free(s->buffer);
    s->buffer = NULL;
}
