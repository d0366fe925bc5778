#include "core/safetensors.h"

#include "core/file.h"
#include "core/safetensors_header.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the data of a safetensors file is little endian");

enum { PIECE = 1 << 14 }; /* bytes converted at a time, on the stack: reading takes no memory */

struct SafeFile {
    int fd;               /* -1: from memory */
    const uint8_t *bytes; /* from memory */
    uint64_t size;        /* of the file */
    char *path, *text;    /* the header's text; entries point into it */
    SafeHeader header;
};

/* `size` bytes from byte `at`. */
static bool get(const SafeFile *f, uint64_t at, void *out, size_t size, Error *e) {
    uint8_t *to = out;
    if (f->bytes && size) memcpy(to, f->bytes + at, size);
    if (f->bytes) return true;
    while (size > 0) {
        ssize_t n = pread(f->fd, to, size, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return file_error(e, f->path, "read", errno);
        if (n == 0)
            return error_set(e, ERROR_FORMAT,
                             "%s: ends at byte %" PRIu64 ": it became shorter while it was read", f->path,
                             at);
        to += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return true;
}

static bool read_header(SafeFile *f, Error *e) {
    uint8_t head[8];
    uint64_t n = 0;
    if (f->size < sizeof head)
        return error_set(e, ERROR_FORMAT, "%s: %" PRIu64 " bytes are too few for a safetensors file", f->path,
                         f->size);
    if (!get(f, 0, head, sizeof head, e)) return false;
    memcpy(&n, head, sizeof n);
    if (n > SAFE_MAX_HEADER)
        return error_set(e, ERROR_FORMAT,
                         "%s: byte 0: the header claims %" PRIu64
                         " bytes, above the format's limit of %d; is it "
                         "a safetensors file?",
                         f->path, n, SAFE_MAX_HEADER);
    if (n > f->size - sizeof head)
        return error_set(e, ERROR_FORMAT,
                         "%s: byte 0: the header claims %" PRIu64 " bytes, but the file has %" PRIu64
                         ": it was cut short",
                         f->path, n, f->size);
    f->text = mem_get((size_t)n);
    if (!f->text) return error_memory(e, (size_t)n);
    return get(f, sizeof head, f->text, (size_t)n, e) &&
           safe_header_parse(&f->header, f->path, f->text, (size_t)n, f->size - sizeof head - n, e);
}

static SafeFile *create(const char *name, Error *e) {
    SafeFile *f = mem_zero(1, sizeof *f);
    if (!f) {
        error_memory(e, sizeof *f);
        return NULL;
    }
    f->fd = -1;
    f->path = mem_string(name);
    if (f->path) return f;
    error_memory(e, strlen(name) + 1);
    mem_free(f);
    return NULL;
}

bool safe_open(SafeFile **out, const char *path, Error *e) {
    struct stat info;
    *out = NULL;
    SafeFile *f = create(path, e);
    if (!f) return false;
    f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not make us wait */
    if (f->fd < 0 || fstat(f->fd, &info) != 0) {
        file_error(e, path, "open", errno);
        goto fail;
    }
    if (!S_ISREG(info.st_mode)) {
        error_set(e, ERROR_IO, "%s: is not a regular file", path);
        goto fail;
    }
    f->size = (uint64_t)info.st_size;
    if (!read_header(f, e)) goto fail;
    *out = f;
    return true;
fail:
    safe_close(f);
    return false;
}

bool safe_open_bytes(SafeFile **out, const char *name, const void *bytes, size_t size, Error *e) {
    *out = NULL;
    SafeFile *f = create(name, e);
    if (!f) return false;
    f->bytes = size ? bytes : (const uint8_t *)"";
    f->size = size;
    if (!read_header(f, e)) {
        safe_close(f);
        return false;
    }
    *out = f;
    return true;
}

void safe_close(SafeFile *f) {
    if (!f) return;
    if (f->fd >= 0) close(f->fd);
    safe_header_close(&f->header);
    mem_free(f->text);
    mem_free(f->path);
    mem_free(f);
}

const char *safe_path(const SafeFile *f) {
    return f->path;
}

int64_t safe_count(const SafeFile *f) {
    return f->header.entries;
}

const SafeEntry *safe_at(const SafeFile *f, int64_t i) {
    return &f->header.entry[i];
}

static int compare_to_name(const void *name, const void *entry) {
    return strcmp(name, (*(SafeEntry *const *)entry)->name);
}

const SafeEntry *safe_find(const SafeFile *f, const char *name) {
    const SafeHeader *h = &f->header;
    SafeEntry **x = bsearch(name, h->by_name, (size_t)h->entries, sizeof *h->by_name, compare_to_name);
    return x ? *x : NULL;
}

int64_t safe_entry_count(const SafeEntry *x) {
    uint64_t n = 1; /* may wrap on the way to a zero */
    for (int i = 0; i < x->ndim; i++) n *= (uint64_t)x->dim[i];
    return (int64_t)n;
}

int safe_meta_count(const SafeFile *f) {
    return f->header.metas;
}

const SafeMeta *safe_meta_at(const SafeFile *f, int i) {
    return &f->header.meta[i];
}

const char *safe_meta(const SafeFile *f, const char *key) {
    for (int i = 0; i < f->header.metas; i++)
        if (strcmp(f->header.meta[i].key, key) == 0) return f->header.meta[i].value;
    return NULL;
}

/* ---------------------------------------------------------------------------------------- conversion --- */

/* IEEE 754 binary16. Subnormals are m * 2^-24. */
static float f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 31u, m = h & 0x3FFu;
    union {
        uint32_t u;
        float f;
    } v;
    if (exponent == 0) {
        v.f = (float)m * 0x1p-24f;
        v.u |= sign;
    } else {
        v.u = sign | (exponent == 31 ? 255u : exponent + 112u) << 23 | m << 13;
    }
    return v.f;
}

/* Whole numbers stand only for torch's counters (num_batches_tracked, a scalar of I64). */
static bool is_real(const SafeEntry *x) {
    SafeType t = x->type;
    return t == SAFE_F16 || t == SAFE_BF16 || t == SAFE_F32 || t == SAFE_F64 ||
           (t == SAFE_I64 && x->ndim == 0);
}

/* Element i of a piece in memory. */
static double element(const uint8_t *piece, SafeType t, size_t i) {
    uint16_t h;
    float f;
    double d;
    int64_t n;
    switch (t) {
    case SAFE_F16:
        memcpy(&h, piece + 2 * i, 2);
        return (double)f16_to_f32(h);
    case SAFE_BF16:
        memcpy(&h, piece + 2 * i, 2);
        return (double)bf16_to_f32(h);
    case SAFE_F32:
        memcpy(&f, piece + 4 * i, 4);
        return (double)f;
    case SAFE_I64:
        memcpy(&n, piece + 8 * i, 8);
        return (double)n;
    default:
        memcpy(&d, piece + 8 * i, 8);
        return d;
    }
}

/* Into t, f32 or bf16, of as many elements. */
static bool convert(const SafeFile *f, const SafeEntry *x, const Tensor *t, Error *e) {
    uint8_t piece[PIECE];
    size_t width = (size_t)safe_type_bits(x->type) / 8;
    int64_t to = 0;
    for (uint64_t at = 0; at < x->size; at += PIECE) {
        size_t bytes = x->size - at < PIECE ? (size_t)(x->size - at) : PIECE, n = bytes / width;
        if (!get(f, x->begin + at, piece, bytes, e)) return false;
        for (size_t i = 0; i < n; i++) tensor_put(t, to++, (real)element(piece, x->type, i));
    }
    return true;
}

static SafeType type_of_real(void) {
    return sizeof(real) == 8 ? SAFE_F64 : SAFE_F32;
}

static bool unfit(const SafeFile *f, const SafeEntry *x, Error *e, const char *what) {
    char name[SAFE_NAME_TEXT], text[224];
    return error_set(e, ERROR_VALUE, "%s: tensor %s is %s; %s", f->path, safe_name_text(x->name, name),
                     safe_entry_text(x, text), what);
}

bool safe_read_raw(const SafeFile *f, const SafeEntry *x, void *out, size_t size, Error *e) {
    if (size != x->size) die("safe_read_raw: room for %zu bytes, the entry has %" PRIu64, size, x->size);
    return get(f, x->begin, out, size, e);
}

bool safe_read_real(const SafeFile *f, const SafeEntry *x, real *out, int64_t count, Error *e) {
    if (!is_real(x)) return unfit(f, x, e, "F16, BF16, F32 or F64 was wanted");
    if (count != safe_entry_count(x)) die("safe_read_real: room for %" PRId64 " elements", count);
    if (x->type == type_of_real()) return get(f, x->begin, out, (size_t)x->size, e);
    Tensor t = {.dtype = DT_F32, .ndim = 1, .dim = {count}, .data = out};
    return convert(f, x, &t, e);
}

bool safe_fits(const SafeFile *f, const SafeEntry *x, const Tensor *t, Error *e) {
    char want[96], text[160];
    bool type = t->dtype == DT_I32  ? x->type == SAFE_I32
                : t->dtype == DT_U8 ? x->type == SAFE_U8 || x->type == SAFE_BOOL
                                    : is_real(x);
    bool shape = x->ndim == t->ndim;
    for (int i = 0; shape && i < t->ndim; i++) shape = x->dim[i] == t->dim[i];
    if (type && shape) return true;
    snprintf(text, sizeof text, "%s was wanted", tensor_text(t, want));
    return unfit(f, x, e, text);
}

bool safe_read(const SafeFile *f, const SafeEntry *x, Tensor *t, Error *e) {
    if (!safe_fits(f, x, t, e)) return false;
    if (t->dtype == DT_F32) return safe_read_real(f, x, tensor_real(t), tensor_count(t), e);
    if (t->dtype == DT_BF16 && x->type != SAFE_BF16) return convert(f, x, t, e);
    return safe_read_raw(f, x, t->data, tensor_bytes(t), e);
}

/* -------------------------------------------------------------------------------------------- messages ---
 */

const char *safe_name_text(const char *name, char buffer[SAFE_NAME_TEXT]) {
    size_t n = 1, cut = SAFE_NAME_TEXT - 6;
    buffer[0] = '"';
    for (; *name && n < cut; name++) buffer[n++] = (unsigned char)*name < 0x20 || *name == 0x7F ? '?' : *name;
    if (*name) { /* never half a UTF-8 character */
        while (n > 1 && ((unsigned char)*name & 0xC0) == 0x80) name--, n--;
        memcpy(buffer + n, "...", 3);
        n += 3;
    }
    buffer[n++] = '"';
    buffer[n] = '\0';
    return buffer;
}

const char *safe_entry_text(const SafeEntry *x, char buffer[224]) {
    int n = snprintf(buffer, 224, "%s[", safe_type_name(x->type));
    for (int i = 0; i < x->ndim; i++)
        n += snprintf(buffer + n, 224 - (size_t)n, "%s%" PRId64, i ? ", " : "", x->dim[i]);
    snprintf(buffer + n, 224 - (size_t)n, "]");
    return buffer;
}
