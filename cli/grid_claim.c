#include "cli/grid.h"

#include "core/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Between two runs of a grid: whose cells the changed settings are for. */
typedef struct Change {
    const Grid *grid;
    const World *world;
    bool stale[GRID_METHODS]; /* of unlearn_methods */
    bool retrain;             /* so are the retrained weights; else they are audited anew */
} Change;

/* A method is what it was unless its own settings are others, or those of the method that it runs. */
static bool uses(const World *w, const Method *m, const char *name) {
    const Method *next = m->then ? m->then(world_settings(w, m)) : NULL;
    return !strcmp(m->name, name) || (next && !strcmp(next->name, name));
}

static bool asked(const Grid *g, const Method *m) {
    for (int i = 0; i < g->methods; i++)
        if (g->method[i] == m) return true;
    return false;
}

/* Of the first `seeds`: how many are done. */
static bool cells_count(const Grid *g, const Method *m, int seeds, int *count, Error *e) {
    char path[FILE_PATH];
    *count = 0;
    for (int s = 0; s < seeds; s++) {
        if (!grid_path(g, m->name, s, "json", path, e)) return false;
        *count += file_kind(path) != FILE_NONE;
    }
    return true;
}

/* Cells that nobody asks for are not dropped, and cannot stand beside others that were made in another way.
 */
static bool nothing_lost(const Change *c, const RecipeChange *is, Error *e) {
    for (int m = 0; unlearn_methods[m]; m++) {
        int count;
        if (!c->stale[m] || asked(c->grid, unlearn_methods[m])) continue;
        if (!cells_count(c->grid, unlearn_methods[m], GRID_SEEDS, &count, e)) return false;
        if (count)
            return error_set(e, ERROR_VALUE,
                             "%s: has results of %s from when %s was %.100s; it is now %.100s: set it back, "
                             "name %s in --methods, too, to make them anew, or give another --out",
                             c->grid->out, unlearn_methods[m]->name, is->path, is->was, is->is,
                             unlearn_methods[m]->name);
    }
    return true;
}

static bool setting_changed(void *self, const RecipeChange *is, Error *e) {
    Change *c = self;
    const char *key = is->path;
    if (!strcmp(key, "about") || !strcmp(key, "unlearn.method")) return true;
    bool audit = !strncmp(key, "audit.", 6), outside = !strncmp(key, "unlearn.outside", 15);
    if (audit || outside) {
        for (int m = 0; unlearn_methods[m]; m++)
            c->stale[m] |= audit || unlearn_methods[m]->needs & NEEDS_OUTSIDE;
        return nothing_lost(c, is, e);
    }
    const char *dot = strncmp(key, "unlearn.", 8) ? NULL : strchr(key + 8, '.');
    char name[64];
    if (!dot || (size_t)snprintf(name, sizeof name, "%.*s", (int)(dot - key - 8), key + 8) >= sizeof name)
        return error_set(e, ERROR_VALUE,
                         "%s: was begun with other settings: %s was %.100s, and is now %.100s; give another "
                         "--out",
                         c->grid->out, key, is->was, is->is);
    c->retrain |= !strcmp(name, "retrain");
    for (int m = 0; unlearn_methods[m]; m++)
        c->stale[m] |= uses(c->world, unlearn_methods[m], name) || c->retrain;
    return nothing_lost(c, is, e);
}

static bool drop(const Change *c, const char *method, int seed, const char *ending, Error *e) {
    char path[FILE_PATH];
    return grid_path(c->grid, method, seed, ending, path, e) && file_remove_tree(path, e);
}

/* First the cells go, then the recipe changes: a kill in between leaves less, nothing wrong. */
static bool cells_drop(const Change *c, Error *e) {
    for (int s = 0; s < GRID_SEEDS; s++) {
        if (c->retrain && !drop(c, "retrain", s, "safetensors", e)) return false;
        for (int m = 0; unlearn_methods[m]; m++)
            if (c->stale[m] && !drop(c, unlearn_methods[m]->name, s, "json", e)) return false;
    }
    return true;
}

/* Writes a text into the folder unless one stands there; `was`: that one, if it is another, else NULL;
 * mem_free. */
static bool claim(const Grid *g, const char *name, const char *is, char **was, Error *e) {
    char path[FILE_PATH];
    size_t size, n = strlen(is);
    *was = NULL;
    if (!file_join(path, sizeof path, g->out, name, e)) return false;
    if (file_kind(path) == FILE_NONE) return file_write(path, is, n, e);
    if (!file_read(path, (size_t)1 << 24, was, &size, e)) return false;
    if (size == n && !memcmp(*was, is, n)) {
        mem_free(*was);
        *was = NULL;
    }
    return true;
}

