#include "unlearn/merkle.h"

#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 1 << 16, LEVELS = 64 };

/* The roots of whole trees of falling size, one for each bit of `count`: what a reader from left to right
 * must remember. */
typedef struct Merkle {
    uint8_t sum[LEVELS][HASH_SIZE];
    int depth;
    uint64_t count; /* leaves */
    Hash line;      /* the line under way */
} Merkle;

static bool line_begin(Merkle *m, Error *e) {
    static const uint8_t leaf = 0;
    return hash_open(&m->line, e) && hash_add(&m->line, &leaf, 1, e);
}

/* The two rightmost roots become one. */
static bool join(Merkle *m, Error *e) {
    static const uint8_t inner = 1;
    uint8_t *left = m->sum[m->depth - 2], *right = m->sum[m->depth - 1];
    Hash h = {NULL};
    bool ok = hash_open(&h, e) && hash_add(&h, &inner, 1, e) && hash_add(&h, left, HASH_SIZE, e) &&
              hash_add(&h, right, HASH_SIZE, e) && hash_finish_raw(&h, left, e);
    hash_drop(&h);
    m->depth--;
    return ok;
}

static bool line_end(Merkle *m, Error *e) {
    if (!hash_finish_raw(&m->line, m->sum[m->depth++], e)) return false;
    m->count++;
    for (uint64_t k = m->count; k % 2 == 0; k /= 2)
        if (!join(m, e)) return false;
    return true;
}

static bool piece_add(Merkle *m, const char *piece, size_t size, Error *e) {
    while (size > 0) {
        const char *newline = memchr(piece, '\n', size);
        size_t n = newline ? (size_t)(newline - piece) : size;
        if (!m->line.state && !line_begin(m, e)) return false;
        if (!hash_add(&m->line, piece, n, e) || (newline && !line_end(m, e))) return false;
        n += newline != NULL;
        piece += n;
        size -= n;
    }
    return true;
}

static bool finish(Merkle *m, char root[HASH_TEXT], Error *e) {
    if (m->line.state && !line_end(m, e)) return false; /* the last line has no newline */
    if (m->count == 0) return hash_bytes("", 0, root, e);
    while (m->depth > 1)
        if (!join(m, e)) return false;
    hash_hex(m->sum[0], HASH_SIZE, root);
    return true;
}

bool merkle_file(const char *path, char root[HASH_TEXT], int64_t *lines, Error *e) {
    char piece[PIECE];
    Merkle m = {.depth = 0};
    bool ok = false;
    ssize_t got;
    if (file_kind(path) != FILE_REGULAR && file_kind(path) != FILE_NONE)
        return error_set(e, ERROR_IO, "%s: not a regular file", path); /* a pipe would be waited for */
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return file_error(e, path, "open", errno);
    while ((got = read(fd, piece, sizeof piece)) != 0) {
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            file_error(e, path, "read", errno);
            goto out;
        }
        if (!piece_add(&m, piece, (size_t)got, e)) goto out;
    }
    ok = finish(&m, root, e);
    if (lines) *lines = (int64_t)m.count;
out:
    hash_drop(&m.line);
    close(fd);
    return ok;
}
