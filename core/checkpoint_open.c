#include "core/checkpoint_inside.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { RECIPE_CAP = 1 << 24 };

struct Checkpoint {
    char path[FILE_PATH];
    Weights *part[CHECKPOINT_PARTS];
    bool bare; /* a file of weights alone: no state, no recipe */
    CheckpointState state;
    char *recipe;
    bool has_manifest;
    Error manifest; /* code ERROR_NONE: whole */
};

/* ---------------------------------------------------------------------------------------------- place --- */

static bool has(const char *folder, const char *name) {
    char path[FILE_PATH];
    Error ignored;
    return file_join(path, sizeof path, folder, name, &ignored) && file_kind_link(path) != FILE_NONE;
}

static bool has_steps(const char *folder) {
    int64_t *steps, count;
    Error ignored;
    if (has(folder, "last")) return true;
    if (!checkpoint_steps(folder, &steps, &count, &ignored)) return false;
    mem_free(steps);
    return count > 0;
}

bool checkpoint_any(const char *run) {
    char folder[FILE_PATH];
    Error ignored;
    return file_join(folder, sizeof folder, run, "checkpoints", &ignored) && has_steps(folder);
}

bool checkpoint_place(const char *path, CheckpointPlace *place, char folder[FILE_PATH], Error *e) {
    if (!file_join(folder, FILE_PATH, "", path, e)) return false;
    FileKind kind = file_kind(path);
    if (kind == FILE_NONE) return file_error(e, path, "open", errno);
    *place = PLACE_FILE;
    if (kind == FILE_REGULAR) return true;
    if (kind != FILE_FOLDER) return error_set(e, ERROR_IO, "%s: is neither a file nor a folder", path);
    *place = PLACE_ONE;
    if (has(path, "files.json") || has(path, "state.json") || has(path, "model.safetensors")) return true;
    *place = PLACE_MANY;
    if (has(path, "checkpoints") && !file_join(folder, FILE_PATH, path, "checkpoints", e)) return false;
    if (has_steps(folder)) return true;
    return error_set(e, ERROR_IO,
                     "%s: holds no checkpoint; give a run's folder, a checkpoint or a file of weights", path);
}

bool checkpoint_candidates(const char *folder, int64_t **steps, int64_t *count, Error *e) {
    int64_t *rising, n, last = checkpoint_link_step(folder, "last"), k = 0;
    *steps = NULL;
    *count = 0;
    if (!checkpoint_steps(folder, &rising, &n, e)) return false;
    size_t bytes = (size_t)(n + 1) * sizeof *rising;
    int64_t *order = mem_get(bytes);
    if (!order) {
        mem_free(rising);
        return error_memory(e, bytes);
    }
    if (last < 0 && n > 0) last = rising[n - 1];
    if (last >= 0) order[k++] = last;
    for (int64_t i = n - 1; i >= 0; i--)
        if (rising[i] < last) order[k++] = rising[i];
    for (int64_t i = n - 1; i >= 0; i--)
        if (rising[i] > last) order[k++] = rising[i];
    mem_free(rising);
    *steps = order;
    *count = k;
    return true;
}

/* ------------------------------------------------------------------------------------------------ one --- */

static Checkpoint *create(const char *path, Error *e) {
    Checkpoint *c = mem_zero(1, sizeof *c);
    if (!c) {
        error_memory(e, sizeof *c);
        return NULL;
    }
    if (file_join(c->path, sizeof c->path, "", path, e)) return c;
    mem_free(c);
    return NULL;
}

void checkpoint_close(Checkpoint *c) {
    if (!c) return;
    for (int i = 0; i < CHECKPOINT_PARTS; i++) weights_close(c->part[i]);
    mem_free(c->recipe);
    mem_free(c);
}

/* Every listed file is whole. The manifest's trouble is remembered, not returned. */
static bool check_files(Checkpoint *c, const CheckpointFiles *files, Error *e) {
    for (int i = 0; i < files->count; i++) {
        const CheckpointFile *row = &files->row[i];
        bool manifest = strcmp(row->name, "manifest.jsonl") == 0;
        c->has_manifest |= manifest;
        if (checkpoint_file_check(c->path, row, false, e)) continue;
        if (!manifest || e->code == ERROR_MEMORY) return false;
        c->manifest = *e;
    }
    return true;
}

static bool open_parts(Checkpoint *c, const CheckpointFiles *files, Error *e) {
    char path[FILE_PATH];
    for (int i = 0; i < CHECKPOINT_PARTS; i++) {
        if (!checkpoint_files_find(files, checkpoint_part_file[i])) continue;
        if (!file_join(path, sizeof path, c->path, checkpoint_part_file[i], e) ||
            !weights_open_safe(&c->part[i], path, e))
            return false;
    }
    return true;
}

