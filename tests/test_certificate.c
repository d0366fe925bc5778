/* Certificates: every byte counts, and the line that was changed is named; nobody is; openings; Merkle roots.
 */
#include "core/file.h"
#include "unlearn/certificate_facts.h"
#include "unlearn/merkle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/lethe_certificate_XXXXXX";

static const char *at(const char *name) {
    static char path[4][FILE_PATH];
    static int turn;
    Error e;
    char *p = path[turn++ % 4];
    assert_true(file_join(p, FILE_PATH, folder, name, &e));
    return p;
}

/* ---------------------------------------------------------------------------------------- a deletion --- */

enum { SAMPLES = 5, OLD = 3, REFERENCES = 2, LINES = 24 };
static char sha[SAMPLES + OLD + 4 + REFERENCES][HASH_TEXT];
static const char *reference[REFERENCES];
static CertificateSample sample[SAMPLES];
static CertificateFile old[OLD];

static CertificateFacts facts(void) {
    static const char *const id[] = {"portrait-17", "18", "portrait-19", "1042", "\xC3\xA9t\xC3\xA9\n\""};
    static const char *const path[] = {"faces/person_0007/a0001.jpg", "faces/person_0007/a0002.jpg",
                                       "faces/person_0007/a0003.jpg", "faces/person_0007/a0004.jpg",
                                       "faces/person_0007/\xC3\xA9t\xC3\xA9 \"5\".jpg"};
    Error e;
    for (int i = 0; i < COUNT(sha); i++) assert_true(hash_bytes(&i, sizeof i, sha[i], &e));
    for (int i = 0; i < SAMPLES; i++) sample[i] = (CertificateSample){id[i], path[i], sha[i]};
    old[0] = (CertificateFile){"runs/a/checkpoints/90/model.safetensors", "checkpoint", 123456, sha[SAMPLES],
                               false};
    old[1] = (CertificateFile){"runs/a/checkpoints/90/optimizer.safetensors", "optimizer", 246912,
                               sha[SAMPLES + 1], false};
    old[2] = (CertificateFile){"runs/a/manifest.jsonl", "manifest", 98765432, sha[SAMPLES + 2], true};
    for (int i = 0; i < REFERENCES; i++) reference[i] = sha[SAMPLES + OLD + 4 + i];
    return (CertificateFacts){.received = 1772366400,
                              .answered = 1772452800,
                              .kind = REQUEST_IDENTITY,
                              .request = "person_0007",
                              .identities = 1,
                              .forgotten = sample,
                              .forgotten_count = SAMPLES,
                              .retained_count = 475,
                              .manifest_before = sha[SAMPLES + OLD],
                              .manifest_after = sha[SAMPLES + OLD + 1],
                              .method = "ascent",
                              .settings =
                                  "{\n  \"epochs\": 7,\n  \"rate\": 1e-4, \"note\": \"a, b: \\\" c\"\n}",
                              .references = reference,
                              .reference_count = REFERENCES,
                              .audit = "{\"forget\": {\"accuracy\": 0.31}}",
                              .seed = 17,
                              .weights_before = sha[SAMPLES + OLD + 2],
                              .weights_after = sha[SAMPLES + OLD + 3],
                              .claim = CLAIM_HEURISTIC,
                              .old_state = old,
                              .old_state_count = OLD,
                              .duration_seconds = 12.5,
                              .by = "privacy desk"};
}

typedef struct Signed {
    SignKey *key;
    SignPublic public;
    CertificateSecret secret;
    char *text;
    size_t size;
} Signed;

static Signed sign(const CertificateFacts *f) {
    Signed s = {0};
    CertificateDraft *d = NULL;
    Error e = {0};
    if (!sign_key_make(&s.key, &e) || !certificate_secret_make(&s.secret, &e) ||
        !certificate_draft_open(&d, &e) || !certificate_facts_put(d, f, &s.secret, &e) ||
        !certificate_sign(d, s.key, &s.text, &s.size, &e))
        fail_msg("%s", e.text);
    certificate_draft_close(d);
    s.public = *sign_key_public(s.key);
    return s;
}

static void drop(Signed *s) {
    sign_key_close(s->key);
    mem_free(s->text);
}

/* The line on which a byte stands. */
static int line_of(const char *text, size_t byte) {
    int line = 1;
    for (size_t i = 0; i < byte; i++) line += text[i] == '\n';
    return line;
}

static size_t line_begin(const char *text, int line) {
    size_t i = 0;
    for (; line > 1; i++) line -= text[i] == '\n';
    return i;
}

/* The key of a line, "" for the braces. */
static void key_of(const char *text, int line, char key[CERTIFICATE_KEY]) {
    const char *from = text + line_begin(text, line);
    key[0] = '\0';
    if (*from != '"') return;
    size_t n = strcspn(from + 1, "\"");
    memcpy(key, from + 1, n);
    key[n] = '\0';
}

