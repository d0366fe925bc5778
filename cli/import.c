#include "cli/cli.h"
#include "cli/options.h"
#include "cli/setup.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: lethe import FILE --out DIR [--set key=value]...\n\n"
    "Makes a checkpoint of weights from elsewhere: PyTorch's .pth and .pt (what torch.save writes) and "
    "safetensors. Nothing\n"
    "in the file is executed. By names and shapes it recognises MAE, timm's and DeiT's ViTs, SAM, HQ-SAM and "
    "MobileSAM,\n"
    "and it lists missing and unexpected keys as PyTorch does.\n\n"
    "  --out DIR   a run's folder, which the other verbs take: recipe.json and checkpoints/0\n"
    "  --set k=v   a key of the recipe that the weights do not tell: data.mean, model.mask_ratio ...\n\n"
    "The way back: checkpoints/STEP/model.safetensors has the names and shapes of the original.\n";

static bool folder_is_free(const char *out, Error *e) {
    FileList list;
    if (file_kind(out) == FILE_NONE) return true;
    if (!file_list_open(&list, out, e)) return false;
    int64_t count = list.count;
    file_list_close(&list);
    return count == 0 ||
           error_set(e, ERROR_VALUE, "%s: is there already, and not empty; give another --out", out);
}

static void tell_keys(const char *title, const char *const *key, int64_t count) {
    char name[SAFE_NAME_TEXT];
    if (count) printf("%s key(s) in state_dict (%" PRId64 "):", title, count);
    for (int64_t i = 0; i < count; i++) printf("%s %s", i ? "," : "", safe_name_text(key[i], name));
    if (count) putchar('\n');
}

static bool compare_keys(const Checkpoint *c, NamedTensors into, Error *e) {
    KeyReport keys;
    if (!checkpoint_keys(c, CHECKPOINT_MODEL, into, &keys, e)) return false;
    int64_t missing = keys.missing_count;
    tell_keys("Missing", keys.missing, missing);
    tell_keys("Unexpected", keys.unexpected, keys.unexpected_count);
    key_report_close(&keys);
    fflush(stdout);
    return missing == 0 ||
           error_set(e, ERROR_VALUE,
                     "%s: %" PRId64
                     " tensors of the model are missing, listed above; lethe train --init takes "
                     "what there is",
                     checkpoint_path(c), missing);
}

/* A run's folder with one checkpoint, of no step. */
static bool save(const Setup *u, NamedTensors model, const char *out, Error *e) {
    const CheckpointSettings settings = {.run = out, .recipe = u->text};
    const CheckpointState state = {.seed = u->run.seed, .best_step = -1};
    const CheckpointContents contents = {.state = &state, .part = {[CHECKPOINT_MODEL] = model}};
    CheckpointStore *store = NULL;
    CheckpointSaved saved;
    char path[FILE_PATH];
    bool fine = file_make_folder(out, e) && checkpoint_store_open(&store, &settings, e) &&
                file_join(path, sizeof path, out, "recipe.json", e) &&
                file_write(path, u->text, strlen(u->text), e) &&
                checkpoint_store_save(store, &contents, &saved, e);
    if (fine) printf("written to %s\n", saved.path);
    checkpoint_store_close(store);
    return fine;
}

static bool fill_and_save(Setup *u, const Checkpoint *c, const char *out, Error *e) {
    const Params *p = &u->task.params;
    NamedTensor *list = mem_zero((size_t)p->count, sizeof *list);
    if (!list) return error_memory(e, (size_t)p->count * sizeof *list);
    for (int i = 0; i < p->count; i++) list[i] = (NamedTensor){p->list[i]->name, &p->list[i]->tensor};
    NamedTensors model = {list, p->count};
    bool fine = compare_keys(c, model, e) && task_load(&u->task, c, e) && save(u, model, out, e);
    mem_free(list);
    return fine;
}

static void tell_file(const Weights *w, const TaskGuess *guess) {
    int64_t values = 0;
    for (int64_t i = 0; i < weights_count(w); i++) values += safe_entry_count(weights_at(w, i));
    printf("%s: %s, %" PRId64 " tensors, %" PRId64 " parameters: %s\n", weights_path(w), weights_format(w),
           weights_count(w), values, guess->what);
    if (weights_ignored(w))
        printf("%" PRId64 " tensors beside the model's are passed over\n", weights_ignored(w));
    fflush(stdout);
}

static bool import(const char *path, const char *out, const OptionList *set, Error *e) {
    Setup u = {0};
    Checkpoint *c = NULL;
    TaskGuess guess;
    char note[CHECKPOINT_NOTE];
    bool fine = false;
    if (file_kind(path) == FILE_FOLDER)
        return error_set(e, ERROR_VALUE, "%s: is a folder; import takes a file of weights", path);
    if (!folder_is_free(out, e) || !checkpoint_open(&c, path, note, e)) goto out;
    const Weights *w = checkpoint_file(c, CHECKPOINT_MODEL);
    if (!setup_recognise(w, &guess, e)) goto out;
    tell_file(w, &guess);
    if (!setup_open(&u, path, set->item, set->count, 0, NULL, e)) goto out;
    fine = fill_and_save(&u, c, out, e);
out:
    checkpoint_close(c);
    setup_close(&u);
    return fine;
}

int cli_import(int argc, char **argv) {
    Error e = {0};
    const char *out = NULL;
    OptionList set = {0}, rest = {0};
    const Option options[] = {
        {"out", OPTION_TEXT, &out},
        {"set", OPTION_LIST, &set},
        {0},
    };
    int done = options_read(argc, argv, usage, options, &rest, &e);
    if (done >= 0) return done ? cli_fail(&e) : 0;
    if (rest.count != 1 || !out) {
        error_set(&e, ERROR_VALUE, "import takes one file and --out; see lethe import --help");
        return cli_fail(&e);
    }
    return import(rest.item[0], out, &set, &e) ? 0 : cli_fail(&e);
}
