#define _GNU_SOURCE
#include "core/checkpoint_inside.h"
#include "core/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXT_ROOM = 1 << 16, TEXT_CAP = 1 << 20 };

const char *const checkpoint_part_file[CHECKPOINT_PARTS] = {
    [CHECKPOINT_MODEL] = "model.safetensors",
    [CHECKPOINT_OPTIMIZER] = "optimizer.safetensors",
    [CHECKPOINT_EMA] = "ema.safetensors",
};

/* Ends a text that a JsonWriter made: a newline, and the check that it had room. */
static char *finish(char *text, JsonWriter *w, Error *e) {
    if (!w->full && w->used + 2 <= w->size) {
        memcpy(text + w->used, "\n", 2);
        return text;
    }
    mem_free(text);
    error_set(e, ERROR_LIMIT, "the checkpoint's state takes more than %d bytes", TEXT_ROOM);
    return NULL;
}

static char *text_room(Error *e) {
    char *text = mem_get(TEXT_ROOM);
    if (!text) error_memory(e, TEXT_ROOM);
    return text;
}

char *checkpoint_files_text(const CheckpointFiles *files, Error *e) {
    char *text = text_room(e);
    if (!text) return NULL;
    JsonWriter w = json_writer(text, TEXT_ROOM, 2);
    json_put_open(&w, NULL, '{');
    json_put_int(&w, "format", CHECKPOINT_FORMAT);
    json_put_open(&w, "files", '{');
    for (int i = 0; i < files->count; i++) {
        json_put_open(&w, files->row[i].name, '{');
        json_put_int(&w, "size", (int64_t)files->row[i].size);
        json_put_text(&w, "sha256", files->row[i].sha256);
        json_put_close(&w, '}');
    }
    json_put_close(&w, '}');
    json_put_close(&w, '}');
    return finish(text, &w, e);
}

char *checkpoint_state_text(const CheckpointState *s, Error *e) {
    char *text = text_room(e);
    if (!text) return NULL;
    JsonWriter w = json_writer(text, TEXT_ROOM, 2);
    json_put_open(&w, NULL, '{');
    json_put_int(&w, "format", CHECKPOINT_FORMAT);
    json_put_text(&w, "version", s->version);
    json_put_int(&w, "step", s->step);
    json_put_int(&w, "epoch", s->epoch);
    json_put_int(&w, "seed", s->seed);
    json_put_text(&w, "recipe_sha256", s->recipe_sha256);
    json_put_open(&w, "best", '{');
    json_put_text(&w, "name", s->best_name);
    json_put_real(&w, "value", s->best);
    json_put_int(&w, "step", s->best_step);
    json_put_close(&w, '}');
    json_put_open(&w, "scalars", '{');
    for (int i = 0; i < s->scalar_count; i++) json_put_real(&w, s->scalar[i].name, s->scalar[i].value);
    json_put_close(&w, '}');
    json_put_close(&w, '}');
    return finish(text, &w, e);
}

/* ------------------------------------------------------------------------------------------- reading --- */

/* Opens FOLDER/name and checks its format number. */
static bool load(JsonFile **out, const char *folder, const char *name, Error *e) {
    char path[FILE_PATH];
    int64_t format;
    *out = NULL;
    if (!file_join(path, sizeof path, folder, name, e) || !json_load(out, path, TEXT_CAP, e)) return false;
    Json root = json_root(*out);
    if (json_expect(root, JSON_OBJECT, e) &&
        json_int(json_get(root, "format"), 1, CHECKPOINT_FORMAT, &format, e))
        return true;
    json_close(*out);
    *out = NULL;
    return false;
}

static bool plain_name(const char *name) {
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t n = strspn(name, good);
    return n > 0 && name[n] == '\0' && n < CHECKPOINT_NAME && name[0] != '.';
}