static bool verifies(const Signed *s, const char *text, size_t size, Error *e) {
    Certificate *c = NULL;
    bool ok = certificate_verify(&c, "c.json", text, size, &s->public, e);
    assert_true(ok == (c != NULL));
    certificate_close(c);
    if (!ok)
        for (const char *p = e->text; *p; p++) assert_true((unsigned char)*p >= 0x20);
    return ok;
}

/* Refused, on this line, with these words. */
static void refused(const Signed *s, const char *text, size_t size, int line, const char *says) {
    char lead[32];
    Error e = {0};
    snprintf(lead, sizeof lead, "c.json:%d: ", line);
    if (verifies(s, text, size, &e)) fail_msg("accepted, though line %d is wrong", line);
    if (strncmp(e.text, lead, strlen(lead)) != 0 || !strstr(e.text, says))
        fail_msg("wanted %s.. %s, got: %s", lead, says, e.text);
}

/* ------------------------------------------------------------------------------------------ the whole --- */

static void whole(void **state) {
    (void)state;
    CertificateFacts f = facts();
    Signed s = sign(&f);
    Certificate *c;
    Error e = {0};
    int64_t number;
    const char *text;
    if (!certificate_verify(&c, "c.json", s.text, s.size, &s.public, &e)) fail_msg("%s", e.text);
    assert_int_equal(certificate_lines(c), LINES);
    assert_int_equal(line_of(s.text, s.size - 1), LINES);
    assert_true(json_text(certificate_get(c, "format"), &text, &e));
    assert_string_equal(text, "lethe-certificate 2");
    assert_true(json_text(certificate_get(c, "received"), &text, &e));
    assert_string_equal(text, "2026-03-01T12:00:00Z");
    assert_true(json_int(json_get(certificate_get(c, "settings"), "epochs"), 0, 10, &number, &e));
    assert_int_equal(number, 7);
    assert_true(json_text(json_get(certificate_get(c, "settings"), "note"), &text, &e));
    assert_string_equal(text, "a, b: \" c");
    assert_int_equal(json_count(certificate_get(c, "forgotten")), SAMPLES);
    assert_int_equal(json_type(json_get(certificate_get(c, "claim"), "epsilon")), JSON_NULL);
    assert_true(json_text(json_get(certificate_get(c, "claim"), "text"), &text, &e));
    assert_non_null(strstr(text, "Nothing proves"));
    assert_int_equal(json_count(certificate_get(c, "old_state")), OLD);
    assert_int_equal(json_count(certificate_get(c, "references")), REFERENCES);
    assert_true(json_text(json_first(certificate_get(c, "references")), &text, &e));
    assert_string_equal(text, reference[0]);
    assert_false(json_int(certificate_get(c, "none"), 0, 1, &number, &e));
    assert_string_equal(e.text, "c.json:1:1: none: missing");
    certificate_close(c);

    assert_true(file_write(at("c.json"), s.text, s.size, &e));
    assert_true(certificate_verify_file(&c, at("c.json"), &s.public, &e));
    certificate_close(c);
    assert_false(certificate_verify_file(&c, at("nothing"), &s.public, &e));
    assert_null(c);
    assert_true(truncate(at("c.json"), CERTIFICATE_CAP + 1) == 0);
    assert_false(certificate_verify_file(&c, at("c.json"), &s.public, &e));
    assert_non_null(strstr(e.text, "larger than"));
    drop(&s);
}

/* ------------------------------------------------------------------------------------------ mutations --- */

/* Each byte becomes a few others, among them those that change the layout: the error names its line, and but
 * for the braces its key. */
static void every_byte(void **state) {
    (void)state;
    CertificateFacts f = facts();
    Signed s = sign(&f);
    char *text = malloc(s.size), key[CERTIFICATE_KEY], lead[32], quoted[CERTIFICATE_KEY + 2];
    static const char into[] = "\n\" ,}{:\tA0\\";
    Error e;
    memcpy(text, s.text, s.size);
    for (size_t i = 0; i < s.size; i++) {
        int line = line_of(s.text, i);
        snprintf(lead, sizeof lead, "c.json:%d: ", line);
        key_of(s.text, line, key);
        snprintf(quoted, sizeof quoted, "\"%s\"", key);
        for (int k = 0; k < 2 + COUNT(into); k++) {
            text[i] = k < 2 ? (char)(s.text[i] ^ (1 << (k ? 5 : i % 8))) : into[k - 2];
            if (text[i] == s.text[i]) continue;
            if (verifies(&s, text, s.size, &e)) fail_msg("byte %zu as 0x%02x was accepted", i, text[i] & 255);
            if (strncmp(e.text, lead, strlen(lead)) != 0 ||
                (key[0] && line < LINES - 3 && !strstr(e.text, quoted)))
                fail_msg("byte %zu as 0x%02x, wanted %s%s, got: %s", i, text[i] & 255, lead, key, e.text);
        }
        text[i] = s.text[i];
    }
    free(text);
    drop(&s);
}

