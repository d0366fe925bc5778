#include "data/walk.h"

#include "core/file.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { DEPTH = 64, FILES = 1 << 30 };

/* The folders we are in, innermost first. */
typedef struct Level {
    const struct Level *above;
    dev_t device;
    ino_t inode;
    int depth;
} Level;

bool walk_is_image(const char *name) {
    const char *dot = strrchr(name, '.');
    if (!dot || dot == name) return false;
    return strcasecmp(dot, ".jpg") == 0 || strcasecmp(dot, ".jpeg") == 0 || strcasecmp(dot, ".png") == 0;
}

bool walk_is_png(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot && dot != name && strcasecmp(dot, ".png") == 0;
}

int walk_compare(const char *a, const char *b) {
    const char *p = a, *q = b;
    while (*p && *q) {
        if (isdigit((unsigned char)*p) && isdigit((unsigned char)*q)) {
            while (*p == '0') p++;
            while (*q == '0') q++;
            size_t n = strspn(p, "0123456789"), m = strspn(q, "0123456789");
            if (n != m) return n < m ? -1 : 1;
            int order = memcmp(p, q, n);
            if (order != 0) return order;
            p += n, q += n;
            continue;
        }
        if (*p != *q) return (unsigned char)*p < (unsigned char)*q ? -1 : 1;
        p++, q++;
    }
    if (*p || *q) return *p ? 1 : -1;
    return strcmp(a, b);
}

static int compare_entries(const void *a, const void *b) {
    return walk_compare(*(char *const *)a, *(char *const *)b);
}

static bool add(Walk *w, const char *path, Error *e) {
    if ((size_t)w->count == w->capacity) {
        size_t capacity = w->capacity ? 2 * w->capacity : 256;
        char **grown = mem_resize(w->path, capacity * sizeof *grown);
        if (!grown) return error_memory(e, capacity * sizeof *grown);
        w->path = grown;
        w->capacity = capacity;
    }
    if (w->count == FILES) return error_set(e, ERROR_LIMIT, "%s: more than %d images", path, FILES);
    char *copy = mem_string(path);
    if (!copy) return error_memory(e, strlen(path) + 1);
    w->path[w->count++] = copy;
    return true;
}

static bool enter(Walk *w, const char *folder, const Level *above, Error *e) {
    struct stat s;
    FileList list;
    char path[FILE_PATH];
    if (stat(folder, &s) != 0) return file_error(e, folder, "read", errno);
    for (const Level *l = above; l; l = l->above)
        if (l->device == s.st_dev && l->inode == s.st_ino) return true;
    Level here = {above, s.st_dev, s.st_ino, above ? above->depth + 1 : 0};
    if (here.depth > DEPTH)
        return error_set(e, ERROR_LIMIT, "%s: folders lie more than %d deep", folder, DEPTH);
    if (!file_list_open(&list, folder, e)) return false;
    bool ok = true;
    for (int64_t i = 0; ok && i < list.count; i++) {
        const char *name = list.name[i];
        if (name[0] == '.') continue;
        ok = file_join(path, sizeof path, folder, name, e);
        if (ok && walk_is_image(name)) {
            ok = add(w, path, e);
        } else if (ok && file_kind(path) == FILE_FOLDER) {
            ok = enter(w, path, &here, e);
        } else {
            w->others++;
        }
    }
    file_list_close(&list);
    return ok;
}

bool walk_open(Walk *w, const char *folder, Error *e) {
    *w = (Walk){0};
    if (!enter(w, folder, NULL, e)) {
        walk_close(w);
        return false;
    }
    if (w->count) qsort(w->path, (size_t)w->count, sizeof *w->path, compare_entries);
    return true;
}

void walk_close(Walk *w) {
    for (int64_t i = 0; i < w->count; i++) mem_free(w->path[i]);
    mem_free(w->path);
    *w = (Walk){0};
}
