#include "core/input.h"

#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool begin(Input *in, const char *path, Error *e) {
    *in = (Input){.fd = -1, .path = mem_string(path)};
    return in->path ? true : error_memory(e, strlen(path) + 1);
}

bool input_open(Input *in, const char *path, Error *e) {
    struct stat info;
    if (!begin(in, path, e)) return false;
    in->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not make us wait */
    if (in->fd < 0 || fstat(in->fd, &info) != 0) {
        file_error(e, path, "open", errno);
    } else if (!S_ISREG(info.st_mode)) {
        error_set(e, ERROR_IO, "%s: is not a regular file", path);
    } else {
        in->size = (uint64_t)info.st_size;
        return true;
    }
    input_close(in);
    return false;
}

bool input_open_bytes(Input *in, const char *name, const void *bytes, size_t size, Error *e) {
    if (!begin(in, name, e)) return false;
    in->bytes = size ? bytes : (const uint8_t *)"";
    in->size = size;
    return true;
}

void input_close(Input *in) {
    if (in->path && in->fd >= 0) close(in->fd);
    mem_free(in->path);
    *in = (Input){.fd = -1};
}

bool input_get(const Input *in, uint64_t at, void *out, size_t size, Error *e) {
    uint8_t *to = out;
    if (in->bytes && size) memcpy(to, in->bytes + at, size);
    if (in->bytes) return true;
    while (size > 0) {
        ssize_t n = pread(in->fd, to, size, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return file_error(e, in->path, "read", errno);
        if (n == 0)
            return error_set(e, ERROR_FORMAT,
                             "%s: ends at byte %" PRIu64 ": it became shorter while it was read", in->path,
                             at);
        to += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return true;
}
