#include "cli/unlearn_output.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* "a/b/" is "a/b". */
static bool names_make(Output *o, const char *out, Error *e) {
    size_t n = strlen(out);
    while (n > 1 && out[n - 1] == '/') n--;
    int a = snprintf(o->folder, sizeof o->folder, "%.*s", (int)n, out),
        b = snprintf(o->partial, sizeof o->partial, "%.*s.partial", (int)n, out);
    if (n > 0 && a > 0 && b > 0 && (size_t)a < sizeof o->folder && (size_t)b < sizeof o->partial) return true;
    return error_set(e, ERROR_LIMIT, "--out %.100s: the path is empty or too long", out);
}

/* Is this name one that a run leaves which was killed? */
static bool is_ours(const char *name) {
    static const char *const known[] = {"audit.json",  "certificate.json", "checkpoints",
                                        "events.out.", "manifest.jsonl",   "metrics.jsonl",
                                        "recipe.json", "report.html",      "." /* on its way into place */};
    for (int i = 0; i < COUNT(known); i++)
        if (strncmp(name, known[i], strlen(known[i])) == 0) return true;
    return false;
}

/* What a killed run left goes; what it cannot have left is somebody's. */
static bool clear(const char *folder, Error *e) {
    FileList list;
    char path[FILE_PATH];
    if (!file_list_open(&list, folder, e)) return false;
    bool fine = true;
    for (int64_t i = 0; i < list.count && fine; i++)
        fine = is_ours(list.name[i]) ||
               error_set(e, ERROR_VALUE, "%s: holds %s, which is not of unlearning; give another --out",
                         folder, list.name[i]);
    for (int64_t i = 0; i < list.count && fine; i++)
        fine = file_join(path, sizeof path, folder, list.name[i], e) && file_remove_tree(path, e);
    file_list_close(&list);
    return fine;
}

/* Beside OUT a kill leaves private files under names for the time being: they go, also where the next run
 * writes none of its own. What has its lasting name is replaced at the end, or stays. */
static bool is_ours_beside(const char *name, const char *out) {
    static const char *const known[] = {".opening.json", ".report.html"};
    size_t n = strlen(out);
    if (strncmp(name, out, n) != 0) return false;
    for (int i = 0; i < COUNT(known); i++) {
        size_t k = strlen(known[i]);
        if (strncmp(name + n, known[i], k) != 0 || strncmp(name + n + k, ".partial", 8) != 0) continue;
        const char *rest = name + n + k + 8; /* or .PID.tmp, on its way to that name */
        size_t digits = rest[0] == '.' ? strspn(rest + 1, "0123456789") : 0;
        if (!rest[0] || (digits && !strcmp(rest + 1 + digits, ".tmp"))) return true;
    }
    return false;
}

static void parent_of(const char *folder, char parent[FILE_PATH]) {
    size_t n = (size_t)(file_base(folder) - folder);
    snprintf(parent, FILE_PATH, "%.*s", n ? (int)n : 1, n ? folder : ".");
}

static bool beside_clear(const char *out, Error *e) {
    FileList list;
    char parent[FILE_PATH], path[FILE_PATH];
    parent_of(out, parent);
    if (!file_list_open(&list, parent, e)) return false;
    bool fine = true;
    for (int64_t i = 0; i < list.count && fine; i++)
        if (is_ours_beside(list.name[i], file_base(out)))
            fine = file_join(path, sizeof path, parent, list.name[i], e) && file_remove_tree(path, e);
    file_list_close(&list);
    return fine;
}

/* Was the folder renamed or removed between our opening it and our lock? */
static bool lock_stale(const Output *o) {
    struct stat mine, there;
    return fstat(o->lock, &mine) != 0 || stat(o->partial, &there) != 0 || mine.st_ino != there.st_ino ||
           mine.st_dev != there.st_dev;
}

