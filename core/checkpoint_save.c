#define _GNU_SOURCE
#include "core/checkpoint_inside.h"
#include "core/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct CheckpointStore {
    char run[FILE_PATH], folder[FILE_PATH]; /* folder: RUN/checkpoints */
    int fd;                                 /* of folder: holds the lock, and names are relative to it */
    int keep;
    char *recipe, *classes; /* classes: a JSON list of names; NULL: has none */
    char recipe_sha256[HASH_TEXT];
    bool has_manifest;
    CheckpointFile manifest;
};

/* One saving under way. */
typedef struct Saving {
    CheckpointStore *store;
    const CheckpointContents *contents;
    char step[24], temp[64]; /* names in the checkpoints folder: "40", ".40.tmp.1234" */
    char path[FILE_PATH];    /* of temp */
    CheckpointFiles files;
    int code;        /* errno of what failed; 0: no system call did */
    uint64_t wanted; /* bytes */
} Saving;

/* -------------------------------------------------------------------------------------------- opening --- */

/* ".40.tmp.1234", ".40.old.1234", ".last.tmp.1234": what this file makes, and nothing a user would. */
static bool is_leftover(const char *name) {
    if (name[0] != '.') return false;
    const char *dot = strchr(name + 1, '.');
    char stem[24];
    size_t n = dot ? (size_t)(dot - name - 1) : 0;
    if (n == 0 || n >= sizeof stem) return false;
    memcpy(stem, name + 1, n);
    stem[n] = '\0';
    if (checkpoint_step_of(stem) < 0 && strcmp(stem, "last") != 0 && strcmp(stem, "best") != 0) return false;
    if (strncmp(dot, ".tmp.", 5) != 0 && strncmp(dot, ".old.", 5) != 0) return false;
    return dot[5] != '\0' && strspn(dot + 5, "0123456789") == strlen(dot + 5);
}

static bool remove_leftovers(const CheckpointStore *s, Error *e) {
    FileList list;
    char path[FILE_PATH];
    bool ok = true;
    if (!file_list_open(&list, s->folder, e)) return false;
    for (int64_t i = 0; ok && i < list.count; i++)
        if (is_leftover(list.name[i]))
            ok = file_join(path, sizeof path, s->folder, list.name[i], e) && file_remove_tree(path, e);
    file_list_close(&list);
    return ok;
}

/* The lock is the kernel's: it ends with the process, however that ends. Where a file system has no locks
 * (some network ones), we go without. */
