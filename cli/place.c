#include "cli/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of a real path; the top stays. */
static void up(char *path) {
    char *slash = strrchr(path, '/');
    if (slash) slash[slash == path] = '\0';
}

static bool holds(const char *folder, const char *name) {
    char path[FILE_PATH];
    Error ignored;
    return file_join(path, sizeof path, folder, name, &ignored) && file_kind(path) != FILE_NONE;
}

/* Where a path leads that need not be there yet: word by word, since "new/../link/x" may pass through what is
 * not there and come back to what is. */
static bool lead(const char *path, char real[FILE_PATH], Error *e) {
    char word[FILE_PATH], next[FILE_PATH];
    if (!realpath(path[0] == '/' ? "/" : ".", real))
        return error_set(e, ERROR_IO, "the folder that this was started in is gone");
    for (const char *at = path; *at;) {
        size_t n = strcspn(at, "/");
        if (n >= sizeof word) return error_set(e, ERROR_LIMIT, "%.200s...: the path is too long", path);
        snprintf(word, sizeof word, "%.*s", (int)n, at);
        at += n + (at[n] == '/');
        if (!strcmp(word, "..")) up(real);
        if (!word[0] || !strcmp(word, ".") || !strcmp(word, "..")) continue;
        if (!file_join(next, sizeof next, real, word, e)) return false;
        if (!realpath(next, real)) memcpy(real, next, sizeof next);
    }
    return true;
}

/* The folder that must stay as it is: the run, a checkpoint that is in none; false: a file by itself. */
static bool run_of(const char *input, char run[FILE_PATH]) {
    char above[FILE_PATH];
    if (!realpath(input, run)) return false;
    bool file = file_kind(run) != FILE_FOLDER;
    if (file) up(run);
    if (!holds(run, "state.json")) return !file || holds(run, "checkpoints");
    memcpy(above, run, sizeof above);
    up(above);
    bool inside = !strcmp(file_base(above), "checkpoints"); /* RUN/checkpoints/STEP */
    up(above);
    if (inside && holds(above, "recipe.json")) memcpy(run, above, sizeof above);
    return true;
}

bool place_apart(const char *out, const char *input, Error *e) {
    char real[FILE_PATH], run[FILE_PATH];
    if (!run_of(input, run)) return true;
    if (!lead(out, real, e)) return false;
    size_t n = strlen(run);
    if (strncmp(real, run, n) != 0 || (real[n] && real[n] != '/')) return true;
    return error_set(e, ERROR_VALUE, "%s: lies inside %s, which stays as it is; give another --out", out,
                     input);
}

bool place_apart_all(const char *out, const OptionList *inputs, Error *e) {
    bool fine = true;
    for (int i = 0; i < inputs->count && fine; i++) fine = place_apart(out, inputs->item[i], e);
    return fine;
}

/* NAME, or NAME.PID.tmp, on its way into place. */
static bool is_of(const char *file, const char *name) {
    size_t n = strlen(name);
    if (strncmp(file, name, n) != 0) return false;
    if (!file[n]) return true;
    if (file[n] != '.') return false;
    size_t digits = strspn(file + n + 1, "0123456789");
    return digits > 0 && !strcmp(file + n + 1 + digits, ".tmp");
}

bool place_ours(const char *out, const char *const *names, Error *e) {
    FileList list;
    FileKind kind = file_kind(out);
    if (kind == FILE_NONE) return true;
    if (kind != FILE_FOLDER)
        return error_set(e, ERROR_VALUE, "%s: is there already; give another --out", out);
    if (!file_list_open(&list, out, e)) return false;
    bool fine = true;
    for (int64_t i = 0; i < list.count && fine; i++) {
        bool ours = false;
        for (int k = 0; names[k]; k++) ours |= is_of(list.name[i], names[k]);
        fine = ours || error_set(e, ERROR_VALUE, "%s: is there already, and holds %s; give another --out",
                                 out, list.name[i]);
    }
    file_list_close(&list);
    return fine;
}
