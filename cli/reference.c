#include "cli/reference.h"

#include "core/comm.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The folder of the checkpoint that a file of weights stands in; false: in none. */
static bool folder_of(const char *path, char folder[FILE_PATH]) {
    const char *name = file_base(path);
    char list[FILE_PATH];
    Error ignored;
    if (strcmp(name, "model.safetensors") != 0 && strcmp(name, "ema.safetensors") != 0) return false;
    snprintf(folder, FILE_PATH, "%.*s", name > path ? (int)(name - path) : 1, name > path ? path : ".");
    return file_join(list, sizeof list, folder, "files.json", &ignored) && file_kind(list) == FILE_REGULAR;
}

bool reference_open(Checkpoint **out, const char *path, Error *e) {
    char note[CHECKPOINT_NOTE], folder[FILE_PATH];
    Error ignored;
    if (file_kind(path) != FILE_FOLDER && folder_of(path, folder) &&
        checkpoint_open(out, folder, note, &ignored))
        return true;
    return checkpoint_open(out, path, note, e);
}

static bool count(int64_t *out, const World *w, const Manifest *m, Error *e) {
    const Manifest *mine = w->manifest;
    ManifestHashes theirs;
    if (!manifest_hashes(&theirs, m, NULL, e)) return false;
    for (int64_t i = 0; i < mine->count; i++)
        *out += w->request.forget[i] && manifest_hashes_have(&theirs, mine->line[i].sha256);
    mem_free(theirs.list);
    return true;
}

bool reference_known(Known *out, const World *w, const Checkpoint *c, Error *e) {
    char path[FILE_PATH];
    Manifest *m = NULL;
    Error none;
    *out = (Known){0};
    if (!checkpoint_manifest(c, path, &none)) return true;
    bool fine = manifest_open(&m, path, e) && count(&out->count, w, m, e);
    out->told = fine;
    manifest_close(m);
    return fine;
}

bool reference_first(Known *out, Checkpoint **opened, const World *w, Error *e) {
    const char *init = world_init(w);
    *out = (Known){0};
    *opened = NULL;
    if (!init[0]) return true;
    bool fine = reference_open(opened, init, e) && reference_known(out, w, *opened, e);
    if (fine && out->count)
        fprintf(stderr,
                "lethe: warning: unlearn.retrain.init (%s) was trained with %" PRId64
                " of the forgotten samples: what retraining makes of it is no model that never saw them\n",
                init, out->count);
    return fine;
}

static bool known_at(Known *out, const World *w, const char *path, Error *e) {
    Checkpoint *c = NULL;
    bool fine = reference_open(&c, path, e) && reference_known(out, w, c, e);
    checkpoint_close(c);
    return fine;
}

static bool references_look(const World *w, const OptionList *list, Error *e) {
    Known known;
    for (int i = 0; i < list->count; i++) {
        if (!known_at(&known, w, list->item[i], e)) return false;
        if (known.count)
            return error_set(e, ERROR_VALUE,
                             "--reference %s: was trained with %" PRId64
                             " of the forgotten samples, as its manifest says: it shows nothing about a "
                             "model that never saw them (lethe unlearn --method retrain makes one)",
                             list->item[i], known.count);
    }
    return true;
}

static bool afters_look(const World *w, const OptionList *list, Error *e) {
    Known known;
    for (int i = 0; i < list->count; i++) {
        if (!known_at(&known, w, list->item[i], e)) return false;
        if (known.count)
            fprintf(stderr,
                    "lethe: warning: --after %s: its manifest still lists %" PRId64
                    " of the forgotten samples among those it was trained on\n",
                    list->item[i], known.count);
    }
    return true;
}

bool reference_check(const World *w, const OptionList *reference, const OptionList *after, Error *e) {
    return comm_agree(
        !comm_first() || (references_look(w, reference, e) && (!after || afters_look(w, after, e))), e);
}
