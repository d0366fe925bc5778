#include "cli/setup.h"

#include "core/json.h"
#include "mim/classify.h"
#include "mim/mae.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const TaskClass *const classes[] = {&mae_class,
                                           &classify_class}; /* in the order of the recipe's choices */

int setup_tables(const RecipeTable *tables[SETUP_TABLES]) {
    int n = 0;
    tables[n++] = &run_table;
    for (int c = 0; c < COUNT(classes); c++)
        for (int k = 0; classes[c]->tables[k]; k++) {
            bool known = false;
            for (int i = 0; i < n; i++) known |= tables[i] == classes[c]->tables[k];
            if (!known) tables[n++] = classes[c]->tables[k];
        }
    tables[n++] = &data_table;
    tables[n++] = &train_table;
    tables[n++] = &optim_table;
    tables[n++] = &schedule_table;
    return n;
}

/* A run's folder or a checkpoint stands for the recipe in it. */
static bool recipe_of(Recipe **out, const char *path, char *const *set, int sets, Error *e) {
    char inside[FILE_PATH];
    if (file_kind(path) != FILE_FOLDER) return recipe_open(out, path, set, sets, e);
    return file_join(inside, sizeof inside, path, "recipe.json", e) && recipe_open(out, inside, set, sets, e);
}

static bool data_open(Setup *u, unsigned parts, Error *e) {
    if (parts & SETUP_TRAIN && !dataset_open(&u->train_set, &u->data, true, e)) return false;
    bool has_test = u->data.test[0] || u->data.per_class_train > 0;
    return !(parts & SETUP_TEST && has_test) || dataset_open(&u->test_set, &u->data, false, e);
}

/* ---- the classes a checkpoint knows: the identities of its manifest, sorted ---- */

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool name_add(Setup *u, const char *name, Error *e) {
    for (int i = u->names - 1; i >= 0; i--)
        if (!strcmp(u->name[i], name)) return true;
    char **more = mem_resize(u->name, (size_t)(u->names + 1) * sizeof *more);
    if (!more) return error_memory(e, (size_t)u->names * sizeof *more);
    u->name = more;
    if (!(u->name[u->names] = mem_string(name))) return error_memory(e, strlen(name));
    u->names++;
    return true;
}

static bool names_of_manifest(Setup *u, const Checkpoint *c, Error *e) {
    char path[FILE_PATH], *text = NULL;
    size_t size = 0;
    if (!checkpoint_recipe(c)) return true; /* a bare file has no manifest: model.classes must say */
    if (!checkpoint_manifest(c, path, e) || !file_read(path, (size_t)1 << 32, &text, &size, e)) return false;
    bool fine = true;
    int64_t line = 1;
    for (char *at = text; fine && at < text + size; line++) {
        char *end = memchr(at, '\n', (size_t)(text + size - at));
        size_t n = end ? (size_t)(end - at) : (size_t)(text + size - at);
        JsonFile *doc = NULL;
        fine = json_open(&doc, path, at, n, e);
        if (fine) {
            const char *identity;
            Error none;
            if (json_text(json_get(json_root(doc), "identity"), &identity, &none))
                fine = name_add(u, identity, e);
        }
        json_close(doc);
        at += n + 1;
    }
    mem_free(text);
    if (u->names) qsort(u->name, (size_t)u->names, sizeof *u->name, by_text);
    return fine;
}

static bool tables_check(Recipe *r, const TaskClass *class, Error *e) {
    for (int k = 0; class->tables[k]; k++) {
        void *settings = mem_get(class->tables[k]->size);
        if (!settings) return error_memory(e, class->tables[k]->size);
        bool fine = recipe_bind(r, class->tables[k], settings, e);
        mem_free(settings);
        if (!fine) return false;
    }
    return true;
}

bool setup_open(Setup *u, const char *recipe, char *const *set, int sets, unsigned parts,
                const Checkpoint *checkpoint, Error *e) {
    *u = (Setup){0};
    Recipe **r = &u->recipe;
    if (!recipe_of(r, recipe, set, sets, e)) goto fail;
    if (!recipe_bind(*r, &run_table, &u->run, e) || !recipe_bind(*r, &data_table, &u->data, e) ||
        !recipe_bind(*r, &train_table, &u->train, e) || !recipe_bind(*r, &optim_table, &u->optim, e) ||
        !recipe_bind(*r, &schedule_table, &u->schedule, e))
        goto fail;
    const TaskClass *class = classes[u->run.task];
    if (u->run.device == 2) {
        error_set(e, ERROR_VALUE, "%s: device \"cuda\": no op has a CUDA kernel yet; use \"cpu\" or \"auto\"",
                  recipe);
        goto fail;
    }
    if (u->run.threads) omp_set_num_threads((int)u->run.threads);
    /* Bound once before the data is looked at: a misspelt key is told before a missing folder. */
    if (!tables_check(*r, class, e) || !recipe_finish(*r, e)) goto fail;
    if (!data_settings_check(&u->data, e) || !data_open(u, parts, e)) goto fail;
    const Dataset *d = u->train_set ? u->train_set : u->test_set;
    if (!d && checkpoint && class == &classify_class && !names_of_manifest(u, checkpoint, e)) goto fail;
    int count = d ? d->classes : u->names;
    if (!task_open(&u->task, class, *r, count, (uint64_t)u->run.seed, e)) goto fail;
    u->task.class_name = d ? d->class_name : u->name;
    u->task.mean = u->data.mean;
    u->task.std = u->data.std;
    u->text = recipe_text(*r, e);
    if (u->text) return true;
fail:
    setup_close(u);
    return false;
}

void setup_close(Setup *u) {
    task_close(&u->task);
    dataset_close(u->train_set);
    dataset_close(u->test_set);
    for (int i = 0; i < u->names; i++) mem_free(u->name[i]);
    mem_free(u->name);
    mem_free(u->text);
    recipe_close(u->recipe);
    *u = (Setup){0};
}