static bool lock(CheckpointStore *s, Error *e) {
    s->fd = open(s->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->fd < 0) return file_error(e, s->folder, "open", errno);
    if (flock(s->fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return true;
    return error_set(e, ERROR_STATE,
                     "%s: another process is writing checkpoints here; wait for it or use another --out",
                     s->folder);
}

static bool refuse_if_used(const CheckpointStore *s, Error *e) {
    int64_t *steps, count;
    if (!checkpoint_steps(s->folder, &steps, &count, e)) return false;
    int64_t newest = count ? steps[count - 1] : -1;
    mem_free(steps);
    if (newest < 0) return true;
    return error_set(e, ERROR_STATE,
                     "%s: has checkpoints already, up to step %" PRId64
                     "; go on with --resume, or use another --out",
                     s->run, newest);
}

bool checkpoint_store_open(CheckpointStore **out, const CheckpointSettings *settings, Error *e) {
    char above[FILE_PATH];
    Error ignored;
    *out = NULL;
    CheckpointStore *s = mem_zero(1, sizeof *s);
    if (!s) return error_memory(e, sizeof *s);
    s->fd = -1;
    s->keep = settings->keep;
    if (!file_join(s->run, sizeof s->run, "", settings->run, e) ||
        !file_join(s->folder, sizeof s->folder, settings->run, "checkpoints", e) ||
        !file_make_folder(s->folder, e) || !file_sync_folder(s->run, e) || !lock(s, e) ||
        (!settings->resume && !refuse_if_used(s, e)) || !remove_leftovers(s, e))
        goto fail;
    /* The run's own name, too, should outlive a power cut; but its parent may be closed to us. */
    if (file_join(above, sizeof above, s->run, "..", e)) file_sync_folder(above, &ignored);
    s->recipe = mem_string(settings->recipe);
    if (!s->recipe) {
        error_memory(e, strlen(settings->recipe) + 1);
        goto fail;
    }
    if (!hash_bytes(s->recipe, strlen(s->recipe), s->recipe_sha256, e)) goto fail;
    if (!checkpoint_classes_text(&s->classes, settings->class_name, settings->names, e)) goto fail;
    s->has_manifest = settings->describe != NULL;
    if (s->has_manifest && !checkpoint_manifest_prepare(settings, &s->manifest, e)) goto fail;
    *out = s;
    return true;
fail:
    checkpoint_store_close(s);
    return false;
}

void checkpoint_store_close(CheckpointStore *s) {
    if (!s) return;
    if (s->fd >= 0) close(s->fd);
    mem_free(s->recipe);
    mem_free(s->classes);
    mem_free(s);
}

/* ---------------------------------------------------------------------------------------------- files --- */

/* Fails with what errno says. */
static bool failed(Saving *s, const char *path, const char *verb, Error *e) {
    s->code = errno;
    return file_error(e, path, verb, s->code);
}

static bool list_file(Saving *s, const char *name, uint64_t size, const char *sha256, Error *e) {
    if (s->files.count == CHECKPOINT_FILES)
        return error_set(e, ERROR_LIMIT, "too many files in a checkpoint");
    CheckpointFile *row = &s->files.row[s->files.count++];
    snprintf(row->name, sizeof row->name, "%s", name);
    memcpy(row->sha256, sha256, HASH_TEXT);
    row->size = size;
    return true;
}

/* Ends a file whose putting went as `ok` says, and lists it. */
static bool end_file(Saving *s, Sink *sink, const char *name, bool ok, Error *e) {
    char sha256[HASH_TEXT];
    uint64_t size = sink->size;
    ok = ok && sink_finish(sink, sha256, e);
    sink_drop(sink);
    if (!ok) s->code = sink->code;
    return ok && list_file(s, name, size, sha256, e);
}

static bool put_file(Saving *s, const char *name, const char *text, Error *e) {
    char path[FILE_PATH];
    Sink sink = SINK_NONE;
    if (!file_join(path, sizeof path, s->path, name, e)) return false;
    bool ok = sink_open(&sink, path, e) && sink_put(&sink, text, strlen(text), e);
    return end_file(s, &sink, name, ok, e);
}

static bool put_tensors(Saving *s, CheckpointPart part, Error *e) {
    const SafeMeta meta[] = {{"format", "pt"}, /* transformers asks for it */
                             {CHECKPOINT_CLASSES, s->store->classes}};
    int metas = part == CHECKPOINT_OPTIMIZER || !s->store->classes ? 1 : 2;
    const NamedTensors *from = &s->contents->part[part];
    char path[FILE_PATH];
    Sink sink = SINK_NONE;
    size_t bytes = (size_t)from->count * sizeof(SafeItem);
    if (!file_join(path, sizeof path, s->path, checkpoint_part_file[part], e)) return false;
    SafeItem *item = mem_get(bytes);
    if (!item) return error_memory(e, bytes);
    for (int64_t i = 0; i < from->count; i++) item[i] = safe_item(from->list[i].name, from->list[i].tensor);
    bool ok = sink_open(&sink, path, e) && safe_put(&sink, item, from->count, meta, metas, e);
    mem_free(item);
    return end_file(s, &sink, checkpoint_part_file[part], ok, e);
}

/* Every byte of one file into a new one. */
static bool copy_file(Saving *s, const char *from, const char *to, const char *name, Error *e) {
    Sink sink = SINK_NONE;
    bool ok = false;
    uint8_t piece[1 << 16];
    ssize_t got;
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return failed(s, from, "open", e);
    if (!sink_open(&sink, to, e)) goto out;
    while ((got = read(fd, piece, sizeof piece)) != 0) {
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            file_error(e, from, "read", errno);
            goto out;
        }
        if (!sink_put(&sink, piece, (size_t)got, e)) goto out;
    }
    ok = true;
out:
    close(fd);
    return end_file(s, &sink, name, ok, e);
}

/* A second name for the run's manifest; a copy where the file system has no hard links. */
static bool put_manifest(Saving *s, Error *e) {
    const CheckpointFile *row = &s->store->manifest;
    char from[FILE_PATH], to[FILE_PATH];
    if (!file_join(from, sizeof from, s->store->run, row->name, e) ||
        !file_join(to, sizeof to, s->path, row->name, e))
        return false;
    if (link(from, to) == 0) return list_file(s, row->name, row->size, row->sha256, e);
    if (errno == EPERM || errno == EOPNOTSUPP || errno == EMLINK || errno == EXDEV)
        return copy_file(s, from, to, row->name, e);
    return failed(s, to, "make", e);
}

static bool put_state(Saving *s, Error *e) {
    CheckpointState state = *s->contents->state;
    snprintf(state.version, sizeof state.version, "%s", LETHE_VERSION);
    memcpy(state.recipe_sha256, s->store->recipe_sha256, HASH_TEXT);
    char *text = checkpoint_state_text(&state, e);
    bool ok = text && put_file(s, "state.json", text, e) && put_file(s, "recipe.json", s->store->recipe, e);
    mem_free(text);
    return ok;
}

static bool sync_folder(Saving *s, const char *path, Error *e) {
    errno = 0;
    if (file_sync_folder(path, e)) return true;
    s->code = errno;
    return false;
}

/* The whole folder, durable under its temporary name. */
static bool write_folder(Saving *s, Error *e) {
    if (mkdirat(s->store->fd, s->temp, 0777) != 0) return failed(s, s->path, "make", e);
    for (int i = 0; i < CHECKPOINT_PARTS; i++)
        if (s->contents->part[i].count && !put_tensors(s, (CheckpointPart)i, e)) return false;
    if (!put_state(s, e) || (s->store->has_manifest && !put_manifest(s, e))) return false;
    char *text = checkpoint_files_text(&s->files, e);
    bool ok = text && put_file(s, "files.json", text, e);
    mem_free(text);
    return ok && sync_folder(s, s->path, e);
}

/* --------------------------------------------------------------------------------------------- moving --- */

/* Gives the folder its name. If that is taken, the two change places, and temp is then the old one. */
static bool move_folder(Saving *s, Error *e) {
    int fd = s->store->fd;
    if (renameat(fd, s->temp, fd, s->step) == 0) return true;
    if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR) return failed(s, s->path, "rename", e);
    if (renameat2(fd, s->temp, fd, s->step, RENAME_EXCHANGE) == 0) return true;
    if (errno != EINVAL && errno != ENOSYS) return failed(s, s->path, "rename", e);
    /* No exchange on this file system: for a moment the step is absent, but never half there. */
    char old[64];
    snprintf(old, sizeof old, ".%s.old.%ld", s->step, (long)getpid());
    if (renameat(fd, s->step, fd, old) != 0) return failed(s, s->path, "rename", e);
    if (renameat(fd, s->temp, fd, s->step) == 0) {
        renameat(fd, old, fd, s->temp); /* if not, the next start removes it as `old` */
        return true;
    }
    failed(s, s->path, "rename", e);
    renameat(fd, old, fd, s->step);
    return false;
}

