/* What `lethe inspect` prints. The file comes from anywhere, so no byte of it reaches the terminal unseen. */
#include "core/checkpoint_inside.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

enum { NAME_COLUMN = 48, RECIPE_CAP = 1 << 24 };

/* Text as it stands, but for control characters other than a newline. */
static void put_text(FILE *out, const char *text) {
    for (; *text; text++) fputc(*text != '\n' && iscntrl((unsigned char)*text) ? '?' : *text, out);
}

static void show_tensors(const Weights *f, FILE *out) {
    for (int64_t i = 0; i < weights_count(f); i++) {
        const SafeEntry *x = weights_at(f, i);
        char name[SAFE_NAME_TEXT], text[224];
        safe_name_text(x->name, name);
        name[strlen(name) - 1] = '\0'; /* without the quotes */
        fprintf(out, "  %-*s  %s\n", NAME_COLUMN, name + 1, safe_entry_text(x, text));
    }
}

static void show_metadata(const SafeFile *f, FILE *out) {
    if (!f) return;
    char key[SAFE_NAME_TEXT], value[SAFE_NAME_TEXT];
    for (int i = 0; i < safe_meta_count(f); i++) {
        const SafeMeta *m = safe_meta_at(f, i);
        fprintf(out, "  metadata %s = %s\n", safe_name_text(m->key, key), safe_name_text(m->value, value));
    }
}

/* The header line of a file, and with `list` every tensor. `own`: it lies in a checkpoint. */
static bool show_weights(const char *path, bool own, bool list, FILE *out, Error *e) {
    Weights *f;
    int64_t elements = 0;
    if (!(own ? weights_open_safe : weights_open)(&f, path, e)) return false;
    for (int64_t i = 0; i < weights_count(f); i++) elements += safe_entry_count(weights_at(f, i));
    fprintf(out, "%s: %" PRId64 " tensors, %" PRId64 " %s\n", file_base(path), weights_count(f), elements,
            list ? "parameters" : "values");
    if (list) {
        show_metadata(weights_safe(f), out);
        show_tensors(f, out);
    }
    if (weights_ignored(f))
        fprintf(out, "  and %" PRId64 " tensors beside the model's, which are passed over\n",
                weights_ignored(f));
    weights_close(f);
    return true;
}

static bool show_file(const char *path, FILE *out, Error *e) {
    char sha256[HASH_TEXT], size[32];
    uint64_t bytes;
    if (!hash_file(path, sha256, &bytes, e)) return false;
    fprintf(out, "file        ");
    put_text(out, path);
    fprintf(out, "\nsize        %s (%" PRIu64 " bytes)\nsha256      %s\n", checkpoint_bytes_text(bytes, size),
            bytes, sha256);
    return show_weights(path, false, true, out, e);
}

static void show_state(const CheckpointState *s, FILE *out) {
    fprintf(out, "step        %" PRId64 " (epoch %" PRId64 ", seed %" PRId64 ")\nwritten by  ", s->step,
            s->epoch, s->seed);
    put_text(out, s->version);
    if (s->best_step >= 0) {
        fprintf(out, "\nbest        ");
        put_text(out, s->best_name);
        fprintf(out, " %.6g at step %" PRId64, s->best, s->best_step);
    }
    for (int i = 0; i < s->scalar_count; i++) {
        fprintf(out, i ? ", " : "\nscalars     ");
        put_text(out, s->scalar[i].name);
        fprintf(out, " %.6g", s->scalar[i].value);
    }
    fputc('\n', out);
}

/* The list of files, each checked. The first damage goes to *e; false if there was any. */
static bool show_files(const char *folder, const CheckpointFiles *files, FILE *out, Error *e) {
    bool whole = true;
    fprintf(out, "files\n");
    for (int i = 0; i < files->count; i++) {
        const CheckpointFile *row = &files->row[i];
        char size[32];
        Error now;
        bool ok = checkpoint_file_check(folder, row, false, &now);
        fprintf(out, "  %-22s  %8s  sha256 %s  %s\n", row->name, checkpoint_bytes_text(row->size, size),
                row->sha256, ok ? "whole" : "DAMAGED");
        if (!ok && whole) *e = now;
        whole = whole && ok;
    }
    return whole;
}

static bool show_recipe(const char *folder, FILE *out, Error *e) {
    char path[FILE_PATH], *text;
    size_t size;
    if (!file_join(path, sizeof path, folder, "recipe.json", e) ||
        !file_read(path, RECIPE_CAP, &text, &size, e))
        return false;
    fprintf(out, "recipe\n");
    put_text(out, text);
    if (size == 0 || text[size - 1] != '\n') fputc('\n', out);
    mem_free(text);
    return true;
}

static bool show_folder(const char *folder, FILE *out, Error *e) {
    CheckpointFiles files;
    CheckpointState state;
    char path[FILE_PATH];
    fprintf(out, "checkpoint  ");
    put_text(out, folder);
    fputc('\n', out);
    if (!checkpoint_files_load(&files, folder, e)) return false;
    Error now;
    bool stated = checkpoint_state_load(&state, folder, &now);
    if (stated) show_state(&state, out);
    bool whole = show_files(folder, &files, out, e);
    if (!stated && whole) *e = now;
    whole = whole && stated;
    for (int i = 0; i < CHECKPOINT_PARTS; i++) {
        if (!checkpoint_files_find(&files, checkpoint_part_file[i])) continue;
        bool ok = file_join(path, sizeof path, folder, checkpoint_part_file[i], &now) &&
                  show_weights(path, true, i == CHECKPOINT_MODEL, out, &now);
        if (!ok && whole) *e = now;
        whole = whole && ok;
    }
    bool ok = show_recipe(folder, out, &now);
    if (!ok && whole) *e = now;
    return whole && ok;
}

bool checkpoint_describe(const char *path, FILE *out, Error *e) {
    CheckpointPlace place;
    char where[FILE_PATH], folder[FILE_PATH], name[24];
    if (!checkpoint_place(path, &place, where, e)) return false;
    if (place == PLACE_FILE) return show_file(where, out, e);
    if (place == PLACE_ONE) return show_folder(where, out, e);
    int64_t *steps, count;
    if (!checkpoint_candidates(where, &steps, &count, e)) return false;
    int64_t first = count ? steps[0] : -1;
    fprintf(out, "checkpoints");
    for (int64_t i = 0; i < count; i++) fprintf(out, " %" PRId64, steps[i]);
    int64_t best = checkpoint_link_step(where, "best");
    fprintf(out, "; last %" PRId64, checkpoint_link_step(where, "last"));
    if (best >= 0) fprintf(out, "; best %" PRId64, best);
    putc('\n', out);
    mem_free(steps);
    snprintf(name, sizeof name, "%" PRId64, first);
    return file_join(folder, sizeof folder, where, name, e) && show_folder(folder, out, e);
}