static bool open_folder(Checkpoint **out, const char *folder, Error *e) {
    CheckpointFiles files;
    char path[FILE_PATH];
    size_t size;
    *out = NULL;
    Checkpoint *c = create(folder, e);
    if (!c) return false;
    if (!file_join(path, sizeof path, folder, "files.json", e)) goto fail;
    if (file_kind(path) == FILE_NONE) {
        error_set(e, ERROR_FORMAT,
                  "%s: has no files.json, so it is no whole checkpoint; to use its weights unchecked, "
                  "give the .safetensors file itself",
                  folder);
        goto fail;
    }
    if (!checkpoint_files_load(&files, folder, e) || !check_files(c, &files, e) ||
        !checkpoint_state_load(&c->state, folder, e) ||
        !file_join(path, sizeof path, folder, "recipe.json", e) ||
        !file_read(path, RECIPE_CAP, &c->recipe, &size, e))
        goto fail;
    if (strcmp(c->state.recipe_sha256, checkpoint_files_find(&files, "recipe.json")->sha256) != 0) {
        error_set(e, ERROR_FORMAT, "%s: state.json belongs to another recipe than recipe.json", folder);
        goto fail;
    }
    if (!open_parts(c, &files, e)) goto fail;
    *out = c;
    return true;
fail:
    checkpoint_close(c);
    return false;
}

/* A file that lies in a checkpoint is checked against that checkpoint's list. */
static bool check_bare(const char *path, Error *e) {
    char folder[FILE_PATH], list[FILE_PATH];
    CheckpointFiles files;
    size_t n = (size_t)(file_base(path) - path);
    if (n >= sizeof folder) return error_set(e, ERROR_LIMIT, "%.200s...: the path is too long", path);
    memcpy(folder, n ? path : ".", n ? n : 1);
    folder[n ? n : 1] = '\0';
    if (!file_join(list, sizeof list, folder, "files.json", e)) return false;
    if (file_kind(list) != FILE_REGULAR) return true;
    if (!checkpoint_files_load(&files, folder, e)) return false;
    const CheckpointFile *row = checkpoint_files_find(&files, file_base(path));
    return !row || checkpoint_file_check(folder, row, false, e);
}

static bool open_bare(Checkpoint **out, const char *path, Error *e) {
    *out = NULL;
    if (!check_bare(path, e)) return false;
    Checkpoint *c = create(path, e);
    if (!c) return false;
    c->bare = true;
    if (!weights_open(&c->part[CHECKPOINT_MODEL], path, e)) {
        checkpoint_close(c);
        return false;
    }
    *out = c;
    return true;
}

/* ----------------------------------------------------------------------------------------- of a run --- */

/* The first candidate that is whole. What was wrong with the first of the others goes into the note. */
static bool open_newest(Checkpoint **out, const char *folder, char note[CHECKPOINT_NOTE], Error *e) {
    int64_t *steps, count, i;
    char path[FILE_PATH], name[24];
    Error first = {0};
    if (!checkpoint_candidates(folder, &steps, &count, e)) return false;
    for (i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%" PRId64, steps[i]);
        if (!file_join(path, sizeof path, folder, name, e) || open_folder(out, path, e) ||
            e->code == ERROR_MEMORY)
            break;
        if (i == 0) first = *e;
    }
    mem_free(steps);
    if (*out && i == 0) return true;
    if (*out) {
        snprintf(note, CHECKPOINT_NOTE, "%.700s; using step %s instead%s", first.text, name,
                 i > 1 ? ", the newest that is whole" : "");
        return true;
    }
    if (i < count) return false; /* not a damaged checkpoint, but no memory */
    if (count == 1) return error_set(e, first.code, "%.900s; there is no other checkpoint", first.text);
    return error_set(e, first.code, "%.850s; none of the %" PRId64 " checkpoints is whole", first.text,
                     count);
}

bool checkpoint_open(Checkpoint **out, const char *path, char note[CHECKPOINT_NOTE], Error *e) {
    CheckpointPlace place;
    char folder[FILE_PATH];
    *out = NULL;
    note[0] = '\0';
    if (!checkpoint_place(path, &place, folder, e)) return false;
    bool ok = place == PLACE_FILE  ? open_bare(out, folder, e)
              : place == PLACE_ONE ? open_folder(out, folder, e)
                                   : open_newest(out, folder, note, e);
    if (ok && (*out)->manifest.code != ERROR_NONE) {
        size_t used = strlen(note);
        snprintf(note + used, CHECKPOINT_NOTE - used, "%s%.*s", used ? "; " : "",
                 (int)(CHECKPOINT_NOTE - used - 3), (*out)->manifest.text);
    }
    return ok;
}

const char *checkpoint_path(const Checkpoint *c) {
    return c->path;
}

const CheckpointState *checkpoint_state(const Checkpoint *c) {
    return c->bare ? NULL : &c->state;
}

const char *checkpoint_recipe(const Checkpoint *c) {
    return c->recipe;
}

const Weights *checkpoint_file(const Checkpoint *c, CheckpointPart part) {
    return c->part[part];
}

bool checkpoint_manifest(const Checkpoint *c, char path[FILE_PATH], Error *e) {
    if (!c->has_manifest)
        return error_set(e, ERROR_STATE, "%s: has no manifest, so it cannot say what it was trained on",
                         c->path);
    if (c->manifest.code != ERROR_NONE) {
        *e = c->manifest;
        return false;
    }
    return file_join(path, FILE_PATH, c->path, "manifest.jsonl", e);
}