/* Points `name` ("last", "best") at the step, by renaming a new link over it. */
static bool move_link(Saving *s, const char *name, Error *e) {
    int fd = s->store->fd;
    char temp[64], path[FILE_PATH];
    if (!file_join(path, sizeof path, s->store->folder, name, e)) return false;
    snprintf(temp, sizeof temp, ".%s.tmp.%ld", name, (long)getpid());
    unlinkat(fd, temp, 0);
    if (symlinkat(s->step, fd, temp) != 0) return failed(s, path, "make", e);
    if (renameat(fd, temp, fd, name) == 0) return true;
    failed(s, path, "replace", e);
    unlinkat(fd, temp, 0);
    return false;
}

/* A line for someone whose training goes on: what happened, and what there is to fall back on. */
static bool explain(const Saving *s, Error *e, bool placed) {
    char text[sizeof e->text], disk[160] = "", wanted[32], available[32];
    struct statvfs v;
    int64_t last = checkpoint_link_step(s->store->folder, "last");
    if ((s->code == ENOSPC || s->code == EDQUOT || s->code == EFBIG) && fstatvfs(s->store->fd, &v) == 0)
        snprintf(disk, sizeof disk, " (%s wanted, %s free)", checkpoint_bytes_text(s->wanted, wanted),
                 checkpoint_bytes_text((uint64_t)v.f_bavail * v.f_frsize, available));
    snprintf(text, sizeof text, "checkpoint %s was %s: %.560s%s; ", s->step,
             placed ? "written, but perhaps not for good" : "not written", e->text, disk);
    if (last < 0) return error_set(e, e->code, "%sthere is no earlier one", text);
    if (last == s->contents->state->step) return error_set(e, e->code, "%slast points at it", text);
    return error_set(e, e->code, "%sthe one of step %" PRId64 " stays usable", text, last);
}

/* ------------------------------------------------------------------------------------------- clearing --- */

/* Adds a sentence to the note. */
static void PRINTF_LIKE(2, 3) note(CheckpointSaved *saved, const char *format, ...) {
    size_t used = strlen(saved->note);
    va_list args;
    va_start(args, format);
    if (used + 2 < sizeof saved->note && used) used += (size_t)snprintf(saved->note + used, 3, "; ");
    vsnprintf(saved->note + used, sizeof saved->note - used, format, args);
    va_end(args);
}

