#include "cli/setup.h"

#include "core/comm.h"
#include "core/device.h"
#include "mim/classify.h"
#include "mim/mae.h"
#include "segment/task.h"

#include <inttypes.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

static const TaskClass *const classes[] = {&mae_class, &classify_class,
                                           &segment_class}; /* in the order of the recipe's choices */

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
    tables[n++] = &unlearn_table;
    tables[n++] = &audit_table;
    for (int i = 0; unlearn_methods[i]; i++)
        if (unlearn_methods[i]->table) tables[n++] = unlearn_methods[i]->table;
    return n;
}

bool setup_recognise(const Weights *w, TaskGuess *guess, Error *e) {
    for (int i = 0; i < COUNT(classes); i++) {
        if (!classes[i]->recognise || !classes[i]->recognise(w, guess)) continue;
        if (guess->recipe[0]) return true;
        return error_set(e, ERROR_VALUE, "%s: is %s", weights_path(w), guess->what);
    }
    char name[SAFE_NAME_TEXT];
    return error_set(e, ERROR_VALUE,
                     "%s: its %" PRId64 " tensors are of no model that Lethe knows; the first is %s",
                     weights_path(w), weights_count(w),
                     weights_count(w) ? safe_name_text(weights_at(w, 0)->name, name) : "missing");
}

/* The recipe of the model that a file of weights holds. */
static bool recipe_of_weights(Recipe **out, const char *path, char *const *set, int sets, Error *e) {
    Weights *w;
    TaskGuess guess;
    if (!weights_open(&w, path, e)) return false;
    bool fine = setup_recognise(w, &guess, e) &&
                recipe_parse(out, path, guess.recipe, strlen(guess.recipe), set, sets, e);
    weights_close(w);
    return fine;
}

/* A run's folder or a checkpoint stands for the recipe in it; a file of weights for that of its model. */
static bool recipe_of(Recipe **out, const char *path, char *const *set, int sets, Error *e) {
    char inside[FILE_PATH];
    if (weights_begin(path)) return recipe_of_weights(out, path, set, sets, e);
    if (file_kind(path) != FILE_FOLDER) return recipe_open(out, path, set, sets, e);
    return file_join(inside, sizeof inside, path, "recipe.json", e) && recipe_open(out, inside, set, sets, e);
}

/* Before unlearning, folders may have been deleted or come new, which would number the classes anew: those of
 * the checkpoint's model count, or of what is left to train on. */
static bool train_open(Setup *u, unsigned parts, Error *e) {
    if (!(parts & SETUP_TRAIN)) return true;
    if (!dataset_open(&u->train_set, &u->data, true, e)) return false;
    return !(parts & SETUP_UNLEARN) || !u->names || !u->train_set->classes ||
           dataset_use_classes(u->train_set, u->name, u->names, NULL, e);
}

/* The labels of what is evaluated are the model's classes, if the checkpoint names them: neither the order of
 * the folders nor data.train then matters. */
