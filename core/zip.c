#include "core/zip.h"

#include "core/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    END = 22,
    END64 = 56,
    LOCATOR = 20,
    CENTRAL = 46,
    LOCAL = 30,
    PIECE = 1 << 16,
    ENCRYPTED = 1,
    DESCRIPTOR = 8, /* sizes and checksum follow the data; the local header may hold zeros */
};

static uint64_t number(const uint8_t *p, int bytes) {
    uint64_t n = 0;
    for (int i = bytes - 1; i >= 0; i--) n = n << 8 | p[i];
    return n;
}

/* ---------------------------------------------------------------------------------------- end records --- */

/* What the end records say. */
typedef struct End {
    uint64_t entries, directory, size; /* directory: where it begins */
    uint64_t from;                     /* where the end records begin */
} End;

static bool read_end64(const Input *in, End *end, Error *e) {
    uint8_t p[END64];
    uint64_t locator = in->size - END - LOCATOR;
    if (in->size < END + LOCATOR) return true;
    if (!input_get(in, locator, p, LOCATOR, e)) return false;
    if (number(p, 4) != 0x07064b50) return true;
    end->from = number(p + 8, 8);
    if (number(p + 4, 4) != 0 || number(p + 16, 4) > 1)
        return error_set(e, ERROR_FORMAT, "%s: byte %" PRIu64 ": a zip file of several disks", in->path,
                         locator);
    if (locator < END64 || end->from != locator - END64)
        return error_set(e, ERROR_FORMAT,
                         "%s: byte %" PRIu64 ": the zip64 end record is not before its locator", in->path,
                         locator);
    if (!input_get(in, end->from, p, END64, e)) return false;
    if (number(p, 4) != 0x06064b50 || number(p + 4, 8) != END64 - 12)
        return error_set(e, ERROR_FORMAT, "%s: byte %" PRIu64 ": a zip64 end record was expected", in->path,
                         end->from);
    if (number(p + 16, 8) != 0 || number(p + 24, 8) != number(p + 32, 8))
        return error_set(e, ERROR_FORMAT, "%s: byte %" PRIu64 ": a zip file of several disks", in->path,
                         end->from);
    end->entries = number(p + 32, 8);
    end->size = number(p + 40, 8);
    end->directory = number(p + 48, 8);
    return true;
}

static bool read_end(const Input *in, End *end, Error *e) {
    uint8_t p[END];
    *end = (End){.from = in->size - END};
    if (in->size < END)
        return error_set(e, ERROR_FORMAT, "%s: %" PRIu64 " bytes are too few for a zip file", in->path,
                         in->size);
    if (!input_get(in, end->from, p, END, e)) return false;
    if (number(p, 4) != 0x06054b50 || number(p + 20, 2) != 0)
        return error_set(
            e, ERROR_FORMAT,
            "%s: a zip file that does not end with its end record: it was cut short, or something "
            "was appended",
            in->path);
    if (number(p + 4, 4) != 0 || number(p + 8, 2) != number(p + 10, 2))
        return error_set(e, ERROR_FORMAT, "%s: byte %" PRIu64 ": a zip file of several disks", in->path,
                         end->from);
    end->entries = number(p + 10, 2);
    end->size = number(p + 12, 4);
    end->directory = number(p + 16, 4);
    if (!read_end64(in, end, e)) return false;
    if (end->entries > ZIP_MAX_ENTRIES || end->size > ZIP_MAX_DIRECTORY)
        return error_set(e, ERROR_LIMIT,
                         "%s: the zip directory claims %" PRIu64 " entries in %" PRIu64
                         " bytes, above the limits of %d and %d",
                         in->path, end->entries, end->size, ZIP_MAX_ENTRIES, ZIP_MAX_DIRECTORY);
    if (end->directory > end->from || end->size != end->from - end->directory)
        return error_set(e, ERROR_FORMAT,
                         "%s: the zip directory claims bytes %" PRIu64 " and %" PRIu64
                         " more, but the end records begin at %" PRIu64,
                         in->path, end->directory, end->size, end->from);
    return true;
}

/* ------------------------------------------------------------------------------------------ directory --- */

