/* Any bytes as a manifest, and after the first byte 0xFF as what --forget asks of it, a list or (behind 0xFE)
 * one of its words: lines of one error, or samples, each once. */
#define _GNU_SOURCE /* memmem */
#include "core/file.h"
#include "unlearn/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_line(const Error *e) {
    if (e->code == ERROR_NONE || strlen(e->text) < 8) abort();
    for (const char *c = e->text; *c; c++)
        if ((uint8_t)*c < 0x20) abort();
}

/* A file in memory: what is tested takes paths. */
static void put(char path[64], const char *name, const uint8_t *data, size_t size) {
    snprintf(path, 64, "/dev/shm/lethe_fuzz_%d_%s", (int)getpid(), name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f) != 0) abort();
}

static void ask(const Manifest *m, const char *spec) {
    Error e = {0};
    Request r;
    char *list[] = {(char *)spec};
    if (strncmp(spec, "file=", 5) == 0) return; /* no strange files are opened here */
    if (!request_open(&r, m, list, 1, 1, &e)) {
        check_line(&e);
        if (r.forget) abort();
        return;
    }
    int64_t count = 0;
    for (int64_t i = 0; i < m->count; i++) count += r.forget[i];
    if (count != r.count || count < 1 || count >= m->count) abort();
    request_close(&r);
}

/* As a list, if it opens no other file. */
static void ask_list(const Manifest *m, const uint8_t *data, size_t size) {
    char path[64], spec[72];
    if (size > 4 && memmem(data, size, "file=", 5)) return;
    put(path, "list", data, size);
    snprintf(spec, sizeof spec, "@%s", path);
    ask(m, spec);
    unlink(path);
}

static void check_manifest(const Manifest *m) {
    if (m->count < 1) abort();
    for (int64_t i = 0; i < m->count; i++) {
        const ManifestLine *l = &m->line[i];
        if (l->id < 0 || !l->path || !l->text || (l->sha256 && strlen(l->sha256) != 64)) abort();
        if (strlen(l->path) + (l->identity ? strlen(l->identity) : 0) > strlen(l->text)) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Error e = {0};
    Manifest *m;
    char path[64];
    const uint8_t *end = size ? memchr(data, 0xFF, size) : NULL;
    size_t length = end ? (size_t)(end - data) : size;
    put(path, "manifest", data, length);
    if (manifest_open(&m, path, &e)) {
        check_manifest(m);
        if (end && size - length > 2 && end[1] == 0xFE) {
            char *spec = mem_zero(size - length, 1);
            if (!spec) abort();
            memcpy(spec, end + 2, size - length - 2);
            if (spec[0] != '@') ask(m, spec);
            mem_free(spec);
        } else if (end) {
            ask_list(m, end + 1, size - length - 1);
        }
        manifest_close(m);
    } else {
        check_line(&e);
        if (m) abort();
    }
    unlink(path);
    return 0;
}
