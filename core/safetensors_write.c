#define _GNU_SOURCE
#include "core/safetensors.h"

#include "core/file.h"
#include "core/json_scan.h"
#include "core/safetensors_header.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

SafeItem safe_item(const char *name, const Tensor *t) {
    static const SafeType type[DT_COUNT] = {
        [DT_F32] = sizeof(real) == 8 ? SAFE_F64 : SAFE_F32,
        [DT_BF16] = SAFE_BF16,
        [DT_I32] = SAFE_I32,
        [DT_U8] = SAFE_U8,
    };
    SafeItem x = {.name = name, .type = type[t->dtype], .ndim = t->ndim, .data = t->data};
    for (int i = 0; i < t->ndim; i++) x.dim[i] = t->dim[i];
    return x;
}

uint64_t safe_item_bytes(const SafeItem *x) {
    uint64_t bytes;
    if (!safe_bytes(x->dim, x->ndim, x->type, &bytes)) die("safetensors: the size of %s overflows", x->name);
    return bytes;
}

static int compare_item(const void *a, const void *b) {
    const SafeItem *x = a, *y = b;
    if (x->type != y->type) return x->type > y->type ? -1 : 1;
    return strcmp(x->name, y->name);
}

static bool check_utf8(const char *text, Error *e) {
    size_t left = strlen(text);
    char shown[SAFE_NAME_TEXT];
    while (left > 0) {
        int n = json_utf8(text, left);
        if (n <= 0) return error_set(e, ERROR_VALUE, "%s: is not UTF-8", safe_name_text(text, shown));
        text += n;
        left -= (size_t)n;
    }
    return true;
}

/* All names are UTF-8 and differ. */
static bool check_items(const SafeItem *items, int64_t n, Error *e) {
    size_t bytes = (size_t)n * sizeof(char *);
    const char **name = mem_get(bytes);
    bool ok = true;
    if (!name) return error_memory(e, bytes);
    for (int64_t i = 0; ok && i < n; i++) {
        name[i] = items[i].name;
        ok = check_utf8(name[i], e);
    }
    if (ok && n) qsort(name, (size_t)n, sizeof *name, text_order);
    for (int64_t i = 0; ok && i < n; i++)
        if (strcmp(name[i], "__metadata__") == 0 || (i > 0 && strcmp(name[i - 1], name[i]) == 0))
            die("safetensors: a tensor may not be called %s, or two are", name[i]);
    mem_free(name);
    return ok;
}

/* ---------------------------------------------------------------------------------------- the header --- */

/* The longest that a text can become: every byte as \u00XX, and two quotes. */
static size_t text_room(const char *text) {
    return 6 * strlen(text) + 2;
}

static char *put_text(char *to, const char *text) {
    static const char from[] = "\"\\\b\f\n\r\t", into[] = "\"\\bfnrt";
    *to++ = '"';
    for (; *text; text++) {
        const char *known = strchr(from, *text);
        if (known) {
            *to++ = '\\';
            *to++ = into[known - from];
        } else if ((unsigned char)*text < 0x20) {
            to += sprintf(to, "\\u%04x", (unsigned)*text);
        } else {
            *to++ = *text;
        }
    }
    *to++ = '"';
    return to;
}

static char *put_item(char *to, const SafeItem *x, uint64_t begin) {
    to = put_text(to, x->name);
    to += sprintf(to, ":{\"dtype\":\"%s\",\"shape\":[", safe_type_name(x->type));
    for (int i = 0; i < x->ndim; i++) to += sprintf(to, "%s%" PRId64, i ? "," : "", x->dim[i]);
    return to +
           sprintf(to, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin, begin + safe_item_bytes(x));
}

static bool build_header(char **out, size_t *size, const SafeItem *items, int64_t n, const SafeMeta *meta,
                         int metas, Error *e) {
    size_t room = 64;
    for (int i = 0; i < metas; i++) room += text_room(meta[i].key) + text_room(meta[i].value) + 2;
    for (int64_t i = 0; i < n; i++) room += text_room(items[i].name) + 128 + 21 * SAFE_MAX_DIM;
    char *text = mem_get(room), *to = text;
    if (!text) return error_memory(e, room);
    *to++ = '{';
    if (metas) to += sprintf(to, "\"__metadata__\":{");
    for (int i = 0; i < metas; i++) {
        if (i) *to++ = ',';
        to = put_text(to, meta[i].key);
        *to++ = ':';
        to = put_text(to, meta[i].value);
    }
    if (metas) *to++ = '}';
    uint64_t begin = 0;
    for (int64_t i = 0; i < n; i++) {
        if (i || metas) *to++ = ',';
        to = put_item(to, &items[i], begin);
        begin += safe_item_bytes(&items[i]);
    }
    *to++ = '}';
    while ((to - text) % 8 != 0) *to++ = ' ';
    *out = text;
    *size = (size_t)(to - text);
    return true;
}

bool safe_put(Sink *s, SafeItem *items, int64_t n, const SafeMeta *meta, int metas, Error *e) {
    char *text = NULL;
    size_t size = 0;
    bool ok = false;
    for (int i = 0; i < metas; i++)
        if (!check_utf8(meta[i].key, e) || !check_utf8(meta[i].value, e))
            return error_prefix(e, "%s", s->path);
    if (!check_items(items, n, e)) return error_prefix(e, "%s", s->path);
    if (n) qsort(items, (size_t)n, sizeof *items, compare_item);
    if (!build_header(&text, &size, items, n, meta, metas, e)) return false;
    if (size > SAFE_MAX_HEADER) {
        error_set(e, ERROR_LIMIT, "%s: the header would take %zu bytes; the format allows %d", s->path, size,
                  SAFE_MAX_HEADER);
        goto out;
    }
    uint64_t length = size;
    if (!sink_put(s, &length, sizeof length, e) || !sink_put(s, text, size, e)) goto out;
    for (int64_t i = 0; i < n; i++)
        if (!sink_put(s, items[i].data, (size_t)safe_item_bytes(&items[i]), e)) goto out;
    ok = true;
out:
    mem_free(text);
    return ok;
}

bool safe_save(const char *path, SafeItem *items, int64_t n, const SafeMeta *meta, int metas, char *sha256,
               Error *e) {
    char beside[FILE_PATH], folder[FILE_PATH], hash[HASH_TEXT];
    Sink s = SINK_NONE;
    const char *base = file_base(path);
    int dir = (int)(base - path);
    int m = snprintf(beside, sizeof beside, "%.*s.%s.tmp.%ld", dir, path, base, (long)getpid());
    if (m < 0 || (size_t)m >= sizeof beside)
        return error_set(e, ERROR_LIMIT, "%.200s...: path too long", path);
    snprintf(folder, sizeof folder, "%.*s", dir ? dir : 1, dir ? path : ".");
    unlink(beside); /* the process number is ours, so what stands there was left by one that died */
    if (!sink_open(&s, beside, e)) return false;
    bool ok = safe_put(&s, items, n, meta, metas, e) && sink_finish(&s, hash, e);
    sink_drop(&s);
    if (ok && rename(beside, path) != 0) ok = file_error(e, path, "replace", errno);
    if (!ok) {
        unlink(beside);
        return false;
    }
    if (sha256) memcpy(sha256, hash, sizeof hash);
    return file_sync_folder(folder, e);
}
