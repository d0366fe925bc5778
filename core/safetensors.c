#include "core/safetensors.h"

#include "core/safetensors_header.h"
#include "core/safetensors_values.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct SafeFile {
    Input in;
    char *text; /* the header's; entries point into it */
    SafeHeader header;
};

static bool read_header(SafeFile *f, Error *e) {
    uint8_t head[8];
    uint64_t n = 0;
    if (f->in.size < sizeof head)
        return error_set(e, ERROR_FORMAT, "%s: %" PRIu64 " bytes are too few for a safetensors file",
                         f->in.path, f->in.size);
    if (!input_get(&f->in, 0, head, sizeof head, e)) return false;
    memcpy(&n, head, sizeof n);
    if (n > SAFE_MAX_HEADER)
        return error_set(e, ERROR_FORMAT,
                         "%s: byte 0: the header claims %" PRIu64
                         " bytes, above the format's limit of %d; is it "
                         "a safetensors file?",
                         f->in.path, n, SAFE_MAX_HEADER);
    if (n > f->in.size - sizeof head)
        return error_set(e, ERROR_FORMAT,
                         "%s: byte 0: the header claims %" PRIu64 " bytes, but the file has %" PRIu64
                         ": it was cut short",
                         f->in.path, n, f->in.size);
    f->text = mem_get((size_t)n);
    if (!f->text) return error_memory(e, (size_t)n);
    return input_get(&f->in, sizeof head, f->text, (size_t)n, e) &&
           safe_header_parse(&f->header, f->in.path, f->text, (size_t)n, f->in.size - sizeof head - n, e);
}

bool safe_open_input(SafeFile **out, Input in, Error *e) {
    *out = NULL;
    SafeFile *f = mem_zero(1, sizeof *f);
    if (!f) {
        input_close(&in);
        return error_memory(e, sizeof *f);
    }
    f->in = in;
    if (!read_header(f, e)) {
        safe_close(f);
        return false;
    }
    *out = f;
    return true;
}

bool safe_open(SafeFile **out, const char *path, Error *e) {
    Input in;
    *out = NULL;
    return input_open(&in, path, e) && safe_open_input(out, in, e);
}

bool safe_open_bytes(SafeFile **out, const char *name, const void *bytes, size_t size, Error *e) {
    Input in;
    *out = NULL;
    return input_open_bytes(&in, name, bytes, size, e) && safe_open_input(out, in, e);
}

void safe_close(SafeFile *f) {
    if (!f) return;
    safe_header_close(&f->header);
    mem_free(f->text);
    input_close(&f->in);
    mem_free(f);
}

const char *safe_path(const SafeFile *f) {
    return f->in.path;
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

/* ------------------------------------------------------------------------------------------- values --- */

static bool get_data(const void *self, const SafeEntry *x, uint64_t at, void *out, size_t size, Error *e) {
    const SafeFile *f = self;
    return input_get(&f->in, x->begin + at, out, size, e);
}

static SafeBytes bytes_of(const SafeFile *f) {
    return (SafeBytes){f->in.path, f, get_data};
}

bool safe_read_raw(const SafeFile *f, const SafeEntry *x, void *out, size_t size, Error *e) {
    if (size != x->size) die("safe_read_raw: room for %zu bytes, the entry has %" PRIu64, size, x->size);
    return input_get(&f->in, x->begin, out, size, e);
}

bool safe_read_real(const SafeFile *f, const SafeEntry *x, real *out, int64_t count, Error *e) {
    const SafeBytes b = bytes_of(f);
    return safe_values_real(&b, x, out, count, e);
}

bool safe_fits(const SafeFile *f, const SafeEntry *x, const Tensor *t, Error *e) {
    return safe_values_fit(f->in.path, x, t, e);
}

bool safe_read(const SafeFile *f, const SafeEntry *x, Tensor *t, Error *e) {
    const SafeBytes b = bytes_of(f);
    return safe_values_read(&b, x, t, e);
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