/* Settings that say nothing of what is asked for, neither of a method nor of one that it runs, stay what they
 * were: cells may stand there that were made with them. */
static bool settings_keep(const Grid *g, World *w, Recipe *was, Error *e) {
    bool keep[GRID_METHODS] = {false};
    for (int m = 0; unlearn_methods[m]; m++) {
        keep[m] = unlearn_methods[m]->table != NULL;
        for (int i = 0; i < g->methods; i++) keep[m] &= !uses(w, g->method[i], unlearn_methods[m]->name);
    }
    for (int m = 0; unlearn_methods[m]; m++) {
        const RecipeTable *table = unlearn_methods[m]->table;
        if (!keep[m]) continue;
        if (!recipe_bind(was, table, w->setup.method[m], e)) return false;
        recipe_amend(w->setup.recipe, table, w->setup.method[m]);
    }
    return true;
}

/* What the recipe becomes; mem_free. NULL on error. */
static char *recipe_kept(const Grid *g, World *w, const char *path, const char *was, Error *e) {
    Recipe *old = NULL;
    bool fine = recipe_parse(&old, path, was, strlen(was), NULL, 0, e) && settings_keep(g, w, old, e);
    recipe_close(old);
    return fine ? recipe_text(w->setup.recipe, e) : NULL;
}

static bool recipe_claim(const Grid *g, World *w, Error *e) {
    char path[FILE_PATH], *was;
    Change c = {.grid = g, .world = w};
    if (!claim(g, "recipe.json", w->setup.text, &was, e)) return false;
    if (!was) return true;
    char *is =
        file_join(path, sizeof path, g->out, "recipe.json", e) ? recipe_kept(g, w, path, was, e) : NULL;
    bool fine = is && recipe_changes(was, is, setting_changed, &c, e) && cells_drop(&c, e) &&
                file_write(path, is, strlen(is), e);
    mem_free(is);
    mem_free(was);
    return fine;
}

/* The checkpoint's weights and the samples that are forgotten, by their hashes. */
static bool subject(const World *w, char text[300], Error *e) {
    char weights[HASH_TEXT], forgotten[HASH_TEXT];
    const Manifest *m = w->manifest;
    Hash h;
    if (!hash_file(weights_path(checkpoint_file(w->checkpoint, CHECKPOINT_MODEL)), weights, NULL, e) ||
        !hash_open(&h, e))
        return false;
    bool fine = true;
    for (int64_t i = 0; i < m->count && fine; i++)
        if (w->request.forget[i]) fine = hash_add(&h, m->line[i].text, strlen(m->line[i].text) + 1, e);
    if (!fine || !hash_finish(&h, forgotten, e)) {
        hash_drop(&h);
        return false;
    }
    snprintf(text, 300,
             "{\"model_sha256\": \"%s\", \"forgotten\": %" PRId64 ", \"forgotten_sha256\": \"%s\"}\n",
             weights, w->request.count, forgotten);
    return true;
}

static bool subject_claim(const Grid *g, const World *w, Error *e) {
    char is[300], *was;
    if (!subject(w, is, e) || !claim(g, GRID_SUBJECT, is, &was, e)) return false;
    if (!was) return true;
    mem_free(was);
    return error_set(e, ERROR_VALUE,
                     "%s: was begun with another checkpoint or another request; give another --out", g->out);
}

bool grid_claim(const Grid *g, World *w, Error *e) {
    char cells[FILE_PATH];
    return file_make_folder(g->out, e) && subject_claim(g, w, e) &&
           file_join(cells, sizeof cells, g->out, "cells", e) && file_make_folder(cells, e) &&
           recipe_claim(g, w, e);
}

bool grid_others(const Grid *g, bool others[GRID_METHODS], Error *e) {
    for (int m = 0; unlearn_methods[m]; m++) {
        int count = 0;
        others[m] = false;
        if (asked(g, unlearn_methods[m])) continue;
        if (!cells_count(g, unlearn_methods[m], g->seeds, &count, e)) return false;
        others[m] = count == g->seeds;
        if (count > 0 && !others[m])
            printf("%s: has %d of %d seeds, and is left out of the table; name it in --methods, too, to go "
                   "on with it\n",
                   unlearn_methods[m]->name, count, g->seeds);
    }
    return true;
}
