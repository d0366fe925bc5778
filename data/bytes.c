#include "data/bytes.h"

#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool bytes_reserve(Bytes *b, size_t capacity, Error *e) {
    if (capacity <= b->capacity) return true;
    if (capacity < 2 * b->capacity) capacity = 2 * b->capacity;
    uint8_t *grown = mem_resize(b->data, capacity);
    if (!grown) return error_memory(e, capacity);
    b->data = grown;
    b->capacity = capacity;
    return true;
}

bool bytes_append(Bytes *b, const void *data, size_t size, Error *e) {
    if (!bytes_reserve(b, b->size + size, e)) return false;
    if (size) memcpy(b->data + b->size, data, size); /* data may be NULL where there is none */
    b->size += size;
    return true;
}

void bytes_free(Bytes *b) {
    mem_free(b->data);
    *b = (Bytes){0};
}

bool bytes_read(Bytes *b, const char *path, size_t cap, Error *e) {
    bool ok = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return file_error(e, path, "open", errno);
    struct stat s;
    if (fstat(fd, &s) != 0) {
        file_error(e, path, "read", errno);
        goto out;
    }
    if (!S_ISREG(s.st_mode)) {
        error_set(e, ERROR_IO, "%s: not a regular file", path);
        goto out;
    }
    if (s.st_size == 0) {
        error_set(e, ERROR_FORMAT, "%s: the file is empty", path);
        goto out;
    }
    if ((uint64_t)s.st_size > cap) {
        error_set(e, ERROR_LIMIT, "%s: %lld bytes are over the limit of %zu", path, (long long)s.st_size,
                  cap);
        goto out;
    }
    b->size = 0;
    if (!bytes_reserve(b, (size_t)s.st_size, e)) goto out;
    while (b->size < (size_t)s.st_size) {
        ssize_t n = read(fd, b->data + b->size, (size_t)s.st_size - b->size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            file_error(e, path, "read", errno);
            goto out;
        }
        if (n == 0) break; /* someone shortened it meanwhile: the decoder will say that it is cut short */
        b->size += (size_t)n;
    }
    ok = true;
out:
    close(fd);
    return ok;
}

bool bytes_write(const Bytes *b, const char *path, Error *e) {
    char beside[FILE_PATH];
    int n = snprintf(beside, sizeof beside, "%s.%ld.tmp", path, (long)getpid());
    if (n < 0 || (size_t)n >= sizeof beside)
        return error_set(e, ERROR_VALUE, "%s: the path is too long", path);
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return file_error(e, path, "write", errno);
    bool written = file_put(fd, b->data, b->size);
    int reason = errno;
    if (close(fd) != 0 && written) {
        written = false;
        reason = errno;
    }
    if (written && rename(beside, path) == 0) return true;
    if (written) reason = errno;
    unlink(beside);
    return file_error(e, path, "write", reason);
}
