#include "cli/history.h"

#include "core/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static Series *series_of(History *h, const char *data, const char *name) {
    for (int i = 0; i < h->count; i++)
        if (!strcmp(h->series[i].data, data) && !strcmp(h->series[i].name, name)) return &h->series[i];
    if (h->count == HISTORY_SERIES || strlen(data) >= HISTORY_NAME || strlen(name) >= HISTORY_NAME)
        return NULL;
    Series *s = &h->series[h->count++];
    strcpy(s->data, data);
    strcpy(s->name, name);
    return s;
}

static bool series_put(Series *s, double step, double epoch, double value, Error *e) {
    if (s->count == s->capacity) {
        int64_t capacity = s->capacity ? 2 * s->capacity : 256;
        size_t bytes = (size_t)capacity * sizeof(double);
        double **column[] = {&s->step, &s->epoch, &s->value};
        for (int i = 0; i < COUNT(column); i++) {
            double *grown = mem_resize(*column[i], bytes);
            if (!grown) return error_memory(e, bytes);
            *column[i] = grown;
        }
        s->capacity = capacity;
    }
    s->step[s->count] = step;
    s->epoch[s->count] = epoch;
    s->value[s->count++] = value;
    return true;
}

/* One object: every number in it but step and epoch is a point of a series. */
static bool row_read(History *h, Json row, double last[2], Error *e) {
    double step, epoch;
    const char *data = "";
    if (!json_expect(row, JSON_OBJECT, e) || !json_number(json_get(row, "step"), 0, 1e15, &step, e) ||
        !json_number(json_get(row, "epoch"), 0, 1e15, &epoch, e))
        return false;
    if (json_exists(json_get(row, "eval")) && !json_text(json_get(row, "eval"), &data, e)) return false;
    if (step < last[0]) return json_error(json_get(row, "step"), e, "before the step of an earlier row");
    if (epoch < last[1]) return json_error(json_get(row, "epoch"), e, "before the epoch of an earlier row");
    last[0] = step;
    last[1] = epoch;
    for (Json j = json_first(row); json_exists(j); j = json_next(j)) {
        const char *key = json_key(j);
        double value = NAN;
        if (!strcmp(key, "step") || !strcmp(key, "epoch") || !strcmp(key, "eval")) continue;
        if (json_type(j) != JSON_NUMBER && json_type(j) != JSON_NULL) continue;
        if (json_type(j) == JSON_NUMBER && !json_number(j, -1e300, 1e300, &value, e)) return false;
        Series *s = series_of(h, data, key);
        if (s && !series_put(s, step, epoch, value, e)) return false;
    }
    return true;
}

static bool rows_read(History *h, Error *e) {
    char path[FILE_PATH], name[FILE_PATH + 32], *text = NULL;
    size_t size;
    double last[2] = {0, 0};
    bool ok = false;
    if (!file_join(path, sizeof path, h->folder, "metrics.jsonl", e)) return false;
    if (!file_read(path, JSON_MAX_BYTES, &text, &size, e)) return false;
    long long number = 1;
    for (size_t at = 0; at < size; number++) {
        const char *end = memchr(text + at, '\n', size - at);
        if (!end) break; /* a kill cut it short; the run's next start removes it */
        JsonFile *f = NULL;
        snprintf(name, sizeof name, "%s, row %lld", path, number);
        bool fine = json_open(&f, name, text + at, (size_t)(end - text) - at, e) &&
                    row_read(h, json_root(f), last, e);
        json_close(f);
        if (!fine) goto out;
        at = (size_t)(end - text) + 1;
    }
    ok = true;
out:
    mem_free(text);
    return ok;
}

/* The weights of the last checkpoint, counted in its header. A run without one still has its curves. */
static int64_t parameters_count(const char *folder) {
    char path[FILE_PATH];
    Error ignored;
    SafeFile *f = NULL;
    int64_t sum = 0;
    if (!file_join(path, sizeof path, folder, "checkpoints/last/model.safetensors", &ignored)) return 0;
    if (file_kind(path) != FILE_REGULAR || !safe_open(&f, path, &ignored)) return 0;
    for (int64_t i = 0; i < safe_count(f); i++) {
        int64_t n = safe_entry_count(safe_at(f, i));
        sum += sum < JSON_MAX_INT - n ? n : 0;
    }
    safe_close(f);
    return sum;
}

