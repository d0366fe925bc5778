#include "core/json_scan.h"
#include "unlearn/certificate_inside.h"

#include <stdio.h>
#include <string.h>

const char *const certificate_seal[CERTIFICATE_SEAL] = {"digests", "public_key", "signature"};

struct CertificateDraft {
    char *text; /* NUL-terminated */
    size_t used, room;
    int count;
    CertificateLine line[CERTIFICATE_LINES - CERTIFICATE_SEAL];
};

bool certificate_key_fits(const char *key, size_t length) {
    if (length == 0 || length >= CERTIFICATE_KEY || key[0] < 'a' || key[0] > 'z') return false;
    for (size_t i = 0; i < length; i++) {
        bool letter = key[i] >= 'a' && key[i] <= 'z', digit = key[i] >= '0' && key[i] <= '9';
        if (!letter && !digit && key[i] != '_') return false;
    }
    return true;
}

size_t certificate_digests_line(const CertificateLine *line, int count, char text[CERTIFICATE_DIGESTS]) {
    JsonWriter w = json_writer(text, CERTIFICATE_DIGESTS, 0);
    json_put_open(&w, certificate_seal[0], '{');
    for (int i = 0; i < count; i++) json_put_text(&w, line[i].key, line[i].sha256);
    json_put_close(&w, '}');
    if (w.full || w.used + 2 >= w.size) die("certificate: the digests do not fit");
    memcpy(text + w.used, ",\n", 3);
    return w.used + 2;
}

size_t certificate_public_line(const SignPublic *p, char text[CERTIFICATE_PUBLIC]) {
    char raw[BASE64_TEXT(SIGN_PUBLIC)];
    base64_put(p->raw, sizeof p->raw, raw);
    return (size_t)snprintf(text, CERTIFICATE_PUBLIC, "\"%s\": \"%s\",\n", certificate_seal[1], raw);
}

/* ---------------------------------------------------------------------------------------------- draft --- */

static bool too_large(Error *e) {
    return error_set(
        e, ERROR_LIMIT,
        "certificate: larger than %d bytes; forget fewer samples at once, with a certificate each",
        CERTIFICATE_CAP);
}

/* Room for `more` bytes and a NUL. */
static bool reserve(CertificateDraft *d, size_t more, Error *e) {
    size_t room = d->room ? d->room : 1 << 12;
    if (more > CERTIFICATE_CAP || d->used + more > CERTIFICATE_CAP) return too_large(e);
    while (room < d->used + more + 1) room *= 2;
    if (room == d->room) return true;
    char *larger = mem_resize(d->text, room);
    if (!larger) return error_memory(e, room);
    d->text = larger;
    d->room = room;
    return true;
}

static bool append(CertificateDraft *d, const char *text, size_t size, Error *e) {
    if (!reserve(d, size, e)) return false;
    memcpy(d->text + d->used, text, size);
    d->used += size;
    d->text[d->used] = '\0';
    return true;
}

bool certificate_draft_open(CertificateDraft **out, Error *e) {
    *out = NULL;
    CertificateDraft *d = mem_zero(1, sizeof *d);
    if (!d) return error_memory(e, sizeof *d);
    if (!append(d, "{\n", 2, e)) {
        certificate_draft_close(d);
        return false;
    }
    *out = d;
    return true;
}

void certificate_draft_close(CertificateDraft *d) {
    if (!d) return;
    mem_free(d->text);
    mem_free(d);
}

const char *certificate_draft_text(const CertificateDraft *d) {
    return d->text;
}

/* What a caller can only have written wrong. */
static void check_key(const CertificateDraft *d, const char *key) {
    if (!certificate_key_fits(key, strlen(key))) die("certificate: \"%s\" is no key", key);
    for (int i = 0; i < CERTIFICATE_SEAL; i++)
        if (!strcmp(key, certificate_seal[i])) die("certificate: \"%s\" is put when it is signed", key);
    for (int i = 0; i < d->count; i++)
        if (!strcmp(key, d->line[i].key)) die("certificate: \"%s\" is put twice", key);
    if (d->count == COUNT(d->line)) die("certificate: no room for \"%s\"", key);
}

/* The size of JSON without its blanks, but one after each comma and colon; written to `to` if that is not
 * NULL. */
static size_t copy_flat(char *to, const char *json, size_t size) {
    size_t used = 0;
    bool quoted = false, escaped = false;
    for (size_t i = 0; i < size; i++) {
        char c = json[i];
        if (!quoted && (c == ' ' || c == '\t' || c == '\n' || c == '\r')) continue;
        if (to) to[used] = c;
        used++;
        if (c == '"' && !escaped) quoted = !quoted;
        escaped = quoted && c == '\\' && !escaped;
        if (quoted || (c != ',' && c != ':')) continue;
        if (to) to[used] = ' ';
        used++;
    }
    return used;
}

/* Will the reader of the whole take this line, too? It knows of keys that stand twice, and of depth. The line
 * gets braces for as long as that takes. */
static bool check_line(CertificateDraft *d, size_t begin, Error *e) {
    JsonFile *f = NULL;
    d->text[begin - 1] = '{';
    d->text[d->used - 2] = '}';
    bool ok = json_open(&f, "certificate", d->text + begin - 1, d->used - begin, e);
    d->text[begin - 1] = '\n';
    d->text[d->used - 2] = ',';
    json_close(f);
    return ok;
}

bool certificate_put(CertificateDraft *d, const char *key, const char *json, Error *e) {
    size_t size = strlen(json), before = d->used;
    CertificateLine *line = &d->line[d->count];
    char lead[CERTIFICATE_KEY + 8];
    check_key(d, key);
    if (size > CERTIFICATE_CAP) return too_large(e);
    if (!json_scan(key, json, size, e)) return error_prefix(e, "certificate");
    size_t n = (size_t)snprintf(lead, sizeof lead, "\"%s\": ", key);
    if (!reserve(d, n + copy_flat(NULL, json, size) + 2, e) || !append(d, lead, n, e)) return false;
    d->used += copy_flat(d->text + d->used, json, size);
    memcpy(d->text + d->used, ",\n", 3);
    d->used += 2;
    *line = (CertificateLine){.begin = before, .size = d->used - before};
    memcpy(line->key, key, strlen(key) + 1);
    if (check_line(d, before, e) && hash_bytes(d->text + before, line->size, line->sha256, e)) {
        d->count++;
        return true;
    }
    d->used = before;
    d->text[before] = '\0';
    return false;
}

/* ------------------------------------------------------------------------------------------- the seal --- */

bool certificate_sign(CertificateDraft *d, const SignKey *key, char **text, size_t *size, Error *e) {
    char digests[CERTIFICATE_DIGESTS], public[CERTIFICATE_PUBLIC], raw[BASE64_TEXT(SIGN_SIGNATURE)];
    char last[sizeof raw + 32];
    uint8_t signature[SIGN_SIGNATURE];
    *text = NULL;
    *size = 0;
    if (!append(d, digests, certificate_digests_line(d->line, d->count, digests), e) ||
        !append(d, public, certificate_public_line(sign_key_public(key), public), e) ||
        !sign_bytes(key, d->text, d->used, signature, e))
        return false;
    base64_put(signature, sizeof signature, raw);
    int n = snprintf(last, sizeof last, "\"%s\": \"%s\"\n}\n", certificate_seal[2], raw);
    if (!append(d, last, (size_t)n, e)) return false;
    *text = d->text;
    *size = d->used;
    d->text = NULL;
    return true;
}
