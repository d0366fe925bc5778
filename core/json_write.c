#include "core/json.h"
#include "core/json_scan.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

JsonWriter json_writer(char *buffer, size_t size, int indent) {
    if (size) buffer[0] = 0;
    return (JsonWriter){.text = buffer, .size = size, .indent = indent, .full = size == 0};
}

static void put(JsonWriter *w, const char *bytes, size_t n) {
    if (w->full || n >= w->size - w->used) {
        w->full = true;
        return;
    }
    memcpy(w->text + w->used, bytes, n);
    w->used += n;
    w->text[w->used] = 0;
}

static void put_word(JsonWriter *w, const char *word) {
    put(w, word, strlen(word));
}

static void put_line_break(JsonWriter *w) {
    put(w, "\n", 1);
    for (int i = 0; i < w->indent * w->depth; i++) put(w, " ", 1);
}

static void put_quoted(JsonWriter *w, const char *text) {
    put(w, "\"", 1);
    for (size_t left = strlen(text); left > 0;) {
        static const char plain[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
        const char *special = strchr(plain, *text);
        int n = json_utf8(text, left);
        char escape[8];
        if (special) {
            snprintf(escape, sizeof escape, "\\%c", letter[special - plain]);
            put_word(w, escape);
        } else if ((uint8_t)*text < 0x20 || *text == 0x7F) {
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)*text);
            put_word(w, escape);
        } else if (n == 0)
            put_word(w, "\xEF\xBF\xBD");
        else
            put(w, text, (size_t)n);
        text += n ? n : 1;
        left -= n ? (size_t)n : 1;
    }
    put(w, "\"", 1);
}

/* What stands before a value: comma, line break, key. */
static void put_lead(JsonWriter *w, const char *key) {
    bool lines = w->indent > 0 && w->depth > 0 && w->arrays == 0;
    if (w->comma) put_word(w, lines ? "," : ", ");
    if (lines) put_line_break(w);
    if (key) {
        put_quoted(w, key);
        put_word(w, ": ");
    }
    w->comma = true;
}

void json_put_open(JsonWriter *w, const char *key, char bracket) {
    put_lead(w, key);
    put(w, &bracket, 1);
    w->depth++;
    w->arrays += bracket == '[' || w->arrays > 0;
    w->comma = false;
}

void json_put_close(JsonWriter *w, char bracket) {
    bool lines = w->indent > 0 && w->arrays == 0 && w->comma;
    w->depth--;
    if (w->arrays > 0) w->arrays--;
    if (lines) put_line_break(w);
    put(w, &bracket, 1);
    w->comma = true;
}

void json_put_bool(JsonWriter *w, const char *key, bool value) {
    json_put_raw(w, key, value ? "true" : "false");
}

void json_put_int(JsonWriter *w, const char *key, int64_t value) {
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, value);
    json_put_raw(w, key, text);
}

void json_put_real(JsonWriter *w, const char *key, double value) {
    char text[32];
    json_put_raw(w, key, isfinite(value) ? json_real_text(value, text) : "null");
}

void json_put_text(JsonWriter *w, const char *key, const char *value) {
    put_lead(w, key);
    put_quoted(w, value);
}

void json_put_null(JsonWriter *w, const char *key) {
    json_put_raw(w, key, "null");
}

void json_put_raw(JsonWriter *w, const char *key, const char *json) {
    put_lead(w, key);
    put_word(w, json);
}

const char *json_real_text(double value, char buffer[32]) {
    char text[32];
    bool whole = value == floor(value) && fabs(value) < 1e15; /* 100000, not 1e+05 */
    if (whole) snprintf(text, sizeof text, "%.0f", value);
    for (int digits = 1; !whole && digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    return memcpy(buffer, text, sizeof text);
}
