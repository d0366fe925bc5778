#include "data/synth_field.h"
#include "data/synth_write.h"

#include "core/file.h"
#include "data/bytes.h"

#include <errno.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* COCO JSON, written as the pictures come: first the list of images, which is known beforehand, then one
 * annotation a line. Masks are run lengths down the columns, starting with background, not compressed: larger
 * than the packed form, but any reader and any eye can follow them. */

enum { BATCH = 64 }; /* pictures drawn at once, then written in order */

typedef struct Part {
    FILE *file;
    int64_t annotations;
    bool test;
    char path[FILE_PATH], beside[FILE_PATH]; /* the name at the end, and until then */
} Part;

static bool is_test(int64_t i) {
    return i % SYNTH_TEST_EVERY == SYNTH_TEST_EVERY - 1;
}

static bool part_open(Part *part, const SynthPlan *plan, bool test, Error *e) {
    char folder[FILE_PATH];
    *part = (Part){.test = test};
    if (!file_join(folder, sizeof folder, plan->out, test ? "test" : "train", e) ||
        !file_make_folder(folder, e) ||
        !file_join(part->path, sizeof part->path, plan->out, test ? "test.json" : "train.json", e) ||
        !file_join(part->beside, sizeof part->beside, plan->out, test ? "test.json.part" : "train.json.part",
                   e))
        return false;
    part->file = fopen(part->beside, "w");
    if (!part->file) return file_error(e, part->beside, "write", errno);
    fprintf(part->file, "{\"images\": [");
    bool comma = false;
    for (int64_t i = 0; i < plan->count; i++) {
        if (is_test(i) != test) continue;
        fprintf(part->file,
                "%s\n{\"id\": %lld, \"file_name\": \"%06lld.jpg\", \"width\": %lld, \"height\": %lld}",
                comma ? "," : "", (long long)i + 1, (long long)i + 1, (long long)plan->size,
                (long long)plan->size);
        comma = true;
    }
    fprintf(part->file, "],\n\"annotations\": [");
    return true;
}

/* Ends the file and gives it its name; on failure it is removed. */
static bool part_close(Part *part, const SynthPlan *plan, bool ok, Error *e) {
    if (!part->file) return false;
    fprintf(part->file, "],\n\"categories\": [");
    if (plan->kind == SYNTH_CELLS) fprintf(part->file, "{\"id\": 1, \"name\": \"nucleus\"}");
    for (int k = 0; k < SHAPE_COUNT && plan->kind == SYNTH_SHAPES; k++)
        fprintf(part->file, "%s{\"id\": %d, \"name\": \"%s\"}", k ? ", " : "", k + 1, shape_names[k]);
    fprintf(part->file, "]}\n");
    bool wrong = fflush(part->file) != 0 || ferror(part->file),
         unsynced = !wrong && fsync(fileno(part->file)) != 0;
    int reason = errno;
    wrong |= fclose(part->file) != 0;
    if (ok && (wrong || unsynced)) ok = file_error(e, part->beside, "write", reason);
    if (ok && rename(part->beside, part->path) != 0) ok = file_error(e, part->path, "write", errno);
    if (!ok) unlink(part->beside);
    return ok;
}

/* ------------------------------------------------------------------ annotations */

typedef struct Extent {
    int area, x0, y0, x1, y1; /* x1, y1: the last column and row */
} Extent;

static void extents(const Field *field, Extent extent[FIELD_MOST + 1]) {
    int side = field->picture.w;
    for (int k = 1; k <= field->instances; k++) extent[k] = (Extent){0, side, side, -1, -1};
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++) {
            int k = field->owner[y * side + x];
            if (k == 0) continue;
            Extent *b = extent + k;
            b->area++;
            b->x0 = x < b->x0 ? x : b->x0, b->x1 = x > b->x1 ? x : b->x1;
            b->y0 = y < b->y0 ? y : b->y0, b->y1 = y;
        }
}

/* Runs down the columns: only those the mask reaches are walked. */
static bool annotate_runs(const Field *field, int k, const Extent *b, Bytes *text, Error *e) {
    int side = field->picture.w, run = b->x0 * side, inside = 0;
    char word[32];
    for (int x = b->x0; x <= b->x1; x++)
        for (int y = 0; y < side; y++, run++) {
            int now = field->owner[y * side + x] == k;
            if (now == inside) continue;
            int n = snprintf(word, sizeof word, "%d, ", run);
            if (!bytes_append(text, word, (size_t)n, e)) return false;
            run = 0, inside = now;
        }
    /* what follows the last column is background: a run of its own if the mask reaches that column's foot */
    int rest = (side - 1 - b->x1) * side;
    int n = inside && rest > 0 ? snprintf(word, sizeof word, "%d, %d]}}\n", run, rest)
                               : snprintf(word, sizeof word, "%d]}}\n", run + rest);
    return bytes_append(text, word, (size_t)n, e);
}