static void cut_short(void **state) {
    (void)state;
    CertificateFacts f = facts();
    Signed s = sign(&f);
    for (size_t size = 0; size < s.size; size++)
        refused(&s, s.text, size, line_of(s.text, size), "the file ends");
    drop(&s);
}

/* A byte more at any place. On the border of two lines either may be named. */
static void grown(void **state) {
    (void)state;
    CertificateFacts f = facts();
    Signed s = sign(&f);
    char *text = malloc(s.size + 1), lead[32];
    static const char byte[] = "\n\" ,}A0";
    Error e;
    for (size_t i = 0; i <= s.size; i++) {
        memcpy(text, s.text, i);
        memcpy(text + i + 1, s.text + i, s.size - i);
        for (size_t k = 0; k < sizeof byte; k++) {
            text[i] = byte[k];
            if (verifies(&s, text, s.size + 1, &e)) fail_msg("a byte 0x%02x at %zu was accepted", byte[k], i);
            int line = line_of(text, i);
            snprintf(lead, sizeof lead, "c.json:%d: ", line);
            if (!strncmp(e.text, lead, strlen(lead))) continue;
            /* an equal byte beside it: which of the two is the new one? */
            snprintf(lead, sizeof lead, "c.json:%d: ", line + 1);
            if (byte[k] != '\n' || strncmp(e.text, lead, strlen(lead)) != 0)
                fail_msg("a byte 0x%02x at %zu on line %d: %s", byte[k], i, line, e.text);
        }
    }
    /* a byte less */
    for (size_t i = 0; i < s.size; i++) {
        memcpy(text, s.text, i);
        memcpy(text + i, s.text + i + 1, s.size - i - 1);
        if (verifies(&s, text, s.size - 1, &e)) fail_msg("byte %zu is not missed", i);
        snprintf(lead, sizeof lead, "c.json:%d: ", line_of(s.text, i));
        if (strncmp(e.text, lead, strlen(lead)) != 0) fail_msg("byte %zu is missing: %s", i, e.text);
    }
    free(text);
    drop(&s);
}

/* Lines from..to of a text; a new text: the `count` lines of `order`, from 1. */
static char *arrange(const char *text, const int *order, int count, size_t *size) {
    char *out = malloc(strlen(text) * 2 + 1);
    *size = 0;
    for (int i = 0; i < count; i++) {
        const char *from = text + line_begin(text, order[i]);
        size_t n = strcspn(from, "\n") + 1;
        memcpy(out + *size, from, n);
        *size += n;
    }
    out[*size] = '\0';
    return out;
}

static void lines_moved(void **state) {
    (void)state;
    CertificateFacts f = facts();
    Signed s = sign(&f);
    char key[CERTIFICATE_KEY];
    size_t size;
    for (int line = 2; line < LINES; line++) {
        int order[LINES + 1], n = 0;
        for (int k = 1; k <= LINES; k++)
            if (k != line) order[n++] = k;
        char *less = arrange(s.text, order, n, &size);
        key_of(s.text, line, key);
        if (line <= LINES - 4) refused(&s, less, size, line, key);
        Error e;
        assert_false(verifies(&s, less, size, &e));
        free(less);
        n = 0;
        for (int k = 1; k <= LINES; k++) {
            order[n++] = k;
            if (k == line) order[n++] = k;
        }
        char *twice = arrange(s.text, order, n, &size);
        if (line <= LINES - 4) refused(&s, twice, size, line + 1, "a second time");
        assert_false(verifies(&s, twice, size, &e));
        free(twice);
        for (int other = line + 1; other < LINES; other++) {
            for (int k = 1; k <= LINES; k++) order[k - 1] = k;
            order[line - 1] = other, order[other - 1] = line;
            char *moved = arrange(s.text, order, LINES, &size);
            if (other <= LINES - 4) refused(&s, moved, size, line, "lines were moved");
            assert_false(verifies(&s, moved, size, &e));
            free(moved);
        }
    }
    drop(&s);
}

/* One text in the place of another. */
static char *replaced(const char *text, const char *from, const char *to, size_t *size) {
    const char *place = strstr(text, from);
    assert_non_null(place);
    char *out = malloc(strlen(text) + strlen(to) + 1);
    size_t n = (size_t)(place - text);
    memcpy(out, text, n);
    *size = (size_t)sprintf(out + n, "%s%s", to, place + strlen(from)) + n;
    return out;
}