static bool data_open(Setup *u, unsigned parts, Error *e) {
    if (!train_open(u, parts, e)) return false;
    DataSettings set = u->data;
    bool apart = set.test[0] && parts & SETUP_UNLEARN && u->train_set;
    if (!(parts & SETUP_TEST) || !(set.test[0] || set.per_class_train > 0)) return true;
    if (set.test[0] && (u->names || apart)) set.train[0] = 0;
    if (!dataset_open(&u->test_set, &set, false, e)) return false;
    if (!u->test_set->classes) return true;
    if (u->names) return dataset_use_classes(u->test_set, u->name, u->names, "the checkpoint's model", e);
    return !apart ||
           dataset_use_classes(u->test_set, u->train_set->class_name, u->train_set->classes, NULL, e);
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

/* The model must be the checkpoint's; what changes no output of it, or the masks alone, may differ. */
static bool change_allowed(void *self, const RecipeChange *c, Error *e) {
    static const char *const free[] = {"model.recompute", "model.drop_path", "model.mask_ratio",
                                       "model.norm_pix_loss"};
    for (int i = 0; i < COUNT(free); i++)
        if (strcmp(c->path, free[i]) == 0) return true;
    if (strncmp(c->path, "model.", 6) != 0) return true;
    return error_set(e, ERROR_VALUE, "%s is %s, but %s was trained with %s", c->path, c->is,
                     checkpoint_path((const Checkpoint *)self), c->was);
}

static bool same_task(const RunSettings *run, const Checkpoint *c, Error *e) {
    const char *text = checkpoint_recipe(c);
    Recipe *recipe = NULL;
    RunSettings trained;
    if (!text) return true; /* a bare file: its tensors must do */
    bool fine = recipe_parse(&recipe, checkpoint_path(c), text, strlen(text), NULL, 0, e) &&
                recipe_bind(recipe, &run_table, &trained, e);
    recipe_close(recipe);
    if (!fine || trained.task == run->task) return fine;
    return error_set(e, ERROR_VALUE, "task is \"%s\", but %s was trained for \"%s\"",
                     classes[run->task]->name, checkpoint_path(c), classes[trained.task]->name);
}

bool setup_put(OptionList *set, const char *key, const char *value, char *text, size_t size, Error *e) {
    if ((size_t)snprintf(text, size, "%s=%s", key, value) >= size)
        return error_set(e, ERROR_VALUE, "%s: \"%.40s...\" is too long", key, value);
    return options_put(set, text, e);
}

/* In the order of the recipe's choices. */
enum { DEVICE_AUTO, DEVICE_CPU, DEVICE_CUDA };

bool setup_device(const RunSettings *run, bool exact, Error *e) {
    char text[300];
    int count = run->device == DEVICE_CPU ? 0 : device_cuda_count();
    if (run->device == DEVICE_CPU || (run->device == DEVICE_AUTO && count == 0)) return true;
    if (count == 0) {
        device_cuda_describe(0, text, sizeof text);
        return error_set(e, ERROR_VALUE, "device \"cuda\": %s; use \"cpu\" or \"auto\"", text);
    }
    if (comm_local_size() > count)
        return error_set(e, ERROR_VALUE,
                         "%d ranks on %s, which has %d GPU%s: start one rank a GPU, or set device \"cpu\"",
                         comm_local_size(), comm_host(comm_rank()), count, count > 1 ? "s" : "");
    if (!device_open(comm_local_rank(), exact, text, sizeof text))
        return error_set(e, ERROR_STATE, "GPU %d: %s", comm_local_rank(), text);
    if (comm_first()) {
        printf("on %d GPU%s: %s\n", comm_size(), comm_size() > 1 ? "s" : "", text);
        fflush(stdout);
    }
    return true;
}

/* The checkpoint's recipe, or that of the model its file of weights is recognised as, under the given one. */
static bool base_lay(Recipe *r, const Checkpoint *c, Error *e) {
    const char *text = checkpoint_recipe(c);
    TaskGuess guess;
    if (!text) {
        if (!setup_recognise(checkpoint_file(c, CHECKPOINT_MODEL), &guess, e)) return false;
        text = guess.recipe;
    }
    return recipe_base(r, checkpoint_path(c), text, e);
}

/* A recipe that speaks of unlearning may be given to any verb. */
static bool unlearn_bind(Setup *u, Recipe *r, unsigned parts, Error *e) {
    if (!(parts & SETUP_UNLEARN) && !recipe_says(r, "unlearn") && !recipe_says(r, "audit")) return true;
    if (!recipe_bind(r, &unlearn_table, &u->unlearn, e) || !recipe_bind(r, &audit_table, &u->audit, e))
        return false;
    for (int i = 0; unlearn_methods[i]; i++) {
        const RecipeTable *t = unlearn_methods[i]->table;
        if (!t) continue;
        if (!(u->method[i] = mem_get(t->size))) return error_memory(e, t->size);
        if (!recipe_bind(r, t, u->method[i], e)) return false;
    }
    return true;
}

bool setup_another(Setup *u, int more, uint64_t seed, Task *out, Error *e) {
    Recipe *r;
    char key[40], *set[] = {key};
    snprintf(key, sizeof key, "model.classes=%d", u->task.classes + more);
    if (!recipe_parse(&r, "recipe", u->text, strlen(u->text), set, u->task.classes > 0, e)) return false;
    bool fine = task_open(out, u->task.class, r, u->task.classes + more, seed, e);
    recipe_close(r);
    if (!fine) return false;
    out->class_name = u->task.class_name;
    out->names = u->task.names;
    out->mean = u->task.mean;
    out->std = u->task.std;
    return true;
}

bool setup_open(Setup *u, const char *recipe, char *const *set, int sets, unsigned parts,
                const Checkpoint *checkpoint, Error *e) {
    *u = (Setup){0};
    Recipe **r = &u->recipe;
    if (!recipe_of(r, recipe, set, sets, e)) goto fail;
    if (parts & SETUP_UNLEARN && !base_lay(*r, checkpoint, e)) goto fail;
    if (!recipe_bind(*r, &run_table, &u->run, e) || !recipe_bind(*r, &data_table, &u->data, e) ||
        !recipe_bind(*r, &train_table, &u->train, e) || !recipe_bind(*r, &optim_table, &u->optim, e) ||
        !recipe_bind(*r, &schedule_table, &u->schedule, e) || !unlearn_bind(u, *r, parts, e))
        goto fail;
    const TaskClass *class = classes[u->run.task];
    if (parts & SETUP_DEVICE && !setup_device(&u->run, u->train.deterministic, e)) goto fail;
    if (u->run.threads) omp_set_num_threads((int)u->run.threads);
    /* Bound once before the data is looked at: a misspelt key is told before a missing folder. */
    if (!tables_check(*r, class, e) || !recipe_finish(*r, e)) goto fail;
    if (checkpoint &&
        (!same_task(&u->run, checkpoint, e) || !checkpoint_classes(checkpoint, &u->name, &u->names, e)))
        goto fail;
    if (!data_settings_check(&u->data, e) || !data_open(u, parts, e)) goto fail;
    const Dataset *d = u->train_set ? u->train_set : u->test_set;
    int count = u->names ? u->names : d ? d->classes : 0;
    if (!task_open(&u->task, class, *r, count, (uint64_t)u->run.seed, e)) goto fail;
    u->task.class_name = u->names ? u->name : d ? d->class_name : NULL;
    u->task.names = count;
    u->task.mean = u->data.mean;
    u->task.std = u->data.std;
    u->text = recipe_text(*r, e);
    const char *trained = checkpoint ? checkpoint_recipe(checkpoint) : NULL;
    if (u->text && (!trained || recipe_changes(trained, u->text, change_allowed, (void *)checkpoint, e)))
        return true;
fail:
    if (strncmp(e->text, recipe, strlen(recipe)) != 0 && strncmp(e->text, "--set", 5) != 0)
        error_prefix(e, "%s", recipe);
    setup_close(u);
    return false;
}

bool setup_weights(Setup *u, const Checkpoint *c, Error *e) {
    char name[SAFE_NAME_TEXT];
    const Weights *w = checkpoint_file(c, CHECKPOINT_MODEL);
    if (!task_load(&u->task, c, e)) return false;
    int64_t more = 0, first = 0;
    for (int64_t i = weights_count(w) - 1; i >= 0; i--)
        if (!params_find(&u->task.params, weights_at(w, i)->name)) more++, first = i;
    if (more && comm_first())
        fprintf(stderr, "lethe: warning: %s: %" PRId64 " of its tensors are not in this model: %s%s\n",
                weights_path(w), more, safe_name_text(weights_at(w, first)->name, name),
                more > 1 ? " ..." : "");
    return true;
}

bool setup_load(Source *out, const char *recipe, const Dataset *d, const LoaderOptions *options, Error *e) {
    return loader_open(out, d, options, e) ? true : error_prefix(e, "%s", recipe);
}

int64_t setup_tell_skipped(const Dataset *d, const Source *source) {
    LoaderCorrupt c;
    int64_t n = d && source->self ? loader_corrupt_count(source) : 0;
    char who[40] = "";
    if (comm_size() > 1) snprintf(who, sizeof who, " by rank %d", comm_rank());
    if (n)
        fprintf(stderr, "%" PRId64 " of %" PRId64 " images of %s could not be read and were skipped%s:\n", n,
                d->count, d->key, who);
    for (int64_t k = 0; k < n && loader_corrupt_at(source, k, &c); k++) fprintf(stderr, "  %s\n", c.reason);
    return n;
}

void setup_close(Setup *u) {
    task_close(&u->task);
    dataset_close(u->train_set);
    dataset_close(u->test_set);
    checkpoint_classes_free(u->name, u->names);
    for (int i = 0; i < SETUP_METHODS; i++) mem_free(u->method[i]);
    mem_free(u->text);
    recipe_close(u->recipe);
    *u = (Setup){0};
}