static bool PRINTF_LIKE(4, 5) refuse(const Input *in, const char *name, Error *e, const char *format, ...) {
    char text[300], shown[SAFE_NAME_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_set(e, ERROR_FORMAT, "%s: zip entry %s %s", in->path, safe_name_text(name, shown), text);
}

/* Puts the 64-bit numbers of the extra field where the header has all ones. */
static bool read_extra(const uint8_t *p, size_t size, uint64_t *const value[3]) {
    while (size >= 4) {
        size_t id = (size_t)number(p, 2), n = (size_t)number(p + 2, 2);
        p += 4, size -= 4;
        if (n > size) return false;
        for (int i = 0; id == 1 && i < 3; i++) {
            if (*value[i] != UINT32_MAX) continue;
            if (n < 8) return false;
            *value[i] = number(p, 8);
            p += 8, n -= 8, size -= 8;
        }
        p += n, size -= n;
    }
    return true;
}

/* One header of the directory, of which `left` bytes remain. The name moves to `name`. `*took`: its bytes. */
static bool read_central(const Input *in, const uint8_t *p, size_t left, char *name, ZipEntry *x,
                         size_t *took, Error *e) {
    if (left < CENTRAL || number(p, 4) != 0x02014b50)
        return error_set(e, ERROR_FORMAT, "%s: the zip directory is damaged: a header was expected",
                         in->path);
    size_t names = (size_t)number(p + 28, 2), extra = (size_t)number(p + 30, 2),
           note = (size_t)number(p + 32, 2);
    uint64_t size = number(p + 24, 4), packed = number(p + 20, 4), flags = number(p + 8, 2);
    *took = CENTRAL + names + extra + note;
    if (*took > left)
        return error_set(e, ERROR_FORMAT, "%s: the zip directory is damaged: a header is cut short",
                         in->path);
    uint64_t method = number(p + 10, 2), header = number(p + 42, 4);
    const uint8_t *more = p + CENTRAL + names;
    uint32_t crc = (uint32_t)number(p + 16, 4);
    bool whole = read_extra(more, extra, (uint64_t *const[]){&size, &packed, &header});
    uint64_t disk = number(p + 34, 2);
    memmove(name, p + CENTRAL, names);
    name[names] = '\0';
    *x = (ZipEntry){.name = name, .size = size, .header = header, .crc = crc};
    if (names == 0 || memchr(name, '\0', names)) return refuse(in, name, e, "has no name, or a NUL in it");
    if (!whole) return refuse(in, name, e, "has a damaged extra field");
    if (flags & ENCRYPTED) return refuse(in, name, e, "is encrypted");
    if (method != 0)
        return refuse(
            in, name, e,
            "is compressed; torch.save stores, and only that is read (of a TorchScript program, save "
            "the state_dict())");
    if (packed != size)
        return refuse(in, name, e, "is stored, but as %" PRIu64 " bytes of %" PRIu64, packed, size);
    if (disk != 0) return refuse(in, name, e, "lies on another disk");
    return true;
}

/* The local header must say the same, and the data end before `limit`, where the next thing begins. */
static bool read_local(const Input *in, ZipEntry *x, uint64_t limit, Error *e) {
    uint8_t p[LOCAL + 256];
    size_t names = strlen(x->name);
    if (x->header > limit || limit - x->header < LOCAL + names)
        return refuse(in, x->name, e, "begins at byte %" PRIu64 " and overlaps what follows at %" PRIu64,
                      x->header, limit);
    if (!input_get(in, x->header, p, LOCAL, e)) return false;
    uint64_t flags = number(p + 6, 2), packed = number(p + 18, 4), size = number(p + 22, 4);
    if (number(p, 4) != 0x04034b50 || number(p + 8, 2) != 0 || flags & ENCRYPTED ||
        number(p + 26, 2) != names)
        return refuse(in, x->name, e, "has another local header at byte %" PRIu64, x->header);
    for (size_t at = 0; at < names; at += 256) {
        size_t n = names - at < 256 ? names - at : 256;
        if (!input_get(in, x->header + LOCAL + at, p + LOCAL, n, e)) return false;
        if (memcmp(p + LOCAL, x->name + at, n) != 0)
            return refuse(in, x->name, e, "has another name in its local header at byte %" PRIu64, x->header);
    }
    bool later = flags & DESCRIPTOR && packed == 0 && size == 0,
         wide = packed == UINT32_MAX && size == UINT32_MAX;
    if (!later && !wide && (packed != x->size || size != x->size))
        return refuse(in, x->name, e, "has another size in its local header at byte %" PRIu64, x->header);
    x->begin = x->header + LOCAL + names + number(p + 28, 2);
    if (x->begin > limit || x->size > limit - x->begin)
        return refuse(in, x->name, e,
                      "claims %" PRIu64 " bytes from byte %" PRIu64 " and overlaps what follows at %" PRIu64,
                      x->size, x->begin, limit);
    return true;
}

static int compare_place(const void *a, const void *b) {
    const ZipEntry *x = a, *y = b;
    return x->header < y->header ? -1 : x->header > y->header;
}

static int compare_name(const void *a, const void *b) {
    return strcmp(((const ZipEntry *)a)->name, ((const ZipEntry *)b)->name);
}

/* The names are moved to the front of the text, over headers that were read already. */
static bool read_directory(Zip *z, const Input *in, const End *end, Error *e) {
    size_t at = 0, to = 0, took = 0;
    for (uint64_t i = 0; i < end->entries; i++) {
        ZipEntry *x = &z->entry[z->count];
        if (!read_central(in, (const uint8_t *)z->text + at, (size_t)end->size - at, z->text + to, x, &took,
                          e))
            return false;
        to += strlen(x->name) + 1;
        at += took;
        z->count++;
    }
    if (at != end->size)
        return error_set(e, ERROR_FORMAT, "%s: the zip directory has %zu bytes too many", in->path,
                         (size_t)end->size - at);
    qsort(z->entry, (size_t)z->count, sizeof *z->entry, compare_place);
    for (int64_t i = 0; i < z->count; i++) {
        uint64_t next = i + 1 < z->count ? z->entry[i + 1].header : end->directory;
        if (!read_local(in, &z->entry[i], next < end->directory ? next : end->directory, e)) return false;
    }
    qsort(z->entry, (size_t)z->count, sizeof *z->entry, compare_name);
    for (int64_t i = 1; i < z->count; i++)
        if (strcmp(z->entry[i - 1].name, z->entry[i].name) == 0)
            return refuse(in, z->entry[i].name, e, "stands in the directory twice");
    return true;
}

bool zip_open(Zip *z, const Input *in, Error *e) {
    End end;
    *z = (Zip){0};
    if (!read_end(in, &end, e)) return false;
    if (end.entries == 0) return error_set(e, ERROR_FORMAT, "%s: an empty zip file", in->path);
    if (end.entries > end.size / CENTRAL)
        return error_set(e, ERROR_FORMAT,
                         "%s: the zip directory claims %" PRIu64 " entries, but has only %" PRIu64 " bytes",
                         in->path, end.entries, end.size);
    size_t bytes = (size_t)end.entries * sizeof *z->entry;
    z->entry = mem_get(bytes);
    z->text = mem_get((size_t)end.size);
    if (!z->entry || !z->text) return error_memory(e, bytes + (size_t)end.size);
    return input_get(in, end.directory, z->text, (size_t)end.size, e) && read_directory(z, in, &end, e);
}

void zip_close(Zip *z) {
    mem_free(z->entry);
    mem_free(z->text);
    *z = (Zip){0};
}

const ZipEntry *zip_find(const Zip *z, const char *name) {
    const ZipEntry key = {.name = name};
    return z->count ? bsearch(&key, z->entry, (size_t)z->count, sizeof *z->entry, compare_name) : NULL;
}

bool zip_check(const Input *in, const ZipEntry *x, Error *e) {
    uint8_t piece[PIECE];
    uLong crc = 0;
    if (x->crc == 0) return true;
    for (uint64_t at = 0; at < x->size; at += PIECE) {
        size_t n = x->size - at < PIECE ? (size_t)(x->size - at) : PIECE;
        if (!input_get(in, x->begin + at, piece, n, e)) return false;
        crc = crc32(crc, piece, (uInt)n);
    }
    return crc == x->crc ||
           refuse(in, x->name, e, "is damaged: its checksum is %08lx, and should be %08" PRIx32, crc, x->crc);
}
