/* A parser of its own, not cJSON: a hostile header has up to 100 MB, of which a tree would make gigabytes;
 * offsets need all their 64 bits; and what the format allows is far less than JSON. */
#include "core/safetensors_header.h"

#include "core/json_scan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAFE_MAX_METAS = 1 << 16 };

typedef struct Scan {
    char *text;
    size_t size, at;
    const char *path;
    Error *e;
} Scan;

static const struct {
    const char *name;
    int bits;
} type_row[] = {
    [SAFE_BOOL] = {"BOOL", 8},
    [SAFE_F4] = {"F4", 4},
    [SAFE_F6_E2M3] = {"F6_E2M3", 6},
    [SAFE_F6_E3M2] = {"F6_E3M2", 6},
    [SAFE_U8] = {"U8", 8},
    [SAFE_I8] = {"I8", 8},
    [SAFE_F8_E5M2] = {"F8_E5M2", 8},
    [SAFE_F8_E4M3] = {"F8_E4M3", 8},
    [SAFE_F8_E8M0] = {"F8_E8M0", 8},
    [SAFE_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", 8},
    [SAFE_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", 8},
    [SAFE_I16] = {"I16", 16},
    [SAFE_U16] = {"U16", 16},
    [SAFE_F16] = {"F16", 16},
    [SAFE_BF16] = {"BF16", 16},
    [SAFE_I32] = {"I32", 32},
    [SAFE_U32] = {"U32", 32},
    [SAFE_F32] = {"F32", 32},
    [SAFE_C64] = {"C64", 64},
    [SAFE_F64] = {"F64", 64},
    [SAFE_I64] = {"I64", 64},
    [SAFE_U64] = {"U64", 64},
};
_Static_assert(COUNT(type_row) == SAFE_TYPES, "one row a type");

const char *safe_type_name(SafeType t) {
    return type_row[t].name;
}

int safe_type_bits(SafeType t) {
    return type_row[t].bits;
}

bool safe_bytes(const int64_t *dim, int ndim, SafeType type, uint64_t *bytes) {
    uint64_t n = 1;
    for (int i = 0; i < ndim; i++)
        if (__builtin_mul_overflow(n, (uint64_t)dim[i], &n)) return false;
    if (__builtin_mul_overflow(n, (uint64_t)safe_type_bits(type), &n) || n % 8 != 0) return false;
    *bytes = n / 8;
    return true;
}

/* ---------------------------------------------------------------------------------------------- text --- */

/* The byte is counted from the start of the file, so that a hex dump finds it. */
static void PRINTF_LIKE(3, 4) complain(const Scan *s, size_t at, const char *format, ...) {
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    error_set(s->e, ERROR_FORMAT, "%s: byte %zu of the header: %s", s->path, 8 + at, text);
}

/* Always false: a macro, so that this is seen where it is used. */
#define fail(...) (complain(__VA_ARGS__), false)

static void skip(Scan *s) {
    while (s->at < s->size && strchr(" \t\n\r", s->text[s->at]) && s->text[s->at]) s->at++;
}

/* Is the next character c? Then it is taken. */
static bool take(Scan *s, char c) {
    skip(s);
    if (s->at >= s->size || s->text[s->at] != c) return false;
    s->at++;
    return true;
}

static bool expect(Scan *s, char c, const char *after) {
    if (take(s, c)) return true;
    if (s->at >= s->size) return fail(s, s->at, "the header ends early; '%c' was expected %s", c, after);
    return fail(s, s->at, "'%c' was expected %s", c, after);
}

/* Four hex digits after \u. */
static bool read_hex(Scan *s, uint32_t *out) {
    *out = 0;
    for (int i = 0; i < 4; i++, s->at++) {
        int c = s->at < s->size ? s->text[s->at] : 0;
        int v = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (v < 0) return fail(s, s->at, "four hex digits were expected after \\u");
        *out = *out << 4 | (uint32_t)v;
    }
    return true;
}

static size_t put_utf8(char *to, uint32_t c) {
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = n - 1; i > 0; i--, c >>= 6) to[i] = (char)(0x80 | (c & 0x3F));
    to[0] = (char)(lead[n] | c);
    return n;
}

/* One escape, the backslash already taken, to `to`: never longer than it was. */
static bool read_escape(Scan *s, char *to, size_t *length) {
    static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
    size_t start = s->at - 1;
    char c = s->at < s->size ? s->text[s->at++] : '\0';
    const char *simple = c ? strchr(from, c) : NULL;
    if (simple) {
        *to = into[simple - from];
        *length = 1;
        return true;
    }
    if (c != 'u') return fail(s, start, "an escape that JSON does not know");
    uint32_t code, low;
    if (!read_hex(s, &code)) return false;
    if (code >= 0xD800 && code <= 0xDBFF) {
        if (s->at + 2 > s->size || s->text[s->at] != '\\' || s->text[s->at + 1] != 'u')
            return fail(s, start, "half a surrogate pair");
        s->at += 2;
        if (!read_hex(s, &low)) return false;
        if (low < 0xDC00 || low > 0xDFFF) return fail(s, start, "half a surrogate pair");
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xDC00 && code <= 0xDFFF) {
        return fail(s, start, "half a surrogate pair");
    }
    if (code == 0) return fail(s, start, "a NUL inside a text");
    *length = put_utf8(to, code);
    return true;
}

/* A text, unescaped where it stands and ended with a NUL there. */
static bool read_text(Scan *s, const char **out, const char *what) {
    if (!take(s, '"')) return fail(s, s->at, "%s was expected, a text in quotes", what);
    size_t start = s->at, to = start, length = 0;
    for (;;) {
        if (s->at >= s->size) return fail(s, start, "a text that does not end");
        unsigned char c = (unsigned char)s->text[s->at];
        if (c == '"') break;
        if (c < 0x20) return fail(s, s->at, "a control character inside a text");
        if (c == '\\') {
            s->at++;
            if (!read_escape(s, s->text + to, &length)) return false;
        } else {
            int n = json_utf8(s->text + s->at, s->size - s->at);
            if (n <= 0) return fail(s, s->at, "byte 0x%02X is not UTF-8", c);
            length = (size_t)n;
            memmove(s->text + to, s->text + s->at, length);
            s->at += length;
        }
        to += length;
    }
    s->at++;
    s->text[to] = '\0';
    *out = s->text + start;
    return true;
}

static bool read_number(Scan *s, uint64_t *out, const char *what) {
    skip(s);
    size_t start = s->at;
    uint64_t n = 0;
    for (; s->at < s->size && s->text[s->at] >= '0' && s->text[s->at] <= '9'; s->at++)
        if (__builtin_mul_overflow(n, 10u, &n) ||
            __builtin_add_overflow(n, (uint64_t)(s->text[s->at] - '0'), &n))
            return fail(s, start, "%s is beyond 64 bits", what);
    if (s->at == start) return fail(s, start, "%s was expected, a whole number from 0", what);
    if (s->at - start > 1 && s->text[start] == '0') return fail(s, start, "a number that begins with 0");
    if (s->at < s->size && s->text[s->at] && strchr(".eE", s->text[s->at]))
        return fail(s, start, "%s must be a whole number", what);
    *out = n;
    return true;
}

/* ------------------------------------------------------------------------------------------- entries --- */

/* Room for one element more in an array of `count`, which grows by doubling. */
static bool grow(const Scan *s, void **array, int64_t count, size_t size) {
    if (count != 0 && (count < 64 || (count & (count - 1)) != 0)) return true;
    size_t bytes = (size_t)(count == 0 ? 64 : count * 2) * size;
    void *bigger = mem_resize(*array, bytes);
    if (!bigger) return error_memory(s->e, bytes);
    *array = bigger;
    return true;
}

static bool read_type(Scan *s, SafeEntry *x) {
    const char *word;
    char shown[SAFE_NAME_TEXT];
    skip(s);
    size_t at = s->at;
    if (!read_text(s, &word, "a dtype")) return false;
    for (int t = 0; t < SAFE_TYPES; t++)
        if (strcmp(word, type_row[t].name) == 0) {
            x->type = (SafeType)t;
            return true;
        }
    return fail(s, at, "dtype %s is none of the format's", safe_name_text(word, shown));
}

static bool read_shape(Scan *s, SafeEntry *x) {
    if (!expect(s, '[', "before the shape")) return false;
    if (take(s, ']')) return true;
    do {
        uint64_t n;
        size_t at = s->at;
        if (!read_number(s, &n, "a length in the shape")) return false;
        if (n > INT64_MAX) return fail(s, at, "a length in the shape is beyond 63 bits");
        if (x->ndim == SAFE_MAX_DIM) return fail(s, at, "a shape of more than %d lengths", SAFE_MAX_DIM);
        x->dim[x->ndim++] = (int64_t)n;
    } while (take(s, ','));
    return expect(s, ']', "after the shape");
}

/* begin and end; x->size holds the end until the ranges are checked. */
static bool read_range(Scan *s, SafeEntry *x) {
    return expect(s, '[', "before data_offsets") && read_number(s, &x->begin, "a data offset") &&
           expect(s, ',', "between two data offsets") && read_number(s, &x->size, "a data offset") &&
           expect(s, ']', "after two data offsets");
}

static bool read_entry(Scan *s, SafeEntry *x) {
    static const struct {
        const char *key;
        bool (*read)(Scan *, SafeEntry *);
    } field[] = {{"dtype", read_type}, {"shape", read_shape}, {"data_offsets", read_range}};
    char shown[SAFE_NAME_TEXT];
    unsigned seen = 0;
    size_t start = s->at;
    if (!expect(s, '{', "before what is said of a tensor")) return false;
    do {
        const char *key;
        skip(s);
        size_t at = s->at;
        if (!read_text(s, &key, "dtype, shape or data_offsets")) return false;
        int i = 0;
        while (i < COUNT(field) && strcmp(key, field[i].key) != 0) i++;
        if (i == COUNT(field)) return fail(s, at, "a tensor has no %s", safe_name_text(key, shown));
        if (seen & 1u << i) return fail(s, at, "%s stands twice", field[i].key);
        seen |= 1u << i;
        if (!expect(s, ':', "after a key") || !field[i].read(s, x)) return false;
    } while (take(s, ','));
    if (!expect(s, '}', "after what is said of a tensor")) return false;
    for (int i = 0; i < COUNT(field); i++)
        if (!(seen & 1u << i))
            return fail(s, start, "tensor %s has no %s", safe_name_text(x->name, shown), field[i].key);
    return true;
}

static bool read_metadata(Scan *s, SafeHeader *h) {
    if (!expect(s, '{', "before the metadata")) return false;
    if (take(s, '}')) return true;
    do {
        SafeMeta m;
        if (h->metas == SAFE_MAX_METAS)
            return fail(s, s->at, "more than %d lines of metadata", SAFE_MAX_METAS);
        if (!grow(s, (void **)&h->meta, h->metas, sizeof *h->meta)) return false;
        if (!read_text(s, &m.key, "a key of the metadata") || !expect(s, ':', "after a key") ||
            !read_text(s, &m.value, "a value of the metadata"))
            return false;
        h->meta[h->metas++] = m;
    } while (take(s, ','));
    return expect(s, '}', "after the metadata");
}

static bool read_member(Scan *s, SafeHeader *h) {
    SafeEntry x = {0};
    skip(s);
    size_t at = s->at;
    if (!read_text(s, &x.name, "a tensor's name") || !expect(s, ':', "after a name")) return false;
    if (strcmp(x.name, "__metadata__") == 0) {
        if (h->has_meta) return fail(s, at, "__metadata__ stands twice");
        h->has_meta = true;
        return read_metadata(s, h);
    }
    if (h->entries == SAFE_MAX_TENSORS) return fail(s, at, "more than %d tensors", SAFE_MAX_TENSORS);
    if (!grow(s, (void **)&h->entry, h->entries, sizeof *h->entry) || !read_entry(s, &x)) return false;
    h->entry[h->entries++] = x;
    return true;
}

/* -------------------------------------------------------------------------------------------- checks --- */

static int compare_range(const void *a, const void *b) {
    const SafeEntry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->size < y->size ? -1 : x->size > y->size;
}

static int compare_name(const void *a, const void *b) {
    return strcmp((*(SafeEntry *const *)a)->name, (*(SafeEntry *const *)b)->name);
}

static int compare_key(const void *a, const void *b) {
    return strcmp(((const SafeMeta *)a)->key, ((const SafeMeta *)b)->key);
}

static bool PRINTF_LIKE(3, 4) refuse(const Scan *s, const char *name, const char *format, ...) {
    char text[400], shown[SAFE_NAME_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_set(s->e, ERROR_FORMAT, "%s: tensor %s %s", s->path, safe_name_text(name, shown), text);
}

/* The tensors must cover the data exactly once, each with the bytes that its shape needs. Makes `begin` count
 * from the start of the file, and `size` a size. */
static bool check_ranges(const Scan *s, SafeHeader *h, uint64_t data) {
    uint64_t covered = 0, bytes;
    if (h->entries) qsort(h->entry, (size_t)h->entries, sizeof *h->entry, compare_range);
    for (int64_t i = 0; i < h->entries; i++) {
        SafeEntry *x = &h->entry[i];
        uint64_t end = x->size;
        if (end < x->begin)
            return refuse(s, x->name, "ends at byte %" PRIu64 " of the data, before it begins at %" PRIu64,
                          end, x->begin);
        if (x->begin != covered)
            return refuse(s, x->name, "begins at byte %" PRIu64 " of the data where %" PRIu64 " was due: %s",
                          x->begin, covered, x->begin > covered ? "a hole" : "an overlap");
        if (end > data)
            return refuse(s, x->name,
                          "ends at byte %" PRIu64 " of the data, of which the file holds %" PRIu64, end,
                          data);
        char shape[224];
        x->size = end - x->begin;
        if (!safe_bytes(x->dim, x->ndim, x->type, &bytes))
            return refuse(s, x->name, "is %s: its size overflows, or is no whole number of bytes",
                          safe_entry_text(x, shape));
        if (bytes != x->size)
            return refuse(s, x->name, "is %s, which takes %" PRIu64 " bytes, but has %" PRIu64,
                          safe_entry_text(x, shape), bytes, x->size);
        x->begin += 8 + s->size;
        covered = end;
    }
    if (covered == data) return true;
    return error_set(s->e, ERROR_FORMAT, "%s: %" PRIu64 " bytes after the last tensor belong to none",
                     s->path, data - covered);
}

/* Duplicates are found by sorting: a header may hold a million names. */
static bool check_names(const Scan *s, SafeHeader *h) {
    size_t bytes = (size_t)h->entries * sizeof *h->by_name;
    h->by_name = mem_get(bytes);
    if (!h->by_name) return error_memory(s->e, bytes);
    for (int64_t i = 0; i < h->entries; i++) h->by_name[i] = &h->entry[i];
    qsort(h->by_name, (size_t)h->entries, sizeof *h->by_name, compare_name);
    for (int64_t i = 1; i < h->entries; i++)
        if (strcmp(h->by_name[i - 1]->name, h->by_name[i]->name) == 0)
            return refuse(s, h->by_name[i]->name, "stands in the header twice");
    if (h->metas) qsort(h->meta, (size_t)h->metas, sizeof *h->meta, compare_key);
    for (int i = 1; i < h->metas; i++) {
        char shown[SAFE_NAME_TEXT];
        if (strcmp(h->meta[i - 1].key, h->meta[i].key) == 0)
            return error_set(s->e, ERROR_FORMAT, "%s: the metadata has %s twice", s->path,
                             safe_name_text(h->meta[i].key, shown));
    }
    return true;
}

bool safe_header_parse(SafeHeader *h, const char *path, char *text, size_t size, uint64_t data, Error *e) {
    Scan s = {.text = text, .size = size, .path = path, .e = e};
    *h = (SafeHeader){0};
    if (size == 0 || text[0] != '{') return fail(&s, 0, "'{' was expected");
    s.at = 1;
    if (!take(&s, '}')) {
        do {
            if (!read_member(&s, h)) return false;
        } while (take(&s, ','));
        if (!expect(&s, '}', "after the last tensor")) return false;
    }
    for (; s.at < size; s.at++)
        if (text[s.at] != ' ') return fail(&s, s.at, "only spaces may follow the closing '}'");
    return check_ranges(&s, h, data) && check_names(&s, h);
}

void safe_header_close(SafeHeader *h) {
    mem_free(h->entry);
    mem_free(h->meta);
    mem_free(h->by_name);
    *h = (SafeHeader){0};
}
