/* The manifest is large and the same for every checkpoint of a run: it is written once. */
#include "core/checkpoint_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 16, SAMPLED = 64 };

static bool describe(const CheckpointSettings *s, int64_t i, char *line, Error *e) {
    if (!s->describe(s->self, i, line, CHECKPOINT_LINE, e)) return false;
    if (!strchr(line, '\n')) return true;
    return error_set(e, ERROR_VALUE, "manifest: the description of sample %" PRId64 " is not one line", i);
}

/* Beside, fsynced, renamed; readable only, because every checkpoint shares the one file. */
static bool write_manifest(const CheckpointSettings *s, const char *path, char *line, CheckpointFile *row,
                           Error *e) {
    char beside[FILE_PATH], name[CHECKPOINT_NAME];
    Sink sink = SINK_NONE;
    snprintf(name, sizeof name, ".manifest.jsonl.tmp.%ld", (long)getpid());
    if (!file_join(beside, sizeof beside, s->run, name, e)) return false;
    unlink(beside); /* the process number is ours, so what stands there was left by one that died */
    bool ok = sink_open(&sink, beside, e);
    for (int64_t i = 0; ok && i < s->samples; i++)
        ok = describe(s, i, line, e) && sink_put(&sink, line, strlen(line), e) && sink_put(&sink, "\n", 1, e);
    if (ok && fchmod(sink.fd, 0444) != 0) ok = file_error(e, beside, "protect", errno);
    row->size = sink.size;
    ok = ok && sink_finish(&sink, row->sha256, e);
    sink_drop(&sink);
    if (ok && rename(beside, path) != 0) ok = file_error(e, path, "replace", errno);
    if (ok) return file_sync_folder(s->run, e);
    unlink(beside);
    return error_prefix(e, "the manifest was not written");
}

/* One pass over the file that stands there. */
typedef struct Check {
    const CheckpointSettings *settings;
    const char *path;
    char *line, *due; /* CHECKPOINT_LINE bytes each */
    size_t used;      /* bytes of the line so far */
    int64_t lines, stride;
} Check;

static bool check_line(Check *c, Error *e) {
    const CheckpointSettings *s = c->settings;
    c->line[c->used] = '\0';
    c->used = 0;
    int64_t i = c->lines++;
    if (i >= s->samples || (i % c->stride != 0 && i + 1 != s->samples)) return true;
    if (!describe(s, i, c->due, e)) return false;
    if (strcmp(c->line, c->due) == 0) return true;
    return error_set(e, ERROR_STATE,
                     "%s: line %" PRId64
                     " is not what the data set says now: its data changed since this run "
                     "began; start a new run, or remove the file if you mean to go on with other data",
                     c->path, i + 1);
}

static bool check_piece(Check *c, const char *piece, size_t size, Error *e) {
    for (size_t i = 0; i < size; i++) {
        if (piece[i] == '\n') {
            if (!check_line(c, e)) return false;
        } else if (c->used + 1 < CHECKPOINT_LINE) {
            c->line[c->used++] = piece[i];
        } else {
            return error_set(e, ERROR_FORMAT,
                             "%s: line %" PRId64 " is longer than %d bytes; remove the file to have it "
                             "written anew",
                             c->path, c->lines + 1, CHECKPOINT_LINE - 1);
        }
    }
    return true;
}

static bool check_manifest(Check *c, CheckpointFile *row, Error *e) {
    char piece[PIECE];
    Hash h = {NULL};
    bool ok = false;
    ssize_t got;
    int fd = open(c->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return file_error(e, c->path, "open", errno);
    if (!hash_open(&h, e)) goto out;
    row->size = 0;
    while ((got = read(fd, piece, sizeof piece)) != 0) {
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            file_error(e, c->path, "read", errno);
            goto out;
        }
        if (!hash_add(&h, piece, (size_t)got, e) || !check_piece(c, piece, (size_t)got, e)) goto out;
        row->size += (uint64_t)got;
    }
    if (c->lines != c->settings->samples || c->used != 0) {
        error_set(e, ERROR_STATE,
                  "%s: lists %" PRId64 " samples, the data set has %" PRId64
                  ": its data changed since this run "
                  "began; start a new run, or remove the file if you mean to go on with other data",
                  c->path, c->lines, c->settings->samples);
        goto out;
    }
    ok = hash_finish(&h, row->sha256, e);
out:
    hash_drop(&h);
    close(fd);
    return ok;
}

bool checkpoint_manifest_prepare(const CheckpointSettings *s, CheckpointFile *row, Error *e) {
    char path[FILE_PATH];
    *row = (CheckpointFile){.name = "manifest.jsonl"};
    if (!file_join(path, sizeof path, s->run, row->name, e)) return false;
    char *lines = mem_get(2 * CHECKPOINT_LINE);
    if (!lines) return error_memory(e, 2 * CHECKPOINT_LINE);
    Check c = {.settings = s, .path = path, .line = lines, .due = lines + CHECKPOINT_LINE};
    c.stride = s->samples > SAMPLED ? s->samples / SAMPLED : 1;
    bool ok = s->resume && file_kind(path) == FILE_REGULAR ? check_manifest(&c, row, e)
                                                           : write_manifest(s, path, lines, row, e);
    mem_free(lines);
    return ok;
}
