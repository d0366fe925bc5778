#include "cli/answers.h"

#include "core/file.h"
#include "core/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_CAP = 256 << 20, NUMBER_ROOM = 16 };

/* ---- reading ---- */

/* Copies into the pool: all texts together are shorter than the file they stand in, and NUMBER_ROOM a line is
 * kept for classes that have no names. */
static const char *keep(char **pool, const char *text) {
    size_t n = strlen(text) + 1;
    char *at = memcpy(*pool, text, n);
    *pool += n;
    return at;
}

/* What was predicted: the name of a class, or its number where classes have none. */
static bool predicted_read(const char **out, Json j, char number[NUMBER_ROOM], Error *e) {
    int64_t index;
    if (json_type(j) != JSON_NUMBER) return json_text(j, out, e);
    if (!json_int(j, 0, INT32_MAX, &index, e)) return false;
    snprintf(number, NUMBER_ROOM, "%lld", (long long)index);
    *out = number;
    return true;
}

static bool line_read(Answer *out, Json row, char **pool, Error *e) {
    const char *path, *predicted, *label = NULL;
    char number[NUMBER_ROOM];
    if (!json_expect(row, JSON_OBJECT, e) || !json_text(json_get(row, "path"), &path, e) ||
        !predicted_read(&predicted, json_get(row, "predicted"), number, e) ||
        !json_number(json_get(row, "probability"), 0, 1, &out->probability, e))
        return false;
    Json known = json_get(row, "label");
    if (json_exists(known) && json_type(known) != JSON_NULL && !json_text(known, &label, e)) return false;
    out->path = keep(pool, path);
    out->predicted = keep(pool, predicted);
    out->label = label ? keep(pool, label) : NULL;
    out->right = label && !strcmp(label, predicted);
    out->label_class = out->predicted_class = -1;
    return true;
}

static int64_t lines_count(const char *text, size_t size) {
    int64_t n = size > 0 && text[size - 1] != '\n';
    for (size_t i = 0; i < size; i++) n += text[i] == '\n';
    return n;
}

static bool lines_read(Answers *a, const char *path, const char *text, size_t size, Error *e) {
    char name[FILE_PATH + 32], *pool = a->pool;
    for (size_t at = 0; at < size; a->count++) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t stop = end ? (size_t)(end - text) : size;
        JsonFile *f = NULL;
        snprintf(name, sizeof name, "%s, row %lld", path, (long long)a->count + 1);
        bool fine = json_open(&f, name, text + at, stop - at, e) &&
                    line_read(&a->list[a->count], json_root(f), &pool, e);
        json_close(f);
        if (!fine) return false;
        at = stop + 1;
    }
    return true;
}

/* ---- counting ---- */

static int class_order(const void *a, const void *b) {
    return strcmp(((const AnswerClass *)a)->name, ((const AnswerClass *)b)->name);
}

static int class_of(const Answers *a, const char *name) {
    AnswerClass key = {.name = name};
    const AnswerClass *found = bsearch(&key, a->class, (size_t)a->classes, sizeof key, class_order);
    return (int)(found - a->class);
}

static bool classes_make(Answers *a, Error *e) {
    size_t most = 2 * (size_t)a->count + 1;
    a->class = mem_zero(most, sizeof *a->class);
    if (!a->class) return error_memory(e, most * sizeof *a->class);
    int n = 0;
    for (int64_t i = 0; i < a->count; i++) {
        a->class[n++].name = a->list[i].predicted;
        if (a->list[i].label) a->class[n++].name = a->list[i].label;
    }
    qsort(a->class, (size_t)n, sizeof *a->class, class_order);
    for (int i = 0; i < n; i++)
        if (!a->classes || strcmp(a->class[a->classes - 1].name, a->class[i].name) != 0)
            a->class[a->classes++].name = a->class[i].name;
    for (int64_t i = 0; i < a->count; i++) {
        Answer *one = &a->list[i];
        one->predicted_class = class_of(a, one->predicted);
        if (!one->label) continue;
        one->label_class = class_of(a, one->label);
        a->class[one->label_class].count++;
        a->class[one->label_class].right += one->right;
        a->known++;
        a->right += one->right;
    }
    return true;
}