/* What a forger would do. */
static void forged(void **state) {
    (void)state;
    CertificateFacts f = facts();
    Signed s = sign(&f), other;
    char before[HASH_TEXT], after[HASH_TEXT], mine[HASH_TEXT], theirs[HASH_TEXT], key[CERTIFICATE_KEY];
    size_t size;
    Error e = {0};
    Certificate *c;
    char *text = replaced(s.text, "\"ascent\"", "\"retrain\"", &size);
    int line = line_of(s.text, (size_t)(strstr(s.text, "\"ascent\"") - s.text));
    refused(&s, text, size, line, "\"method\" was changed after signing");

    /* with a fitting digest: only the signature tells */
    const char *was = s.text + line_begin(s.text, line), *is = text + line_begin(text, line);
    assert_true(hash_bytes(was, strcspn(was, "\n") + 1, before, &e));
    assert_true(hash_bytes(is, strcspn(is, "\n") + 1, after, &e));
    char *again = replaced(text, before, after, &size);
    refused(&s, again, size, LINES - 1, "lines were changed together with their digests");
    free(again);
    free(text);

    text = replaced(s.text, "\"seed\": 17,\n", "\"seed\": 17,\n\"basis\": \"none\",\n", &size);
    refused(&s, text, size, line_of(text, (size_t)(strstr(text, "\"basis\"") - text)), "\"basis\" was added");
    free(text);
    text = replaced(s.text, "\"digests\"", "\"basis\": 1,\n\"digests\"", &size);
    refused(&s, text, size, LINES - 3, "\"basis\" was added");
    free(text);
    text = replaced(s.text, "{\n\"format\"", "{\r\n\"format\"", &size);
    refused(&s, text, size, 1, "");
    free(text);
    text = replaced(s.text, "\"seed\"", "\"weed\"", &size);
    line = line_of(s.text, (size_t)(strstr(s.text, "\"seed\"") - s.text));
    refused(&s, text, size, line, "\"weed\" stands where \"seed\" was signed");
    free(text);

    /* somebody else's signature */
    other = sign(&f);
    assert_false(certificate_verify(&c, "c.json", other.text, other.size, &s.public, &e));
    assert_true(sign_fingerprint(&s.public, mine, &e) && sign_fingerprint(&other.public, theirs, &e));
    e = (Error){0};
    assert_false(verifies(&s, other.text, other.size, &e));
    assert_non_null(strstr(e.text, mine));
    assert_non_null(strstr(strstr(e.text, theirs), "not with the one given"));
    /* its seal under this record */
    for (int from = LINES - 3; from < LINES; from++) {
        const char *seal = other.text + line_begin(other.text, from),
                   *own = s.text + line_begin(s.text, from);
        size_t head = (size_t)(own - s.text), tail = strlen(seal);
        text = malloc(head + tail + 1);
        memcpy(text, s.text, head);
        memcpy(text + head, seal, tail + 1);
        key_of(text, from, key);
        assert_false(verifies(&s, text, head + tail, &e));
        free(text);
    }
    drop(&other);
    drop(&s);
}

/* Signed by a hand that does not keep the format. */
static void signed_badly(void **state) {
    (void)state;
    SignKey *k;
    Signed s = {0};
    Error e = {0};
    char text[1000], base[100];
    uint8_t signature[SIGN_SIGNATURE];
    static const char *const record[] = {
        "{\n\"a\": 1,\n\"digests\": {},\n",
        "{\n\"digests\": {},\n",
        "{\n\"digests\":  {},\n",
        "{\n\"digests\": [],\n",
    };
    assert_true(sign_key_make(&k, &e));
    s.public = *sign_key_public(k);
    for (int i = 0; i < COUNT(record); i++) {
        size_t n = (size_t)snprintf(text, sizeof text, "%s\"public_key\": \"", record[i]);
        uint8_t three[33] = {0};
        memcpy(three, s.public.raw, SIGN_PUBLIC);
        static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for (int b = 0; b < 44; b++) { /* base64 by hand */
            int bit = 6 * b, word = three[bit / 8] << 8 | (bit / 8 + 1 < 33 ? three[bit / 8 + 1] : 0);
            text[n++] = b == 43 ? '=' : digit[word >> (10 - bit % 8) & 63];
        }
        n += (size_t)snprintf(text + n, sizeof text - n, "\",\n");
        assert_true(sign_bytes(k, text, n, signature, &e));
        size_t used = 0;
        for (int b = 0; b < 86; b++) {
            int bit = 6 * b, word = signature[bit / 8] << 8 | (bit / 8 + 1 < 64 ? signature[bit / 8 + 1] : 0);
            base[used++] = digit[word >> (10 - bit % 8) & 63];
        }
        base[used] = '\0';
        n += (size_t)snprintf(text + n, sizeof text - n, "\"signature\": \"%s==\"\n}\n", base);
        if (i == 1) {
            if (!verifies(&s, text, n, &e)) fail_msg("%s", e.text);
        } else {
            refused(&s, text, n, i == 0 ? 3 : 2, "did not use Lethe");
        }
    }
    sign_key_close(k);
}

