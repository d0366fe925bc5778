#include "core/checkpoint_inside.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------------------------------------------- names --- */

static int compare_to_name(const void *name, const void *entry) {
    return strcmp(name, *(const char *const *)entry);
}

/* The names that are wanted, sorted. mem_free it. */
static const char **sort_names(NamedTensors into, Error *e) {
    size_t bytes = (size_t)into.count * sizeof(char *);
    const char **name = mem_get(bytes);
    if (!name) {
        error_memory(e, bytes);
        return NULL;
    }
    for (int64_t i = 0; i < into.count; i++) name[i] = into.list[i].name;
    qsort(name, (size_t)into.count, sizeof *name, text_order);
    for (int64_t i = 1; i < into.count; i++)
        if (strcmp(name[i - 1], name[i]) == 0) die("checkpoint: two tensors are called %s", name[i]);
    return name;
}

static bool compare_keys(const Weights *f, NamedTensors into, KeyReport *k, Error *e) {
    *k = (KeyReport){0};
    int64_t entries = weights_count(f);
    const char **sorted = sort_names(into, e);
    k->missing = mem_get((size_t)into.count * sizeof(char *));
    k->unexpected = mem_get((size_t)entries * sizeof(char *));
    if (!sorted || !k->missing || !k->unexpected) {
        mem_free(sorted);
        key_report_close(k);
        return error_memory(e, (size_t)(into.count + entries) * sizeof(char *));
    }
    for (int64_t i = 0; i < into.count; i++)
        if (!weights_find(f, into.list[i].name)) k->missing[k->missing_count++] = into.list[i].name;
    for (int64_t i = 0; i < entries; i++) {
        const char *name = weights_at(f, i)->name;
        if (!bsearch(name, sorted, (size_t)into.count, sizeof *sorted, compare_to_name))
            k->unexpected[k->unexpected_count++] = name;
    }
    mem_free(sorted);
    return true;
}

void key_report_close(KeyReport *k) {
    mem_free(k->missing);
    mem_free(k->unexpected);
    *k = (KeyReport){0};
}

static const Weights *file_of(const Checkpoint *c, CheckpointPart part, Error *e) {
    const Weights *f = checkpoint_file(c, part);
    if (!f) error_set(e, ERROR_STATE, "%s: has no %s", checkpoint_path(c), checkpoint_part_file[part]);
    return f;
}

bool checkpoint_keys(const Checkpoint *c, CheckpointPart part, NamedTensors into, KeyReport *out, Error *e) {
    *out = (KeyReport){0};
    const Weights *f = file_of(c, part, e);
    return f && compare_keys(f, into, out, e);
}

/* ------------------------------------------------------------------------------------------- checking --- */

/* A list in a sentence, cut when it grows long: missing key(s): "a", "b" and 12 more. */
typedef struct Line {
    char text[800];
    size_t used;
} Line;

static void PRINTF_LIKE(2, 3) add(Line *l, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(l->text + l->used, sizeof l->text - l->used, format, args);
    va_end(args);
    if (n > 0) l->used += (size_t)n;
    if (l->used >= sizeof l->text) l->used = sizeof l->text - 1;
}

static void add_keys(Line *l, const char *title, const char *const *key, int64_t count) {
    enum { SHOWN = 3 };
    char name[SAFE_NAME_TEXT];
    if (count == 0) return;
    add(l, "%s%s: ", l->used ? "; " : "", title);
    for (int64_t i = 0; i < count && i < SHOWN; i++)
        add(l, "%s%s", i ? ", " : "", safe_name_text(key[i], name));
    if (count > SHOWN) add(l, " and %" PRId64 " more", count - SHOWN);
}

/* The first tensor that does not fit in shape or dtype, and how many there are. */
static void add_misfits(Line *l, const Weights *f, NamedTensors into) {
    int64_t misfits = 0;
    for (int64_t i = 0; i < into.count; i++) {
        const SafeEntry *x = weights_find(f, into.list[i].name);
        char name[SAFE_NAME_TEXT], have[224], want[96];
        Error ignored;
        if (!x || weights_fits(f, x, into.list[i].tensor, &ignored) || misfits++ > 0) continue;
        add(l, "%stensor %s is %s in the file, %s in the model", l->used ? "; " : "",
            safe_name_text(x->name, name), safe_entry_text(x, have), tensor_text(into.list[i].tensor, want));
    }
    if (misfits > 1) add(l, " and %" PRId64 " more do not fit", misfits - 1);
}

static bool check_want(const Checkpoint *c, const CheckpointWant *want, Error *e) {
    KeyReport keys;
    Line line = {.used = 0};
    const Weights *f = file_of(c, want->part, e);
    if (!f || !compare_keys(f, want->into, &keys, e)) return false;
    if (want->strict) {
        add_keys(&line, "missing key(s)", keys.missing, keys.missing_count);
        if (checkpoint_recipe(c))
            add_keys(&line, "unexpected key(s)", keys.unexpected, keys.unexpected_count);
    }
    key_report_close(&keys);
    add_misfits(&line, f, want->into);
    return line.used == 0 ||
           error_set(e, ERROR_VALUE, "%s: does not fit this model: %s", weights_path(f), line.text);
}

bool checkpoint_read(const Checkpoint *c, const CheckpointWant *want, int n, Error *e) {
    for (int i = 0; i < n; i++)
        if (!check_want(c, &want[i], e)) return false;
    for (int i = 0; i < n; i++) {
        const Weights *f = checkpoint_file(c, want[i].part);
        for (int64_t k = 0; k < want[i].into.count; k++) {
            const SafeEntry *x = weights_find(f, want[i].into.list[k].name);
            if (x && !weights_read(f, x, want[i].into.list[k].tensor, e)) return false;
        }
    }
    return true;
}
