#include "core/json_scan.h"

#include "core/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_MAX = 63 }; /* what cJSON's number buffer holds */

typedef struct Scan {
    const char *name, *text;
    size_t size, at;
    int depth;
    int64_t seen, want; /* values begun so far; the one to find, or -1 */
    size_t found;
    Error *e;
} Scan;

static bool scan_value(Scan *s, size_t place);

int json_utf8(const char *p, size_t left) {
    const uint8_t *b = (const uint8_t *)p;
    if (left == 0) return 0;
    if (b[0] < 0x80) return 1;
    int n = b[0] >= 0xF0 ? 4 : b[0] >= 0xE0 ? 3 : 2;
    if (b[0] < 0xC2 || b[0] > 0xF4 || (size_t)n > left) return 0;
    for (int i = 1; i < n; i++)
        if ((b[i] & 0xC0) != 0x80) return 0;
    if ((b[0] == 0xE0 && b[1] < 0xA0) || (b[0] == 0xF0 && b[1] < 0x90)) return 0; /* overlong */
    if ((b[0] == 0xED && b[1] > 0x9F) || (b[0] == 0xF4 && b[1] > 0x8F)) return 0; /* surrogate; too large */
    return n;
}

void json_scan_place(const char *text, size_t offset, int64_t *line, int64_t *column) {
    *line = *column = 1;
    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n')
            (*line)++, *column = 1;
        else if (((uint8_t)text[i] & 0xC0) != 0x80)
            (*column)++;
    }
}

PRINTF_LIKE(3, 4) static bool fail(const Scan *s, size_t at, const char *format, ...) {
    char what[400];
    int64_t line, column;
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    json_scan_place(s->text, at, &line, &column);
    return error_set(s->e, ERROR_FORMAT, "%s:%" PRId64 ":%" PRId64 ": %s", s->name, line, column, what);
}

/* The next byte, or -1 at the end. */
static int peek(const Scan *s) {
    return s->at < s->size ? (uint8_t)s->text[s->at] : -1;
}

static bool is_digit(int c) {
    return c >= '0' && c <= '9';
}