static bool read_row(Json j, CheckpointFile *row, Error *e) {
    const char *hash;
    int64_t size;
    if (!plain_name(json_key(j))) return json_error(j, e, "no plain file name");
    if (!json_int(json_get(j, "size"), 0, JSON_MAX_INT, &size, e) ||
        !json_text(json_get(j, "sha256"), &hash, e))
        return false;
    if (!hash_is_text(hash)) return json_error(json_get(j, "sha256"), e, "not 64 lower-case hex digits");
    memcpy(row->name, json_key(j), strlen(json_key(j)) + 1);
    memcpy(row->sha256, hash, HASH_TEXT);
    row->size = (uint64_t)size;
    return true;
}

bool checkpoint_files_load(CheckpointFiles *out, const char *folder, Error *e) {
    static const char *const needed[] = {"model.safetensors", "state.json", "recipe.json"};
    JsonFile *f;
    bool ok = false;
    out->count = 0;
    if (!load(&f, folder, "files.json", e)) return false;
    Json list = json_get(json_root(f), "files");
    if (!json_expect(list, JSON_OBJECT, e)) goto out;
    for (Json j = json_first(list); json_exists(j); j = json_next(j)) {
        if (out->count == CHECKPOINT_FILES) {
            json_error(j, e, "more than %d files", CHECKPOINT_FILES);
            goto out;
        }
        if (!json_expect(j, JSON_OBJECT, e) || !read_row(j, &out->row[out->count], e)) goto out;
        out->count++;
    }
    for (int i = 0; i < COUNT(needed); i++)
        if (!checkpoint_files_find(out, needed[i])) {
            json_error(list, e, "%s is not listed", needed[i]);
            goto out;
        }
    ok = true;
out:
    json_close(f);
    return ok;
}

const CheckpointFile *checkpoint_files_find(const CheckpointFiles *files, const char *name) {
    for (int i = 0; i < files->count; i++)
        if (strcmp(files->row[i].name, name) == 0) return &files->row[i];
    return NULL;
}

static bool read_name(Json j, char out[CHECKPOINT_NAME], Error *e) {
    const char *text;
    if (!json_text(j, &text, e)) return false;
    if (strlen(text) >= CHECKPOINT_NAME) return json_error(j, e, "longer than %d bytes", CHECKPOINT_NAME - 1);
    memcpy(out, text, strlen(text) + 1);
    return true;
}

/* What is not finite was written as null. */
static bool read_real(Json j, double *out, Error *e) {
    *out = (double)NAN;
    return json_type(j) == JSON_NULL || json_number(j, -HUGE_VAL, HUGE_VAL, out, e);
}

static bool read_scalars(Json list, CheckpointState *s, Error *e) {
    if (!json_expect(list, JSON_OBJECT, e)) return false;
    for (Json j = json_first(list); json_exists(j); j = json_next(j)) {
        if (s->scalar_count == CHECKPOINT_SCALARS)
            return json_error(j, e, "more than %d", CHECKPOINT_SCALARS);
        CheckpointScalar *x = &s->scalar[s->scalar_count++];
        if (strlen(json_key(j)) >= sizeof x->name) return json_error(j, e, "a name too long");
        memcpy(x->name, json_key(j), strlen(json_key(j)) + 1);
        if (!read_real(j, &x->value, e)) return false;
    }
    return true;
}

bool checkpoint_state_load(CheckpointState *s, const char *folder, Error *e) {
    JsonFile *f;
    const char *hash;
    *s = (CheckpointState){0};
    if (!load(&f, folder, "state.json", e)) return false;
    Json root = json_root(f), best = json_get(root, "best");
    bool ok = read_name(json_get(root, "version"), s->version, e) &&
              json_int(json_get(root, "step"), 0, JSON_MAX_INT, &s->step, e) &&
              json_int(json_get(root, "epoch"), 0, JSON_MAX_INT, &s->epoch, e) &&
              json_int(json_get(root, "seed"), 0, JSON_MAX_INT, &s->seed, e) &&
              json_text(json_get(root, "recipe_sha256"), &hash, e) && json_expect(best, JSON_OBJECT, e) &&
              read_name(json_get(best, "name"), s->best_name, e) &&
              read_real(json_get(best, "value"), &s->best, e) &&
              json_int(json_get(best, "step"), -1, JSON_MAX_INT, &s->best_step, e) &&
              read_scalars(json_get(root, "scalars"), s, e);
    if (ok && !hash_is_text(hash))
        ok = json_error(json_get(root, "recipe_sha256"), e, "not 64 lower-case hex digits");
    if (ok) memcpy(s->recipe_sha256, hash, HASH_TEXT);
    json_close(f);
    return ok;
}