/* One picture's annotations, a line each, without their ids: those are counted in the order of pictures. */
static bool annotate(const Field *field, int64_t image, Bytes *text, Error *e) {
    Extent extent[FIELD_MOST + 1];
    int side = field->picture.w;
    char word[256];
    extents(field, extent);
    text->size = 0;
    for (int k = 1; k <= field->instances; k++) {
        const Extent *b = extent + k;
        int n = snprintf(word, sizeof word,
                         "\"image_id\": %lld, \"category_id\": %d, \"iscrowd\": 0, \"area\": %d, \"bbox\": "
                         "[%d, %d, %d, %d], "
                         "\"segmentation\": {\"size\": [%d, %d], \"counts\": [",
                         (long long)image + 1, field->category[k], b->area, b->x0, b->y0, b->x1 - b->x0 + 1,
                         b->y1 - b->y0 + 1, side, side);
        if (!bytes_append(text, word, (size_t)n, e) || !annotate_runs(field, k, b, text, e)) return false;
    }
    return true;
}

static void part_put(Part *part, const Bytes *text) {
    const char *line = (const char *)text->data, *end = line + text->size;
    while (line < end) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        fprintf(part->file, "%s\n{\"id\": %lld, %.*s", part->annotations ? "," : "",
                (long long)part->annotations + 1, (int)(stop - line), line);
        part->annotations++;
        line = stop + 1;
    }
}

/* ------------------------------------------------------------------ the set */

static bool field_write(const SynthPlan *plan, Field *field, int64_t i, Bytes *text, Error *e) {
    char path[FILE_PATH];
    int n = snprintf(path, sizeof path, "%s/%s/%06lld.jpg", plan->out, is_test(i) ? "test" : "train",
                     (long long)i + 1);
    if (n < 0 || (size_t)n >= sizeof path)
        return error_set(e, ERROR_VALUE, "%s: the path is too long", plan->out);
    bool drawn = plan->kind == SYNTH_SHAPES ? shapes_paint(field, plan->seed, (uint64_t)i, e)
                                            : cells_paint(field, plan->seed, (uint64_t)i, e);
    return drawn && annotate(field, i, text, e) && synth_picture(&field->picture, field->quality, path, e);
}

static void batch_draw(const SynthPlan *plan, Field *fields, int64_t from, int64_t to, Bytes *texts,
                       SynthTrouble *trouble) {
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = from; i < to; i++) {
        Error mine;
        if (synth_troubled(trouble)) continue;
        if (!field_write(plan, fields + omp_get_thread_num(), i, texts + (i - from), &mine))
            synth_trouble(trouble, &mine);
    }
}

bool synth_fields(const SynthPlan *plan, const Noise *noise, SynthTally *tally, Error *e) {
    Part part[2] = {{0}};
    Bytes texts[BATCH] = {{0}};
    SynthTrouble trouble = {0};
    int threads = omp_get_max_threads();
    bool ok = true;
    Field *fields = mem_zero((size_t)threads, sizeof *fields);
    if (!fields) return error_memory(e, (size_t)threads * sizeof *fields);
    for (int t = 0; ok && t < threads; t++) ok = field_new(fields + t, (int)plan->size, noise, e);
    for (int test = 0; ok && test < 2; test++) ok = part_open(part + test, plan, test, e);
    for (int64_t from = 0; ok && from < plan->count; from += BATCH) {
        int64_t to = from + BATCH < plan->count ? from + BATCH : plan->count;
        batch_draw(plan, fields, from, to, texts, &trouble);
        if (trouble.met) *e = trouble.first;
        ok = !trouble.met;
        for (int64_t i = from; ok && i < to; i++) {
            part_put(part + is_test(i), texts + (i - from));
            tally->test += is_test(i);
            tally->train += !is_test(i);
        }
    }
    for (int test = 0; test < 2; test++)
        if (part[test].file) ok &= part_close(part + test, plan, ok, e);
    tally->instances = part[0].annotations + part[1].annotations;
    for (int i = 0; i < BATCH; i++) bytes_free(texts + i);
    for (int t = 0; t < threads; t++) field_free(fields + t);
    mem_free(fields);
    return ok;
}