bool output_open(Output *o, const char *out, Error *e) {
    *o = (Output){.lock = -1};
    if (!names_make(o, out, e)) return false;
    if (file_kind_link(o->folder) != FILE_NONE)
        return error_set(e, ERROR_VALUE, "%s: is there already; give another --out", o->folder);
    if (!file_make_folder(o->partial, e)) return false;
    o->lock = open(o->partial, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (o->lock < 0) return file_error(e, o->partial, "open", errno);
    if (flock(o->lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        close(o->lock);
        o->lock = -1; /* it is not ours to remove */
        return error_set(e, ERROR_STATE, "%s: another process writes to it", o->partial);
    }
    if (lock_stale(o)) { /* who had it is through: what stands there now is not what was locked */
        close(o->lock);
        o->lock = -1;
        return error_set(e, ERROR_STATE, "%s: another process has just written to it", o->folder);
    }
    if (clear(o->partial, e) && beside_clear(o->folder, e)) return true;
    close(o->lock);
    o->lock = -1; /* it stays as it is */
    return false;
}

/* ---- the checkpoint ---- */

typedef struct Lines {
    const Manifest *m;
    const int64_t *line; /* of each retained sample */
} Lines;

static bool describe(void *self, int64_t i, char *line, size_t size, Error *e) {
    const Lines *l = self;
    const ManifestLine *from = &l->m->line[l->line[i]];
    if (strlen(from->text) >= size) return error_set(e, ERROR_LIMIT, "%s: a line is too long", l->m->name);
    memcpy(line, from->text, strlen(from->text) + 1);
    return true;
}

static bool save(const Output *o, World *w, const Lines *lines, int64_t count, Error *e) {
    Task *task = &w->setup.task;
    const Params *p = &task->params;
    const CheckpointState *old = checkpoint_state(w->checkpoint);
    CheckpointStore *store = NULL;
    CheckpointSaved saved;
    NamedTensor *list = mem_get((size_t)p->count * sizeof *list);
    if (!list) return error_memory(e, (size_t)p->count * sizeof *list);
    for (int i = 0; i < p->count; i++) list[i] = (NamedTensor){p->list[i]->name, &p->host[i]};
    const CheckpointSettings set = {.run = o->partial,
                                    .recipe = w->setup.text,
                                    .keep = 1,
                                    .describe = describe,
                                    .self = (void *)lines,
                                    .samples = count,
                                    .class_name = task->class_name,
                                    .names = task->classes ? task->names : 0};
    const CheckpointState state = {.step = old ? old->step : 0,
                                   .epoch = old ? old->epoch : 0,
                                   .seed = w->setup.run.seed,
                                   .best_step = -1};
    const CheckpointContents contents = {.state = &state, .part[CHECKPOINT_MODEL] = {list, p->count}};
    bool fine = checkpoint_store_open(&store, &set, e) && checkpoint_store_save(store, &contents, &saved, e);
    checkpoint_store_close(store);
    mem_free(list);
    return fine;
}

bool output_checkpoint(const Output *o, World *w, Error *e) {
    char path[FILE_PATH];
    int64_t n = 0, *line = mem_get((size_t)w->manifest->count * sizeof *line);
    if (!line) return error_memory(e, (size_t)w->manifest->count * sizeof *line);
    for (int64_t i = 0; i < w->manifest->count; i++)
        if (!w->request.forget[i]) line[n++] = i;
    const Lines lines = {w->manifest, line};
    bool fine = save(o, w, &lines, n, e) && file_join(path, sizeof path, o->partial, "recipe.json", e) &&
                file_write(path, w->setup.text, strlen(w->setup.text), e);
    mem_free(line);
    return fine;
}

bool output_model(const Output *o, const World *w, char path[FILE_PATH], Error *e) {
    char inside[100];
    const CheckpointState *old = checkpoint_state(w->checkpoint);
    snprintf(inside, sizeof inside, "checkpoints/%" PRId64 "/model.safetensors", old ? old->step : 0);
    return file_join(path, FILE_PATH, o->partial, inside, e);
}

/* ---- the page beside it ---- */

bool output_page(const Output *o, bool partial, char path[FILE_PATH], Error *e) {
    int n = snprintf(path, FILE_PATH, "%s.report.html%s", o->folder, partial ? ".partial" : "");
    if (n > 0 && n < FILE_PATH) return true;
    return error_set(e, ERROR_LIMIT, "%s: the path is too long", o->folder);
}

bool output_page_finish(const Output *o, Error *e) {
    char partial[FILE_PATH], whole[FILE_PATH];
    if (!output_page(o, true, partial, e) || !output_page(o, false, whole, e)) return false;
    return rename(partial, whole) == 0 || file_error(e, whole, "write", errno);
}

void output_page_drop(const Output *o, bool partial) {
    char path[FILE_PATH];
    Error ignored;
    if (output_page(o, partial, path, &ignored)) unlink(path);
}

/* ---- the end ---- */

static bool parent_sync(const char *folder, Error *e) {
    char parent[FILE_PATH];
    parent_of(folder, parent);
    return file_sync_folder(parent, e);
}

bool output_free(Output *o, Error *e) {
    if (file_kind_link(o->folder) == FILE_NONE) return true;
    close(o->lock);
    o->lock = -1;
    return error_set(e, ERROR_VALUE, "%s: somebody made it meanwhile; what was made stands in %s", o->folder,
                     o->partial);
}

bool output_finish(Output *o, Error *e) {
    if (!file_sync_folder(o->partial, e) || !output_free(o, e)) return false;
    if (rename(o->partial, o->folder) != 0) return file_error(e, o->folder, "make", errno);
    close(o->lock);
    o->lock = -1;
    return parent_sync(o->folder, e);
}

void output_close(Output *o) {
    Error ignored;
    if (o->lock < 0) return;
    file_remove_tree(o->partial, &ignored);
    close(o->lock);
    o->lock = -1;
}