static int pair_order(const void *a, const void *b) {
    const AnswerPair *x = a, *y = b;
    int d = x->label_class - y->label_class;
    return d ? d : x->predicted_class - y->predicted_class;
}

static int pair_more(const void *a, const void *b) {
    int64_t x = ((const AnswerPair *)a)->count, y = ((const AnswerPair *)b)->count;
    return x != y ? (x < y) - (x > y) : pair_order(a, b);
}

static bool pairs_make(Answers *a, Error *e) {
    size_t most = (size_t)(a->known - a->right) + 1;
    a->pair = mem_zero(most, sizeof *a->pair);
    if (!a->pair) return error_memory(e, most * sizeof *a->pair);
    size_t n = 0;
    for (int64_t i = 0; i < a->count; i++)
        if (a->list[i].label && !a->list[i].right)
            a->pair[n++] = (AnswerPair){a->list[i].label_class, a->list[i].predicted_class, 1};
    qsort(a->pair, n, sizeof *a->pair, pair_order);
    for (size_t i = 0; i < n; i++) {
        if (a->pairs && !pair_order(&a->pair[a->pairs - 1], &a->pair[i]))
            a->pair[a->pairs - 1].count++;
        else
            a->pair[a->pairs++] = a->pair[i];
    }
    qsort(a->pair, (size_t)a->pairs, sizeof *a->pair, pair_more);
    return true;
}

bool answers_open(Answers *out, const char *path, Error *e) {
    char *text = NULL;
    size_t size, lines;
    bool ok = false;
    *out = (Answers){0};
    if (!file_read(path, FILE_CAP, &text, &size, e)) return false;
    lines = (size_t)lines_count(text, size);
    out->pool = mem_get(size + lines * NUMBER_ROOM + 1);
    out->list = mem_zero(lines + 1, sizeof *out->list);
    if (!out->pool || !out->list)
        error_memory(e, size + lines * NUMBER_ROOM + lines * sizeof *out->list);
    else
        ok = lines_read(out, path, text, size, e) && classes_make(out, e) && pairs_make(out, e);
    mem_free(text);
    if (!ok) answers_close(out);
    return ok;
}

void answers_close(Answers *a) {
    mem_free(a->list);
    mem_free(a->class);
    mem_free(a->pair);
    mem_free(a->pool);
    *a = (Answers){0};
}

/* ---- choosing ---- */

typedef struct Sure {
    double probability;
    int64_t index;
} Sure;

static int sure_more(const void *a, const void *b) {
    const Sure *x = a, *y = b;
    if (x->probability != y->probability) return x->probability < y->probability ? 1 : -1;
    return (x->index > y->index) - (x->index < y->index);
}

bool answers_wrong(const Answers *a, int most, int64_t **out, int *count, Error *e) {
    size_t n = 0, wrong = (size_t)(a->known - a->right);
    Sure *all = mem_zero(wrong + 1, sizeof *all);
    *out = mem_zero((size_t)most + 1, sizeof **out);
    *count = 0;
    if (!all || !*out) {
        mem_free(all);
        mem_free(*out);
        *out = NULL;
        return error_memory(e, (wrong + 1) * sizeof *all);
    }
    for (int64_t i = 0; i < a->count; i++)
        if (a->list[i].label && !a->list[i].right) all[n++] = (Sure){a->list[i].probability, i};
    qsort(all, n, sizeof *all, sure_more);
    for (; *count < most && (size_t)*count < n; ++*count) (*out)[*count] = all[*count].index;
    mem_free(all);
    return true;
}

bool answers_right(const Answers *a, int most, int64_t **out, int *count, Error *e) {
    int64_t seen = 0;
    *out = mem_zero((size_t)most + 1, sizeof **out);
    *count = 0;
    if (!*out) return error_memory(e, (size_t)most * sizeof **out);
    for (int64_t i = 0; i < a->count && *count < most; i++) {
        if (!a->list[i].right) continue;
        /* the k-th chosen is the first at or behind k / most of the way */
        if (seen++ * most >= *count * a->right) (*out)[(*count)++] = i;
    }
    return true;
}