static void many_lines(void **state) {
    (void)state;
    Signed s = {0};
    char *text = malloc(1 << 20);
    size_t n = (size_t)sprintf(text, "{\n");
    for (int i = 0; i < 2 * CERTIFICATE_LINES; i++) n += (size_t)sprintf(text + n, "\"a%d\": 1,\n", i);
    refused(&s, text, n, CERTIFICATE_LINES + 2, "more than");
    refused(&s, "{\n}\n", 4, 2, "missing");
    refused(&s, "{\n\"a\": 1\n}\n", 11, 2, "ends without a comma");
    refused(&s, "{\n\"a\": 1,\n}\n", 12, 2, "due on this line");
    refused(&s, "{\n\"a\": ,\n}\n", 11, 2, "no longer one JSON value");
    refused(&s, "", 0, 1, "");
    refused(&s, "{}\n", 3, 1, "");
    memset(text, '\n', 1 << 20);
    refused(&s, text, 1 << 20, 1, "");
    free(text);
}

/* ------------------------------------------------------------------------------------------- the draft ---
 */

static void drafts(void **state) {
    (void)state;
    CertificateDraft *d;
    Error e = {0};
    assert_true(certificate_draft_open(&d, &e));
    assert_string_equal(certificate_draft_text(d), "{\n");
    assert_false(certificate_put(d, "a", "", &e));
    assert_false(certificate_put(d, "a", "1 2", &e));
    assert_false(certificate_put(d, "a", "{\"b\": 1,}", &e));
    assert_non_null(strstr(e.text, "certificate: a:1:"));
    assert_false(certificate_put(d, "a", "{\"b\": 1, \"b\": 2}", &e)); /* no reader would take it */
    assert_non_null(strstr(e.text, "certificate:1:"));
    char deep[2 * JSON_MAX_DEPTH + 1];
    memset(deep, '[', JSON_MAX_DEPTH);
    memset(deep + JSON_MAX_DEPTH, ']', JSON_MAX_DEPTH);
    deep[2 * JSON_MAX_DEPTH] = '\0';
    assert_false(certificate_put(d, "a", deep, &e));
    assert_true(certificate_put(d, "a", " [1,\n\t2 , \"x \\\\\" ]\r\n", &e));
    assert_string_equal(certificate_draft_text(d), "{\n\"a\": [1, 2, \"x \\\\\"],\n");
    char *large = malloc(CERTIFICATE_CAP + 3), before[64];
    snprintf(before, sizeof before, "%s", certificate_draft_text(d));
    memset(large, 'x', CERTIFICATE_CAP + 2);
    large[0] = large[CERTIFICATE_CAP + 1] = '"';
    large[CERTIFICATE_CAP + 2] = '\0';
    assert_false(certificate_put(d, "b", large, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    assert_string_equal(certificate_draft_text(d), before);
    strcpy(large + CERTIFICATE_CAP - 1000, "\"");
    assert_true(certificate_put(d, "b", large, &e));
    memset(large, ' ', 2000);
    strcpy(large + 2000, "1");
    assert_true(certificate_put(d, "c", large, &e));
    strcpy(large, "[\"");
    memset(large + 2, 'x', 1200);
    strcpy(large + 1202, "\"]");
    assert_false(certificate_put(d, "d", large, &e));
    assert_int_equal(e.code, ERROR_LIMIT);
    free(large);
    certificate_draft_close(d);
    certificate_draft_close(NULL);
    certificate_close(NULL);
}

/* The n-th request for memory fails: an error, and nothing is lost. */
static void memory(void **state) {
    (void)state;
    CertificateFacts f = facts();
    Signed s = sign(&f);
    bool ok = false;
    for (int64_t n = 0; !ok; n++) {
        uint64_t live = mem_stat().live;
        CertificateDraft *d = NULL;
        Certificate *c = NULL;
        char *text = NULL, name[32];
        size_t size;
        CertificateOpened opened;
        Error e = {0};
        snprintf(name, sizeof name, "memory%d", (int)n);
        const char *path = at(name);
        mem_fail_after(n);
        ok = certificate_draft_open(&d, &e) && certificate_facts_put(d, &f, &s.secret, &e) &&
             certificate_sign(d, s.key, &text, &size, &e) &&
             certificate_verify(&c, "c.json", text, size, &s.public, &e) &&
             certificate_opening_write(path, &f, &s.secret, &e) &&
             certificate_opening_check(c, path, &opened, &e);
        mem_fail_after(-1);
        if (!ok) assert_int_equal(e.code, ERROR_MEMORY);
        certificate_draft_close(d);
        certificate_close(c);
        mem_free(text);
        assert_int_equal(mem_stat().live, live);
    }
    drop(&s);
}

/* --------------------------------------------------------------------------------------------- secrets ---
 */

static void names_nobody(void **state) {
    (void)state;
    CertificateFacts f = facts();
    Signed s = sign(&f);
    char salt[2 * CERTIFICATE_SALT + 1];
    hash_hex(s.secret.salt, sizeof s.secret.salt, salt);
    assert_null(strstr(s.text, salt));
    assert_null(strstr(s.text, "person_0007"));
    assert_null(strstr(s.text, "faces"));
    for (int i = 0; i < SAMPLES; i++) {
        char quoted[64];
        snprintf(quoted, sizeof quoted, "\"%s\"", sample[i].id);
        assert_null(strstr(s.text, quoted));
        assert_null(strstr(s.text, sample[i].path));
        assert_null(strstr(s.text, file_base(sample[i].path)));
        assert_null(strstr(s.text, sample[i].sha256));
    }
    /* nor what somebody could make of the list before, who has all of its lines but theirs and tries images
     */
    assert_null(strstr(s.text, f.manifest_before));
    assert_null(strstr(s.text, old[2].sha256));
    assert_null(strstr(s.text, "98765432"));
    assert_non_null(strstr(s.text, old[0].sha256));
    assert_non_null(strstr(s.text, f.manifest_after));

    /* the order of the samples leaves no trace, and neither does a second certificate of the same */
    CertificateFacts turned = f;
    CertificateSample back[SAMPLES];
    for (int i = 0; i < SAMPLES; i++) back[i] = sample[SAMPLES - 1 - i];
    turned.forgotten = back;
    CertificateDraft *one, *two;
    Error e = {0};
    assert_true(certificate_draft_open(&one, &e) && certificate_facts_put(one, &f, &s.secret, &e));
    assert_true(certificate_draft_open(&two, &e) && certificate_facts_put(two, &turned, &s.secret, &e));
    assert_string_equal(certificate_draft_text(one), certificate_draft_text(two));
    certificate_draft_close(one);
    certificate_draft_close(two);
    Signed other = sign(&f);
    const char *list = strstr(s.text, "\"forgotten\": [\"") + 15,
               *twin = strstr(other.text, "\"forgotten\": [\"") + 15;
    for (int i = 0; i < SAMPLES; i++)
        for (int k = 0; k < SAMPLES; k++)
            assert_int_not_equal(strncmp(list + 68 * (ptrdiff_t)i, twin + 68 * (ptrdiff_t)k, 64), 0);
    drop(&other);
    drop(&s);
}

/* What a caller gives is looked through. */
static void names_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "{\"data\": \"faces/person_0007/a0001.jpg\"}",
        "{\"data\": {\"/mnt/faces/person_0007/a0002.jpg\": 0.5}}",
        "[\"a0003.jpg\"]",
        "[\"--forget identity=person_0007\"]",
        "[[1, {\"a\": \"portrait-19\"}]]",
        "\"18\"",
        "\"f\\u0061ces/person_0007/\\u00e9t\\u00e9 \\\"5\\\".jpg\"",
    };
    static const char *const good[] = {
        "{\"data.train\": \"faces/train\", \"epochs\": 18, \"seed\": 1042}",
        "[\"person_00071\", \"18 epochs\", \"portrait-199\", \"aa0003.jpg\", null, true]",
    };
    CertificateFacts f = facts();
    CertificateSecret secret;
    CertificateDraft *d;
    Error e = {0};
    assert_true(certificate_secret_make(&secret, &e));
    for (int i = 0; i < COUNT(bad); i++) {
        f.settings = bad[i];
        assert_true(certificate_draft_open(&d, &e));
        if (certificate_facts_put(d, &f, &secret, &e)) fail_msg("accepted: %s", bad[i]);
        assert_non_null(strstr(e.text, "certificate: \"settings\" "));
        assert_null(strstr(e.text, "person_0007"));
        certificate_draft_close(d);
    }
    for (int i = 0; i < COUNT(good); i++)
        if (!certificate_names_nobody(&f, "settings", good[i], &e)) fail_msg("%s", e.text);

    f = facts();
    sample[1] = sample[0];
    assert_true(certificate_draft_open(&d, &e));
    assert_false(certificate_facts_put(d, &f, &secret, &e));
    assert_non_null(strstr(e.text, "given twice"));
    certificate_draft_close(d);
    f = facts();
    f.claim = CLAIM_CERTIFIED;
    f.epsilon = -1;
    assert_true(certificate_draft_open(&d, &e));
    assert_false(certificate_facts_put(d, &f, &secret, &e));
    assert_non_null(strstr(e.text, "epsilon"));
    certificate_draft_close(d);
}

