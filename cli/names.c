#include "cli/names.h"

#include "core/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Places of names taken, by their hash: open addressing; -1: free. */
typedef struct Taken {
    int64_t *slot;
    uint64_t mask;
} Taken;

static int64_t *taken_find(const Taken *t, char (*name)[NAMES_SIZE], const char *wanted) {
    uint64_t at = rng_hash(wanted) & t->mask;
    while (t->slot[at] >= 0 && strcmp(name[t->slot[at]], wanted) != 0) at = (at + 1) & t->mask;
    return &t->slot[at];
}

static void name_choose(const Taken *t, char (*name)[NAMES_SIZE], int64_t i, const char *path) {
    const char *base = file_base(path), *dot = strrchr(base, '.');
    int n = dot && dot > base ? (int)(dot - base) : (int)strlen(base);
    if (n > NAMES_SIZE - 40) n = NAMES_SIZE - 40;
    char wanted[NAMES_SIZE];
    snprintf(wanted, sizeof wanted, "%.*s", n, base);
    int64_t *slot = taken_find(t, name, wanted);
    for (int64_t number = 2; *slot >= 0; number++) {
        snprintf(wanted, sizeof wanted, "%.*s-%lld", n, base, (long long)number);
        slot = taken_find(t, name, wanted);
    }
    memcpy(name[i], wanted, sizeof wanted);
    *slot = i;
}

bool names_make(char (**out)[NAMES_SIZE], char *const *path, int64_t count, Error *e) {
    uint64_t slots = 16;
    while (slots < 2 * (uint64_t)count) slots *= 2;
    Taken t = {mem_get(slots * sizeof *t.slot), slots - 1};
    char(*name)[NAMES_SIZE] = mem_zero((size_t)count + 1, sizeof *name);
    if (!t.slot || !name) {
        mem_free(t.slot);
        mem_free(name);
        return error_memory(e, slots * sizeof *t.slot + (size_t)count * sizeof *name);
    }
    for (uint64_t i = 0; i < slots; i++) t.slot[i] = -1;
    for (int64_t i = 0; i < count; i++) name_choose(&t, name, i, path[i]);
    mem_free(t.slot);
    *out = name;
    return true;
}

static int id_order(const void *a, const void *b) {
    const FileId *p = a, *q = b;
    if (p->device != q->device) return p->device < q->device ? -1 : 1;
    return (p->inode > q->inode) - (p->inode < q->inode);
}

bool names_guard_open(NamesGuard *g, char *const *path, int64_t count, Error *e) {
    *g = (NamesGuard){.id = mem_get((size_t)count * sizeof *g->id + 1)};
    if (!g->id) return error_memory(e, (size_t)count * sizeof *g->id);
    for (int64_t i = 0; i < count; i++)
        if (file_id(path[i], &g->id[g->count])) g->count++;
    qsort(g->id, (size_t)g->count, sizeof *g->id, id_order);
    return true;
}

bool names_guard_add(NamesGuard *g, const char *path, Error *e) {
    FileId id;
    if (!path || !file_id(path, &id)) return true;
    FileId *grown = mem_resize(g->id, (size_t)(g->count + 1) * sizeof *grown);
    if (!grown) return error_memory(e, (size_t)(g->count + 1) * sizeof *grown);
    g->id = grown;
    g->id[g->count++] = id;
    qsort(g->id, (size_t)g->count, sizeof *g->id, id_order);
    return true;
}

void names_guard_close(NamesGuard *g) {
    mem_free(g->id);
    *g = (NamesGuard){0};
}

bool names_path(const NamesGuard *g, char path[FILE_PATH], const char *folder, const char *name,
                const char *suffix, Error *e) {
    char file[NAMES_SIZE + 80];
    FileId id;
    snprintf(file, sizeof file, "%s%s", name, suffix);
    if (!file_join(path, FILE_PATH, folder, file, e)) return false;
    if (!file_id(path, &id) || !g->count || !bsearch(&id, g->id, (size_t)g->count, sizeof id, id_order))
        return true;
    return error_set(e, ERROR_VALUE, "%s: is one of the images or files read; give another --out", path);
}