static bool is_letter(int c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_space(int c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_space(Scan *s) {
    while (s->at < s->size && is_space(s->text[s->at])) s->at++;
}

/* What stands at the current place, for a message. */
static const char *found_text(const Scan *s, char buffer[64]) {
    int c = peek(s);
    if (c < 0) return "the end of the file";
    if (is_letter(c)) {
        size_t n = 0;
        while (s->at + n < s->size && n < 24 && is_letter((uint8_t)s->text[s->at + n])) n++;
        snprintf(buffer, 64, "%.*s", (int)n, s->text + s->at);
    } else if (c > 0x20 && c < 0x7F)
        snprintf(buffer, 64, "%c", c);
    else
        snprintf(buffer, 64, "byte 0x%02X", c);
    return buffer;
}

static bool fail_expected(const Scan *s, const char *expected) {
    char found[64];
    if (peek(s) == '/' || peek(s) == '#')
        return fail(s, s->at, "JSON has no comments: expected %s; remove the comment", expected);
    return fail(s, s->at, "expected %s, found %s", expected, found_text(s, found));
}

/* The text ended inside an object or array: says where that began. */
static bool fail_unclosed(const Scan *s, size_t open) {
    int64_t line, column;
    json_scan_place(s->text, open, &line, &column);
    char bracket = s->text[open];
    return fail(s, s->at, "the file ends too early: expected %c for the %c of line %" PRId64,
                bracket == '{' ? '}' : ']', bracket, line);
}

static bool scan_hex4(Scan *s, size_t escape, unsigned *out) {
    *out = 0;
    for (int i = 0; i < 4; i++, s->at++) {
        int c = peek(s);
        int digit = is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c - 'A' + 10;
        if (!is_digit(c) && !(c >= 'a' && c <= 'f') && !(c >= 'A' && c <= 'F'))
            return fail(s, escape, "expected four hexadecimal digits after \\u");
        *out = *out << 4 | (unsigned)digit;
    }
    return true;
}

/* At a backslash. */
static bool scan_escape(Scan *s) {
    size_t start = s->at++;
    int c = peek(s);
    unsigned unit, low;
    if (c < 0 || !strchr("\"\\/bfnrtu", c) || c == 0)
        return fail(s, start, "an unknown escape: expected one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u");
    s->at++;
    if (c != 'u') return true;
    if (!scan_hex4(s, start, &unit)) return false;
    if (unit == 0) return fail(s, start, "a text may not hold a NUL (\\u0000)");
    if (unit < 0xD800 || unit > 0xDFFF) return true;
    if (unit > 0xDBFF || peek(s) != '\\' || s->at + 1 >= s->size || s->text[s->at + 1] != 'u')
        return fail(s, start, "half of a surrogate pair: expected \\uD800-\\uDBFF, then \\uDC00-\\uDFFF");
    s->at += 2;
    if (!scan_hex4(s, start, &low)) return false;
    if (low < 0xDC00 || low > 0xDFFF)
        return fail(s, start, "half of a surrogate pair: expected \\uD800-\\uDBFF, then \\uDC00-\\uDFFF");
    return true;
}

/* At a double quote. */
static bool scan_text(Scan *s) {
    size_t start = s->at++;
    for (;;) {
        int c = peek(s);
        if (c < 0) return fail(s, start, "a text that does not end: expected a closing \"");
        if (c == '"') {
            s->at++;
            return true;
        }
        if (c == '\n' || c == '\r')
            return fail(s, start, "a text that does not end on its line: expected a closing \" (or \\n)");
        if (c < 0x20)
            return fail(s, s->at, "a control character (byte 0x%02X) in a text: write it as \\u", c);
        if (c == '\\') {
            if (!scan_escape(s)) return false;
            continue;
        }
        int n = json_utf8(s->text + s->at, s->size - s->at);
        if (n == 0) return fail(s, s->at, "byte 0x%02X is not UTF-8: save the file as UTF-8", c);
        s->at += (size_t)n;
    }
}

static bool scan_digits(Scan *s, const char *where) {
    char found[64];
    if (!is_digit(peek(s)))
        return fail(s, s->at, "expected a digit %s, found %s", where, found_text(s, found));
    while (is_digit(peek(s))) s->at++;
    return true;
}

/* At a minus or a digit. */
static bool scan_number(Scan *s) {
    size_t start = s->at;
    char copy[NUMBER_MAX + 1];
    if (peek(s) == '-') s->at++;
    if (peek(s) == '0' && s->at + 1 < s->size && is_digit((uint8_t)s->text[s->at + 1]))
        return fail(s, start, "a number may not begin with 0: remove the 0");
    if (!scan_digits(s, "after -")) return false;
    if (peek(s) == '.') {
        s->at++;
        if (!scan_digits(s, "after the point")) return false;
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        s->at++;
        if (peek(s) == '+' || peek(s) == '-') s->at++;
        if (!scan_digits(s, "in the exponent")) return false;
    }
    size_t n = s->at - start;
    if (n > NUMBER_MAX) return fail(s, start, "a number of more than %d characters", NUMBER_MAX);
    memcpy(copy, s->text + start, n);
    copy[n] = 0;
    if (memchr(copy, 'e', n) || memchr(copy, 'E', n))
        if (!isfinite(strtod(copy, NULL))) return fail(s, start, "the number %s is too large", copy);
    return true;
}

static bool scan_word(Scan *s) {
    static const char *const word[] = {"true", "false", "null"};
    for (int i = 0; i < COUNT(word); i++) {
        size_t n = strlen(word[i]);
        if (s->size - s->at < n || memcmp(s->text + s->at, word[i], n) != 0) continue;
        if (s->at + n < s->size && is_letter((uint8_t)s->text[s->at + n])) continue;
        s->at += n;
        return true;
    }
    return fail_expected(s, "a value (a number, a text in \"double quotes\", true, false, null, [ or {)");
}

static bool scan_key(Scan *s) {
    if (peek(s) != '"') return fail_expected(s, "a key in \"double quotes\"");
    size_t start = s->at;
    if (!scan_text(s)) return false;
    int length = s->at - start > 60 ? 60 : (int)(s->at - start);
    skip_space(s);
    if (peek(s) == ':') {
        s->at++;
        return true;
    }
    char found[64];
    return fail(s, s->at, "expected : after the key %.*s, found %s", length, s->text + start,
                found_text(s, found));
}

/* After a member: on to the next one (true, *more), or past the closing bracket. */
static bool scan_separator(Scan *s, size_t open, char close, bool *more) {
    skip_space(s);
    int c = peek(s);
    *more = c == ',';
    if (c == close || c == ',') {
        size_t comma = s->at++;
        skip_space(s);
        if (c == ',' && peek(s) == close) return fail(s, comma, "a comma before %c: remove the comma", close);
        if (c == ',' && peek(s) < 0) return fail_unclosed(s, open);
        return true;
    }
    if (c < 0) return fail_unclosed(s, open);
    if (c == '"' && close == '}') return fail(s, s->at, "expected a comma before the next key");
    return fail_expected(s, close == '}' ? ", or } after a value" : ", or ] after a value");
}

/* At { or [. */
static bool scan_container(Scan *s, char close) {
    size_t open = s->at++;
    bool more = true;
    if (++s->depth > JSON_MAX_DEPTH) return fail(s, open, "nested more than %d levels deep", JSON_MAX_DEPTH);
    skip_space(s);
    if (peek(s) < 0) return fail_unclosed(s, open);
    if (peek(s) == close) {
        s->at++;
        more = false;
    }
    while (more) {
        size_t place = s->at;
        if (close == '}' && !scan_key(s)) return false;
        skip_space(s);
        if (close == ']') place = s->at;
        if (!scan_value(s, place)) return false;
        if (!scan_separator(s, open, close, &more)) return false;
    }
    s->depth--;
    return true;
}

/* `place`: where a message about this value should point. */
static bool scan_value(Scan *s, size_t place) {
    if (s->seen++ == s->want) s->found = place;
    int c = peek(s);
    if (c == '{' || c == '[') return scan_container(s, c == '{' ? '}' : ']');
    if (c == '"') return scan_text(s);
    if (c == '-' || is_digit(c)) return scan_number(s);
    return scan_word(s);
}

static bool scan_file(Scan *s) {
    if (s->size >= 3 && memcmp(s->text, "\xEF\xBB\xBF", 3) == 0) s->at = 3; /* byte-order mark */
    skip_space(s);
    if (peek(s) < 0) return fail(s, s->at, "the file is empty: expected a JSON value");
    if (!scan_value(s, s->at)) return false;
    skip_space(s);
    char found[64];
    if (peek(s) >= 0)
        return fail(s, s->at, "expected the end of the file after the value, found %s", found_text(s, found));
    return true;
}

bool json_scan(const char *name, const char *text, size_t size, Error *e) {
    if (size > JSON_MAX_BYTES)
        return error_set(e, ERROR_LIMIT, "%s: %zu bytes of JSON; the limit is %zu", name, size,
                         JSON_MAX_BYTES);
    Scan s = {.name = name, .text = text, .size = size, .want = -1, .e = e};
    return scan_file(&s);
}

size_t json_scan_find(const char *text, size_t size, int64_t index) {
    Error ignored;
    Scan s = {.name = "", .text = text, .size = size, .want = index, .e = &ignored};
    scan_file(&s);
    return s.found;
}
