#include "unlearn/manifest.h"

#include "core/file.h"
#include "core/hash.h"
#include "core/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_CAP = 1 << 30, LINE_NAME = FILE_PATH + 32 };

static int64_t lines_count(const char *text, size_t size) {
    int64_t n = 0;
    for (size_t i = 0; i < size; i++) n += text[i] == '\n';
    return n + (size > 0 && text[size - 1] != '\n');
}

/* A text or null; copied to *to, which moves on. */
static bool word(Json j, const char *key, bool needed, char **to, const char **out, Error *e) {
    const char *text;
    Json v = json_get(j, key);
    *out = NULL;
    if (!needed && (!json_exists(v) || json_type(v) == JSON_NULL)) return true;
    if (!json_text(v, &text, e)) return false;
    size_t n = strlen(text) + 1;
    memcpy(*to, text, n); /* a JSON text is never longer than what it was read from */
    *out = *to;
    *to += n;
    return true;
}

static bool line_read(ManifestLine *l, const char *name, const char *text, char **words, Error *e) {
    JsonFile *f = NULL;
    *l = (ManifestLine){.text = text};
    bool fine = json_open(&f, name, text, strlen(text), e) && json_expect(json_root(f), JSON_OBJECT, e);
    Json j = fine ? json_root(f) : (Json){0};
    fine = fine && json_int(json_get(j, "id"), 0, JSON_MAX_INT, &l->id, e) &&
           word(j, "path", true, words, &l->path, e) && word(j, "sha256", false, words, &l->sha256, e) &&
           word(j, "identity", false, words, &l->identity, e);
    if (fine && l->sha256 && !hash_is_text(l->sha256))
        fine = json_error(json_get(j, "sha256"), e, "expected 64 hex digits");
    json_close(f);
    return fine;
}

static int by_id(const void *a, const void *b) {
    int64_t x = (*(const ManifestLine *const *)a)->id, y = (*(const ManifestLine *const *)b)->id;
    return (x > y) - (x < y);
}

static int by_path(const void *a, const void *b) {
    return strcmp((*(const ManifestLine *const *)a)->path, (*(const ManifestLine *const *)b)->path);
}

/* No two lines speak of the same sample. */
static bool lines_differ(const Manifest *m, Error *e) {
    size_t n = (size_t)m->count;
    const ManifestLine **list = mem_get(n * sizeof *list);
    if (!list) return error_memory(e, n * sizeof *list);
    bool fine = true;
    for (int k = 0; k < 2 && fine; k++) {
        int (*compare)(const void *, const void *) = k ? by_path : by_id;
        for (size_t i = 0; i < n; i++) list[i] = &m->line[i];
        qsort(list, n, sizeof *list, compare);
        for (size_t i = 1; i < n && fine; i++)
            if (compare(&list[i - 1], &list[i]) == 0)
                fine = error_set(e, ERROR_FORMAT, "%s: lines %lld and %lld are of the same sample", m->name,
                                 (long long)(list[i - 1] - m->line) + 1, (long long)(list[i] - m->line) + 1);
    }
    mem_free(list);
    return fine;
}

static bool fill(Manifest *m, const char *path, Error *e) {
    char name[LINE_NAME], *next;
    size_t size;
    if (!(m->name = mem_string(path))) return error_memory(e, strlen(path));
    if (!file_read(path, FILE_CAP, &m->text, &size, e)) return false;
    if (strlen(m->text) != size) return error_set(e, ERROR_FORMAT, "%s: holds a byte 0", path);
    int64_t lines = lines_count(m->text, size);
    m->line = mem_zero((size_t)lines, sizeof *m->line);
    m->words = mem_get(size + 1);
    if (!m->line || !m->words) return error_memory(e, size);
    char *words = m->words;
    for (char *at = m->text; *at; at = next) {
        char *end = at + strcspn(at, "\n");
        next = *end ? end + 1 : end;
        *end = '\0';
        snprintf(name, sizeof name, "%s, line %lld", path, (long long)m->count + 1);
        if (!line_read(&m->line[m->count], name, at, &words, e)) return false;
        m->count++;
    }
    if (m->count == 0) return error_set(e, ERROR_FORMAT, "%s: lists no sample", path);
    return lines_differ(m, e);
}

bool manifest_open(Manifest **out, const char *path, Error *e) {
    *out = NULL;
    Manifest *m = mem_zero(1, sizeof *m);
    if (!m) return error_memory(e, sizeof *m);
    if (!fill(m, path, e)) {
        manifest_close(m);
        return false;
    }
    *out = m;
    return true;
}

void manifest_close(Manifest *m) {
    if (!m) return;
    mem_free(m->name);
    mem_free(m->line);
    mem_free(m->text);
    mem_free(m->words);
    mem_free(m);
}

bool manifest_hashes(ManifestHashes *out, const Manifest *m, const bool *only, Error *e) {
    *out = (ManifestHashes){.list = mem_get((size_t)m->count * sizeof *out->list)};
    if (!out->list) return error_memory(e, (size_t)m->count * sizeof *out->list);
    for (int64_t i = 0; i < m->count; i++)
        if ((!only || only[i]) && m->line[i].sha256) out->list[out->count++] = m->line[i].sha256;
    qsort(out->list, (size_t)out->count, sizeof *out->list, text_order);
    return true;
}

bool manifest_hashes_have(const ManifestHashes *h, const char *sha256) {
    return sha256 && bsearch(&sha256, h->list, (size_t)h->count, sizeof *h->list, text_order);
}