/* A commitment is what its definition says; coreutils' sha256sum made the due value. */
static void commitment(void **state) {
    (void)state;
    CertificateFacts f = facts();
    CertificateSecret secret = {.id = "00000000000000000000000000000000"};
    CertificateDraft *d;
    Error e = {0};
    char bytes[200], due[HASH_TEXT];
    for (int i = 0; i < CERTIFICATE_SALT; i++) secret.salt[i] = (uint8_t)i;
    memcpy(bytes, secret.salt, CERTIFICATE_SALT);
    size_t n = CERTIFICATE_SALT + (size_t)sprintf(bytes + CERTIFICATE_SALT, "%c%s%c%s", 0, "x", 0, sha[0]);
    f.forgotten_count = 1;
    sample[0].id = "x";
    assert_true(certificate_draft_open(&d, &e) && certificate_facts_put(d, &f, &secret, &e));
    assert_true(hash_bytes(bytes, n, due, &e));
    assert_non_null(strstr(certificate_draft_text(d), due));
    n = CERTIFICATE_SALT + (size_t)sprintf(bytes + CERTIFICATE_SALT, "%c%s", 1, f.request);
    assert_true(hash_bytes(bytes, n, due, &e));
    assert_non_null(strstr(certificate_draft_text(d), due));
    const char *const list[] = {f.manifest_before, old[2].sha256};
    for (int i = 0; i < COUNT(list); i++) {
        n = CERTIFICATE_SALT + (size_t)sprintf(bytes + CERTIFICATE_SALT, "%c%s", 2 + i, list[i]);
        assert_true(hash_bytes(bytes, n, due, &e));
        assert_non_null(strstr(certificate_draft_text(d), due));
    }
    certificate_draft_close(d);
}