const double *checkpoint_scalar(const CheckpointState *s, const char *name) {
    for (int i = 0; i < s->scalar_count; i++)
        if (strcmp(s->scalar[i].name, name) == 0) return &s->scalar[i].value;
    return NULL;
}

/* Drops what the kernel remembers of a file, so that the next read asks the disk. Only a wish. */
static void forget_cache(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
}

bool checkpoint_file_check(const char *folder, const CheckpointFile *row, bool fresh, Error *e) {
    char path[FILE_PATH], sha256[HASH_TEXT];
    struct stat info;
    uint64_t size;
    if (!file_join(path, sizeof path, folder, row->name, e)) return false;
    if (stat(path, &info) != 0) return file_error(e, path, "open", errno);
    if (S_ISREG(info.st_mode) && (uint64_t)info.st_size != row->size)
        return error_set(e, ERROR_FORMAT,
                         "%s: has %" PRIu64 " bytes, %" PRIu64 " were written: it is damaged", path,
                         (uint64_t)info.st_size, row->size);
    if (fresh) forget_cache(path);
    if (!hash_file(path, sha256, &size, e)) return false;
    if (size == row->size && strcmp(sha256, row->sha256) == 0) return true;
    return error_set(e, ERROR_FORMAT, "%s: its SHA-256 is %s, but files.json says %s: it is damaged", path,
                     sha256, row->sha256);
}

/* ------------------------------------------------------------------------------------ steps and links --- */

int64_t checkpoint_step_of(const char *name) {
    size_t n = strspn(name, "0123456789");
    if (n == 0 || name[n] != '\0' || n > 15 || (n > 1 && name[0] == '0')) return -1;
    return (int64_t)strtoll(name, NULL, 10);
}

int64_t checkpoint_link_step(const char *folder, const char *link) {
    char path[FILE_PATH], target[CHECKPOINT_NAME];
    Error ignored;
    if (!file_join(path, sizeof path, folder, link, &ignored)) return -1;
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n <= 0) return -1;
    target[n] = '\0';
    return checkpoint_step_of(target);
}

static int compare_steps(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

bool checkpoint_steps(const char *folder, int64_t **steps, int64_t *count, Error *e) {
    FileList list;
    *steps = NULL;
    *count = 0;
    if (!file_list_open(&list, folder, e)) return false;
    size_t bytes = (size_t)list.count * sizeof **steps;
    *steps = mem_get(bytes);
    if (!*steps) error_memory(e, bytes);
    for (int64_t i = 0; *steps && i < list.count; i++) {
        int64_t step = checkpoint_step_of(list.name[i]);
        if (step >= 0) (*steps)[(*count)++] = step;
    }
    if (*count) qsort(*steps, (size_t)*count, sizeof **steps, compare_steps);
    file_list_close(&list);
    return *steps != NULL;
}

const char *checkpoint_bytes_text(uint64_t bytes, char buffer[32]) {
    static const char *const unit[] = {"bytes", "kB", "MB", "GB", "TB", "PB", "EB"};
    double x = (double)bytes;
    int u = 0;
    for (; x >= 999.5 && u + 1 < COUNT(unit); u++) x /= 1000;
    snprintf(buffer, 32, u == 0 ? "%.0f %s" : "%.3g %s", x, unit[u]);
    return buffer;
}
