#define _GNU_SOURCE /* memmem */
#include "core/json_scan.h"
#include "unlearn/certificate_inside.h"

#include <stdio.h>
#include <string.h>

bool certificate_error(const CertificateLayout *l, int line, Error *e, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    e->code = ERROR_FORMAT;
    e->agreed = false;
    return error_prefix(e, "%s:%d", l->name, line);
}

/* The key that stood on a line when the file was signed, if its digests can be read; else "". A hint for
 * messages: nothing rests on it. */
static const char *signed_key(const CertificateLayout *l, int line, char key[CERTIFICATE_KEY]) {
    static const char lead[] = "\n\"digests\": {\"";
    const char *at = memmem(l->text, l->size, lead, sizeof lead - 1), *end = l->text + l->size;
    key[0] = '\0';
    if (!at) return key;
    at += sizeof lead - 1;
    for (int i = 2; at < end; i++) {
        const char *quote = memchr(at, '"', (size_t)(end - at));
        if (!quote || !certificate_key_fits(at, (size_t)(quote - at))) return key;
        if (i == line) {
            memcpy(key, at, (size_t)(quote - at));
            key[quote - at] = '\0';
            return key;
        }
        enum { BETWEEN = 4 + HASH_TEXT - 1 + 4 }; /* `": "`, the digest, `", "` */
        if (end - quote < BETWEEN) return key;
        at = quote + BETWEEN;
    }
    return key;
}

/* A line that is not of the form: says so, and which key was signed there if that can be told. */
static bool broken(const CertificateLayout *l, int line, const char *why, Error *e) {
    char key[CERTIFICATE_KEY];
    if (signed_key(l, line, key)[0])
        return certificate_error(l, line, e, "%s; \"%s\" was on this line when it was signed", why, key);
    return certificate_error(l, line, e, "%s", why);
}

/* The value, with the comma that ends every line but the last key's, the signature's. */
static bool take_value(const CertificateLayout *l, int number, CertificateLine *line, Error *e) {
    const char *value = l->text + line->value;
    bool comma = line->length > 0 && value[line->length - 1] == ',';
    bool last = !strcmp(line->key, certificate_seal[CERTIFICATE_SEAL - 1]);
    Error why;
    if (comma == last)
        return certificate_error(l, number, e, "\"%s\" was changed after signing: the line ends %s a comma",
                                 line->key, comma ? "in" : "without");
    line->length -= comma;
    return json_scan("value", value, line->length, &why) ||
           certificate_error(l, number, e,
                             "\"%s\" was changed after signing: its value is no longer one JSON value",
                             line->key);
}

/* `"key": value,` */
static bool take_line(CertificateLayout *l, int number, size_t begin, size_t size, Error *e) {
    const char *text = l->text + begin, *quote = size > 2 ? memchr(text + 1, '"', size - 1) : NULL;
    size_t key = quote ? (size_t)(quote - text) - 1 : 0;
    if (!quote || text[0] != '"' || !certificate_key_fits(text + 1, key) || size < key + 5 ||
        memcmp(quote, "\": ", 3) != 0)
        return broken(l, number, "does not begin with \"key\": and a value", e);
    if (l->count == CERTIFICATE_LINES)
        return certificate_error(l, number, e, "more than %d lines", CERTIFICATE_LINES);
    CertificateLine *line = &l->line[l->count];
    *line = (CertificateLine){.begin = begin, .size = size + 1};
    line->value = begin + key + 4;
    line->length = size - key - 4;
    memcpy(line->key, text + 1, key);
    if (!take_value(l, number, line, e) || !hash_bytes(text, line->size, line->sha256, e)) return false;
    l->count++;
    return true;
}

static bool take_first(const CertificateLayout *l, size_t size, Error *e) {
    if (size == 1 && l->text[0] == '{') return true;
    return certificate_error(
        l, 1, e,
        "is not \"{\" alone; it was changed, or another tool wrote the file anew, or this is no "
        "certificate");
}

/* `after`: where what stands behind the closing brace begins. */
static bool take_last(const CertificateLayout *l, size_t after, Error *e) {
    if (after == l->size) return true;
    return certificate_error(l, l->count + 3, e, "something stands behind the last line, which is \"}\"");
}

static bool cut_lines(CertificateLayout *l, Error *e) {
    size_t at = 0;
    for (int number = 1;; number++) {
        if (at == l->size)
            return certificate_error(l, number, e,
                                     "the file ends before this line; its end was cut off, or it is no "
                                     "certificate");
        const char *text = l->text + at, *newline = memchr(text, '\n', l->size - at);
        if (!newline)
            return broken(l, number, "the file ends within this line, without the newline at its end", e);
        size_t begin = at, size = (size_t)(newline - text);
        at += size + 1;
        if (number > 1 && size == 1 && text[0] == '}') return take_last(l, at, e);
        if (number == 1 ? !take_first(l, size, e) : !take_line(l, number, begin, size, e)) return false;
    }
}

/* From the end, since what is missing above does not move what stands below. */
static bool check_seal(const CertificateLayout *l, Error *e) {
    for (int i = CERTIFICATE_SEAL - 1; i >= 0; i--) {
        int at = l->count - CERTIFICATE_SEAL + i;
        if (at < 0)
            return certificate_error(l, l->count + 2, e, "the line of \"%s\" is missing above this one",
                                     certificate_seal[i]);
        if (strcmp(l->line[at].key, certificate_seal[i]) != 0)
            return certificate_error(l, at + 2, e,
                                     "\"%s\" is due on this line, not \"%s\"; it was changed or removed",
                                     certificate_seal[i], l->line[at].key);
    }
    return true;
}

bool certificate_layout(CertificateLayout *l, const char *name, const char *text, size_t size, Error *e) {
    l->name = name;
    l->text = text;
    l->size = size;
    l->count = 0;
    if (size > CERTIFICATE_CAP)
        return error_set(e, ERROR_LIMIT, "%s: larger than %d bytes, so it is no certificate", name,
                         CERTIFICATE_CAP);
    return cut_lines(l, e) && check_seal(l, e);
}