/* -------------------------------------------------------------------------------------------- openings ---
 */

static void opening_says(const Certificate *c, const char *text, const char *from, const char *to,
                         const char *says) {
    size_t size;
    CertificateOpened opened;
    Error e = {0};
    char *bad = replaced(text, from, to, &size);
    assert_true(file_write(at("bad.json"), bad, size, &e));
    free(bad);
    if (certificate_opening_check(c, at("bad.json"), &opened, &e)) fail_msg("accepted with %s", to);
    if (!strstr(e.text, says) || !strstr(e.text, "bad.json:")) fail_msg("wanted %s, got: %s", says, e.text);
}

static void openings(void **state) {
    (void)state;
    CertificateFacts f = facts();
    Signed s = sign(&f);
    Certificate *c;
    Error e = {0};
    struct stat info;
    CertificateOpened opened = {0};
    char *text;
    size_t size;
    assert_true(certificate_verify(&c, "c.json", s.text, s.size, &s.public, &e));
    if (!certificate_opening_write(at("opening.json"), &f, &s.secret, &e)) fail_msg("%s", e.text);
    assert_int_equal(stat(at("opening.json"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_false(certificate_opening_write(at("opening.json"), &f, &s.secret, &e));
    if (!certificate_opening_check(c, at("opening.json"), &opened, &e)) fail_msg("%s", e.text);
    assert_int_equal(opened.samples, SAMPLES);
    assert_int_equal(opened.lists, 1);
    assert_string_equal(opened.manifest_before, f.manifest_before);

    assert_true(file_read(at("opening.json"), 1 << 20, &text, &size, &e));
    opening_says(c, text, "\"portrait-17\"", "\"portrait-16\"", "samples[0]: this sample is not among");
    opening_says(c, text, sha[1], sha[0], "samples[1]: this sample is not among");
    opening_says(c, text, "\"18\"", "18", "samples[1].id");
    opening_says(c, text, sha[1], "00", "samples[1].sha256");
    opening_says(c, text, "person_0007\"", "person_0008\"", "another request");
    opening_says(c, text, s.secret.id, "0", "belongs to another certificate");
    opening_says(c, text, "lethe-opening 2", "lethe-opening 1", "is no opening");
    char first[300], *begin = strstr(text, "{\"id\": \"portrait-17\""), *end = strchr(begin, '}') + 3;
    snprintf(first, sizeof first, "%.*s", (int)(end - begin), begin);
    opening_says(c, text, first, "", "opens 4 of the certificate's 5");
    char twice[610];
    snprintf(twice, sizeof twice, "%s%s", first, first);
    opening_says(c, text, first, twice, "a sample is there twice");
    opening_says(c, text, f.manifest_before, sha[0],
                 "manifest_before: the certificate commits to another list");
    opening_says(c, text, f.manifest_before, "00", "manifest_before: expected 64 hex digits");
    opening_says(c, text, sha[SAMPLES + 2], sha[0], "old_lists[0]: the certificate commits to another file");
    opening_says(c, text, old[2].path, "runs/b/manifest.jsonl", "old_lists[0]: the certificate commits to");
    begin = strstr(text, "\"old_lists\": ["), end = strchr(begin, ']') + 1;
    snprintf(first, sizeof first, "%.*s", (int)(end - begin), begin);
    opening_says(c, text, first, "\"old_lists\": []", "opens 0 files of the old state");
    begin += strlen("\"old_lists\": ["), end = strchr(begin, '}') + 1;
    snprintf(first, sizeof first, "%.*s", (int)(end - begin), begin);
    snprintf(twice, sizeof twice, "%s, %s", first, first);
    opening_says(c, text, first, twice, "old_lists[1]: the certificate commits to no such file");
    opening_says(c, text, "\"old_lists\"", "\"lists\"", "old_lists: missing");
    char *salt = strstr(text, "\"salt\": \"") + 9;
    salt[0] = salt[0] == '0' ? '1' : '0';
    opening_says(c, text, "\"salt\"", "\"salt\"", "another salt");
    mem_free(text);
    certificate_close(c);
    drop(&s);
}

/* --------------------------------------------------------------------------------------------- Merkle --- */

/* RFC 6962, section 2.1, as it stands there: split at the largest power of two below n. */
static void root_of(char *const *line, int n, uint8_t sum[HASH_SIZE]) {
    uint8_t bytes[1 + 2 * HASH_SIZE] = {1};
    Hash h;
    Error e;
    assert_true(hash_open(&h, &e));
    if (n == 1) {
        assert_true(hash_add(&h, "", 1, &e) && hash_add(&h, line[0], strlen(line[0]), &e));
    } else if (n > 1) {
        int k = 1;
        while (2 * k < n) k *= 2;
        root_of(line, k, bytes + 1);
        root_of(line + k, n - k, bytes + 1 + HASH_SIZE);
        assert_true(hash_add(&h, bytes, sizeof bytes, &e));
    }
    assert_true(hash_finish_raw(&h, sum, &e));
}

static void merkle(void **state) {
    (void)state;
    enum { MOST = 70 };
    static char *line[MOST], text[MOST * 40];
    char due[HASH_TEXT], root[HASH_TEXT], changed[HASH_TEXT];
    uint8_t sum[HASH_SIZE];
    int64_t lines = -1;
    size_t n = 0;
    Error e = {0};
    for (int count = 0; count <= MOST; count++) {
        root_of(line, count, sum);
        hash_hex(sum, sizeof sum, due);
        assert_true(file_write(at("m"), text, n, &e) && merkle_file(at("m"), root, &lines, &e));
        assert_string_equal(root, due);
        assert_int_equal(lines, count);
        if (count > 0) { /* with or without the last newline */
            assert_true(file_write(at("m"), text, n - 1, &e) && merkle_file(at("m"), root, NULL, &e));
            if (text[n - 2] != '\n') assert_string_equal(root, due);
        }
        if (count == MOST) break;
        line[count] = malloc(40);
        snprintf(line[count], 40, count == 7 ? "%.*s" : "{\"id\": %.*s%d}", 0, "", count);
        n += (size_t)sprintf(text + n, "%s\n", line[count]);
    }
    /* a line that crosses pieces of reading; a line changed, moved */
    char *large = malloc(200000);
    memset(large, 'a', 200000);
    large[100000] = '\n';
    assert_true(file_write(at("m"), large, 200000, &e) && merkle_file(at("m"), root, &lines, &e));
    large[100000] = '\0';
    char long_last[100000];
    memcpy(long_last, large + 100001, 99999);
    long_last[99999] = '\0';
    root_of((char *[]){large, long_last}, 2, sum);
    hash_hex(sum, sizeof sum, due);
    assert_string_equal(root, due);
    large[100000] = '\n', large[99999] = 'b';
    assert_true(file_write(at("m"), large, 200000, &e) && merkle_file(at("m"), changed, &lines, &e));
    assert_string_not_equal(root, changed);
    free(large);
    for (int i = 0; i < MOST; i++) free(line[i]);
    assert_false(merkle_file(at("none"), root, NULL, &e));
    assert_non_null(strstr(e.text, "none"));
    assert_false(merkle_file(folder, root, NULL, &e));
}

static int setup(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int clean(void **state) {
    (void)state;
    Error e;
    return file_remove_tree(folder, &e) ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole),        cmocka_unit_test(every_byte),   cmocka_unit_test(cut_short),
        cmocka_unit_test(grown),        cmocka_unit_test(lines_moved),  cmocka_unit_test(forged),
        cmocka_unit_test(signed_badly), cmocka_unit_test(many_lines),   cmocka_unit_test(drafts),
        cmocka_unit_test(memory),       cmocka_unit_test(names_nobody), cmocka_unit_test(names_refused),
        cmocka_unit_test(commitment),   cmocka_unit_test(openings),     cmocka_unit_test(merkle),
    };
    return cmocka_run_group_tests(tests, setup, clean);
}
