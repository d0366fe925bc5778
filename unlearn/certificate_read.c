/* Verification is short: the layout, the key, the signature, the digests. The rest of this file finds out
 * what was changed, which the signature does not tell: a line is put back as it must have been, and if the
 * signature then fits, that line was it. */
#include "core/file.h"
#include "unlearn/certificate_inside.h"

#include <string.h>

struct Certificate {
    char *text;
    JsonFile *json;
    int lines;
};

/* A certificate under examination. */
typedef struct Case {
    CertificateLayout layout;
    const SignPublic *key; /* the one given */
    SignPublic own;        /* the one it names */
    uint8_t signature[SIGN_SIGNATURE];
    char given[HASH_TEXT], named[HASH_TEXT]; /* fingerprints */
} Case;

static const CertificateLine *seal_line(const Case *c, int i) {
    return &c->layout.line[c->layout.count - CERTIFICATE_SEAL + i];
}

static int seal_number(const Case *c, int i) {
    return c->layout.count - CERTIFICATE_SEAL + i + 2;
}

/* Lines before the seal. */
static int record_count(const Case *c) {
    return c->layout.count - CERTIFICATE_SEAL;
}

/* ---------------------------------------------------------------------------------------------- parts --- */

static bool read_base64(const Case *c, int i, uint8_t *out, size_t size, Error *e) {
    const CertificateLine *line = seal_line(c, i);
    const char *value = c->layout.text + line->value;
    if (line->length > 2 && value[0] == '"' && base64_get(value + 1, line->length - 2, out, size))
        return true;
    return certificate_error(&c->layout, seal_number(c, i), e,
                             "\"%s\" was changed after signing: it is not %zu bytes in base64", line->key,
                             size);
}

/* Does the signature fit the signed bytes with line `i` of the seal replaced by `line` (NULL: as they are)?
 */
static bool fits(const Case *c, const SignPublic *key, int i, const char *line, size_t size, bool *out,
                 Error *e) {
    const CertificateLine *old = seal_line(c, i);
    size_t signed_size = seal_line(c, CERTIFICATE_SEAL - 1)->begin;
    if (!line) return sign_fits(key, c->layout.text, signed_size, c->signature, out, e);
    size_t tail = signed_size - old->begin - old->size, whole = old->begin + size + tail;
    char *text = mem_get(whole);
    if (!text) return error_memory(e, whole);
    memcpy(text, c->layout.text, old->begin);
    memcpy(text + old->begin, line, size);
    memcpy(text + old->begin + size, c->layout.text + old->begin + old->size, tail);
    bool ok = sign_fits(key, text, whole, c->signature, out, e);
    mem_free(text);
    return ok;
}

/* Is the line of digests what the lines above it make? */
static bool digests_fit(const Case *c) {
    char due[CERTIFICATE_DIGESTS];
    size_t size = certificate_digests_line(c->layout.line, record_count(c), due);
    const CertificateLine *line = seal_line(c, 0);
    return line->size == size && memcmp(c->layout.text + line->begin, due, size) == 0;
}

/* ---------------------------------------------------------------------------------------------- blame --- */

static int find_line(const Case *c, const char *key, int before) {
    for (int i = 0; i < before; i++)
        if (!strcmp(c->layout.line[i].key, key)) return i;
    return -1;
}

/* Line i has another key than the digest of that place. */
static bool blame_key(const Case *c, int i, Json digests, const char *due, Error *e) {
    const char *key = c->layout.line[i].key;
    bool known = json_exists(json_get(digests, key)), present = find_line(c, due, record_count(c)) >= 0;
    if (known && present)
        return certificate_error(&c->layout, i + 2, e,
                                 "\"%s\" stands where \"%s\" was signed: lines were moved", key, due);
    if (known)
        return certificate_error(&c->layout, i + 2, e, "the line of \"%s\", which was here, was removed",
                                 due);
    if (present) return certificate_error(&c->layout, i + 2, e, "\"%s\" was added after signing", key);
    return certificate_error(&c->layout, i + 2, e, "\"%s\" stands where \"%s\" was signed", key, due);
}

/* The first line that is not as its digest says. True: every line is. */
static bool blame_lines(const Case *c, Json digests, Error *e) {
    const CertificateLayout *l = &c->layout;
    int count = record_count(c);
    Json d = json_first(digests);
    for (int i = 0; i < count; i++, d = json_next(d)) {
        const char *sha256;
        if (find_line(c, l->line[i].key, i) >= 0)
            return certificate_error(l, i + 2, e, "\"%s\" stands here a second time", l->line[i].key);
        if (!json_exists(d))
            return certificate_error(l, i + 2, e, "\"%s\" was added after signing", l->line[i].key);
        if (strcmp(json_key(d), l->line[i].key) != 0) return blame_key(c, i, digests, json_key(d), e);
        if (!json_text(d, &sha256, e) || strcmp(sha256, l->line[i].sha256) != 0)
            return certificate_error(l, i + 2, e, "\"%s\" was changed after signing", l->line[i].key);
    }
    if (!json_exists(d)) return true;
    return certificate_error(l, count + 2, e, "the line of \"%s\", which was above this one, was removed",
                             json_key(d));
}