bool history_open(History *out, const char *folder, Error *e) {
    char path[FILE_PATH];
    size_t size;
    *out = (History){0};
    if (strlen(folder) >= sizeof out->folder)
        return error_set(e, ERROR_VALUE, "%s: the path is too long", folder);
    strcpy(out->folder, folder);
    if (!file_join(path, sizeof path, folder, "recipe.json", e)) return false;
    if (file_kind(folder) == FILE_FOLDER && file_kind(path) != FILE_REGULAR)
        return error_set(e, ERROR_IO,
                         "%s: no recipe.json in it; --run takes the folder that lethe train --out wrote",
                         folder);
    if (!file_read(path, JSON_MAX_BYTES, &out->recipe_text, &size, e)) goto fail;
    if (!json_open(&out->recipe, path, out->recipe_text, size, e)) goto fail;
    if (!json_expect(json_root(out->recipe), JSON_OBJECT, e) || !rows_read(out, e)) goto fail;
    out->parameters = parameters_count(folder);
    return true;
fail:
    history_close(out);
    return false;
}

void history_close(History *h) {
    for (int i = 0; i < h->count; i++) {
        mem_free(h->series[i].step);
        mem_free(h->series[i].epoch);
        mem_free(h->series[i].value);
    }
    json_close(h->recipe);
    mem_free(h->recipe_text);
    *h = (History){0};
}

/* ---- questions ---- */

const Series *history_series(const History *h, const char *data, const char *name) {
    for (int i = 0; i < h->count; i++) {
        const Series *s = &h->series[i];
        if (strcmp(s->name, name) != 0 || !isfinite(series_last(s))) continue;
        if (data ? !strcmp(s->data, data) : s->data[0] != 0) return s;
    }
    return NULL;
}

double series_last(const Series *s) {
    for (int64_t i = s->count; i > 0; i--)
        if (isfinite(s->value[i - 1])) return s->value[i - 1];
    return NAN;
}

double series_end(const Series *s) {
    double sum = 0;
    int64_t n = s->count / 20 + 1, seen = 0;
    for (int64_t i = s->count; i > 0 && seen < n; i--) {
        if (!isfinite(s->value[i - 1])) continue;
        sum += s->value[i - 1];
        seen++;
    }
    return seen ? sum / (double)seen : NAN;
}

static Json recipe_value(const History *h, const char *path) {
    char key[HISTORY_NAME];
    Json j = json_root(h->recipe);
    for (;;) {
        size_t n = strcspn(path, ".");
        if (n >= sizeof key) die("history: recipe path \"%s\" is too long", path);
        memcpy(key, path, n);
        key[n] = 0;
        j = json_get(j, key);
        if (!path[n]) return j;
        path += n + 1;
    }
}

double history_number(const History *h, const char *path) {
    Error ignored;
    double value;
    bool flag;
    Json j = recipe_value(h, path);
    if (json_type(j) == JSON_NUMBER && json_number(j, -1e300, 1e300, &value, &ignored)) return value;
    if (json_type(j) == JSON_BOOL && json_bool(j, &flag, &ignored)) return flag;
    return NAN;
}

const char *history_word(const History *h, const char *path) {
    Error ignored;
    const char *text;
    Json j = recipe_value(h, path);
    return json_type(j) == JSON_TEXT && json_text(j, &text, &ignored) ? text : NULL;
}

bool history_pace(const History *h, double *images, double *seconds) {
    const Series *rate = history_series(h, "", "images_per_second");
    double batch = history_number(h, "train.batch"), parts = history_number(h, "train.accumulate");
    if (!rate || !(batch > 0)) return false;
    if (parts > 1) batch *= parts;
    *images = *seconds = 0;
    for (int64_t i = 0; i < rate->count; i++) {
        double seen = batch * (rate->step[i] - (i ? rate->step[i - 1] : 0));
        if (!(rate->value[i] > 0)) continue;
        *images += seen;
        *seconds += seen / rate->value[i];
    }
    return *seconds > 0;
}