/* Every file of the step, read from the disk. */
static bool verify(const Saving *s, int64_t step, Error *e) {
    char path[FILE_PATH], name[24];
    CheckpointFiles files;
    snprintf(name, sizeof name, "%" PRId64, step);
    if (!file_join(path, sizeof path, s->store->folder, name, e) || !checkpoint_files_load(&files, path, e))
        return false;
    for (int i = 0; i < files.count; i++)
        if (!checkpoint_file_check(path, &files.row[i], true, e)) return false;
    return true;
}

/* Renamed first, so that a killed removal leaves no half of a checkpoint under its name. */
static bool remove_step(const Saving *s, int64_t step, Error *e) {
    char name[24], old[64], path[FILE_PATH];
    snprintf(name, sizeof name, "%" PRId64, step);
    snprintf(old, sizeof old, ".%s.old.%ld", name, (long)getpid());
    if (!file_join(path, sizeof path, s->store->folder, old, e)) return false;
    if (renameat(s->store->fd, name, s->store->fd, old) != 0) return file_error(e, path, "rename", errno);
    return file_remove_tree(path, e);
}

/* Removes what `keep` does not cover. Steps after this one, of a run that was taken up again from an earlier
 * checkpoint, are left alone. Trouble here is no reason to call the saving failed: it is noted. */
static void prune(const Saving *s, CheckpointSaved *saved) {
    Error e;
    int64_t *steps, count, now = s->contents->state->step, seen = 0;
    int64_t best = checkpoint_link_step(s->store->folder, "best");
    if (s->store->keep <= 0) return;
    if (!checkpoint_steps(s->store->folder, &steps, &count, &e)) {
        note(saved, "old checkpoints were not removed: %s", e.text);
        return;
    }
    for (int64_t i = count - 1; i >= 0; i--) {
        if (steps[i] > now) continue;
        int64_t rank = seen++;
        if (rank < s->store->keep || steps[i] == best) continue;
        /* Of the newest two the older goes only when the newer can be read. */
        if (rank == 1 && !verify(s, now, &e)) {
            note(saved, "checkpoint %" PRId64 " is kept, since the new one does not read back: %s", steps[i],
                 e.text);
            break;
        }
        if (!remove_step(s, steps[i], &e))
            note(saved, "checkpoint %" PRId64 " was not removed: %s", steps[i], e.text);
    }
    mem_free(steps);
}

/* --------------------------------------------------------------------------------------------- saving --- */

static void check_contents(const CheckpointContents *c) {
    const CheckpointState *s = c->state;
    if (s->step < 0 || s->epoch < 0 || s->seed < 0 || s->seed > JSON_MAX_INT)
        die("checkpoint: step %" PRId64 ", epoch %" PRId64 ", seed %" PRId64, s->step, s->epoch, s->seed);
    if (c->part[CHECKPOINT_MODEL].count == 0) die("checkpoint: a model without tensors");
}

bool checkpoint_store_save(CheckpointStore *store, const CheckpointContents *contents, CheckpointSaved *saved,
                           Error *e) {
    Saving s = {.store = store, .contents = contents};
    Error ignored;
    check_contents(contents);
    *saved = (CheckpointSaved){0};
    snprintf(s.step, sizeof s.step, "%" PRId64, contents->state->step);
    snprintf(s.temp, sizeof s.temp, ".%s.tmp.%ld", s.step, (long)getpid());
    for (int i = 0; i < CHECKPOINT_PARTS; i++)
        for (int64_t k = 0; k < contents->part[i].count; k++)
            s.wanted += tensor_bytes(contents->part[i].list[k].tensor);
    if (!file_join(s.path, sizeof s.path, store->folder, s.temp, e) ||
        !file_join(saved->path, sizeof saved->path, store->folder, s.step, e) || !file_remove_tree(s.path, e))
        return explain(&s, e, false);
    if (!write_folder(&s, e) || !move_folder(&s, e)) {
        file_remove_tree(s.path, &ignored); /* if that fails too, the next start removes it */
        return explain(&s, e, false);
    }
    /* best first: a run resumed from `last` must find the best that its state speaks of */
    if (!sync_folder(&s, store->folder, e) || (contents->best && !move_link(&s, "best", e)) ||
        !move_link(&s, "last", e) || !sync_folder(&s, store->folder, e))
        return explain(&s, e, true);
    for (int i = 0; i < s.files.count; i++) saved->bytes += s.files.row[i].size;
    if (!file_remove_tree(s.path, e)) note(saved, "the replaced checkpoint was not removed: %s", e->text);
    prune(&s, saved);
    return true;
}