/* Is line `i` of the seal the one that was changed? False with the answer or another error in *e; true: no.
 */
static bool blame_seal(const Case *c, const SignPublic *key, int i, const char *line, size_t size, Error *e) {
    bool restored;
    if (!fits(c, key, i, line, size, &restored, e)) return false;
    if (!restored) return true;
    return certificate_error(&c->layout, seal_number(c, i), e, "\"%s\" was changed after signing",
                             certificate_seal[i]);
}

static bool blame_digests(const Case *c, Error *e) {
    const CertificateLine *line = seal_line(c, 0);
    JsonFile *f = NULL;
    if (!json_open(&f, c->layout.name, c->layout.text + line->value, line->length, e)) {
        if (e->code == ERROR_MEMORY) return false;
        return certificate_error(&c->layout, seal_number(c, 0), e, "\"digests\" was changed after signing");
    }
    bool ok = blame_lines(c, json_root(f), e);
    json_close(f);
    return ok;
}

/* The signature does not fit: says why as well as that can be told. */
static bool blame(const Case *c, bool same, Error *e) {
    char digests[CERTIFICATE_DIGESTS], public[CERTIFICATE_PUBLIC];
    size_t digests_size = certificate_digests_line(c->layout.line, record_count(c), digests);
    size_t public_size = certificate_public_line(c->key, public);
    if (!same && !blame_seal(c, c->key, 1, public, public_size, e)) return false;
    if (!blame_seal(c, &c->own, 0, digests, digests_size, e) || !blame_digests(c, e)) return false;
    int number = seal_number(c, CERTIFICATE_SEAL - 1);
    if (same)
        return certificate_error(&c->layout, number, e,
                                 "\"signature\" does not fit: it was changed after signing, or lines were "
                                 "changed together with their digests");
    return certificate_error(&c->layout, number, e,
                             "\"signature\" fits neither the key given, %s, nor the key it names, %s",
                             c->given, c->named);
}

/* ---------------------------------------------------------------------------------------- verification ---
 */

static bool check(Case *c, Error *e) {
    bool fit;
    if (!read_base64(c, 1, c->own.raw, sizeof c->own.raw, e) ||
        !read_base64(c, 2, c->signature, sizeof c->signature, e) || !sign_fingerprint(c->key, c->given, e) ||
        !sign_fingerprint(&c->own, c->named, e) || !fits(c, &c->own, 0, NULL, 0, &fit, e))
        return false;
    bool same = memcmp(&c->own, c->key, sizeof c->own) == 0;
    if (!fit) return blame(c, same, e);
    if (!same)
        return error_set(e, ERROR_VALUE, "%s: was signed with the key %s, not with the one given, %s",
                         c->layout.name, c->named, c->given);
    if (digests_fit(c)) return true;
    return certificate_error(&c->layout, seal_number(c, 0), e,
                             "\"digests\" is not that of the lines, though it was signed so; whoever signed "
                             "this did not use Lethe");
}

/* Takes `text`, also when it fails. */
static bool verify(Certificate **out, const char *name, char *text, size_t size, const SignPublic *key,
                   Error *e) {
    Certificate *c = mem_zero(1, sizeof *c);
    Case *examined = mem_zero(1, sizeof *examined);
    *out = NULL;
    if (!c || !examined) {
        error_memory(e, sizeof *examined);
        mem_free(text);
        goto out;
    }
    c->text = text;
    examined->key = key;
    if (!certificate_layout(&examined->layout, name, text, size, e) || !check(examined, e) ||
        !json_open(&c->json, name, text, size, e)) /* which takes no key twice */
        goto out;
    c->lines = examined->layout.count + 2;
    *out = c;
    c = NULL;
out:
    mem_free(examined);
    certificate_close(c);
    return *out != NULL;
}

bool certificate_verify(Certificate **out, const char *name, const char *text, size_t size,
                        const SignPublic *key, Error *e) {
    *out = NULL;
    char *copy = mem_get(size + 1);
    if (!copy) return error_memory(e, size + 1);
    memcpy(copy, text, size);
    copy[size] = '\0';
    return verify(out, name, copy, size, key, e);
}

bool certificate_verify_file(Certificate **out, const char *path, const SignPublic *key, Error *e) {
    char *text;
    size_t size;
    *out = NULL;
    return file_read(path, CERTIFICATE_CAP, &text, &size, e) && verify(out, path, text, size, key, e);
}

void certificate_close(Certificate *c) {
    if (!c) return;
    json_close(c->json);
    mem_free(c->text);
    mem_free(c);
}

Json certificate_root(const Certificate *c) {
    return json_root(c->json);
}

Json certificate_get(const Certificate *c, const char *key) {
    return json_get(json_root(c->json), key);
}

int certificate_lines(const Certificate *c) {
    return c->lines;
}
