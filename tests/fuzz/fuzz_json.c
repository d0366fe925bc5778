/* Any bytes as JSON: the reader gives a document or one line of error. What it accepts is written again, and
 * the copy must be accepted too and write the same text. */
#include "core/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void copy(JsonWriter *w, Json j) {
    Error e;
    const char *key = json_key(j), *text;
    double number;
    bool flag;
    switch (json_type(j)) {
    case JSON_ARRAY:
    case JSON_OBJECT:
        json_put_open(w, key, json_type(j) == JSON_ARRAY ? '[' : '{');
        for (Json c = json_first(j); json_exists(c); c = json_next(c)) copy(w, c);
        json_put_close(w, json_type(j) == JSON_ARRAY ? ']' : '}');
        break;
    case JSON_TEXT:
        if (!json_text(j, &text, &e)) abort();
        json_put_text(w, key, text);
        break;
    case JSON_NUMBER:
        if (!json_number(j, -INFINITY, INFINITY, &number, &e)) abort();
        json_put_real(w, key, number);
        break;
    case JSON_BOOL:
        if (!json_bool(j, &flag, &e)) abort();
        json_put_bool(w, key, flag);
        break;
    default:
        json_put_null(w, key);
    }
}

static void check_line(const Error *e) {
    if (e->code == ERROR_NONE || strncmp(e->text, "fuzz:", 5) != 0) abort();
    for (const char *c = e->text; *c; c++)
        if ((uint8_t)*c < 0x20) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Error e = {0};
    JsonFile *f, *again;
    int64_t whole;
    if (!json_open(&f, "fuzz", (const char *)data, size, &e)) {
        check_line(&e);
        return 0;
    }
    if (!json_int(json_get(json_root(f), "a"), -5, 5, &whole, &e)) check_line(&e);
    size_t room = 64 * size + 64;
    char *first = mem_get(room), *second = mem_get(room);
    if (!first || !second) abort();
    JsonWriter w = json_writer(first, room, 1);
    copy(&w, json_root(f));
    if (w.full || !json_open(&again, "fuzz", first, w.used, &e)) abort();
    w = json_writer(second, room, 1);
    copy(&w, json_root(again));
    if (strcmp(first, second) != 0) abort();
    mem_free(first);
    mem_free(second);
    json_close(again);
    json_close(f);
    return 0;
}
