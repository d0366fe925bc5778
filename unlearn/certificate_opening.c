#include "core/file.h"
#include "unlearn/certificate_facts_inside.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <string.h>

/* -------------------------------------------------------------------------------------------- writing --- */

/* The files of the old state that the certificate commits to, in its order. */
static void put_lists(JsonWriter *w, const CertificateFacts *f) {
    json_put_open(w, "old_lists", '[');
    for (int64_t i = 0; i < f->old_state_count; i++) {
        const CertificateFile *file = &f->old_state[i];
        if (!file->lists) continue;
        json_put_open(w, NULL, '{');
        json_put_text(w, "path", file->path);
        json_put_int(w, "bytes", (int64_t)file->bytes);
        json_put_text(w, "sha256", file->sha256);
        json_put_close(w, '}');
    }
    json_put_close(w, ']');
}

static void put_opening(JsonWriter *w, const CertificateFacts *f, const CertificateSecret *s) {
    char salt[2 * CERTIFICATE_SALT + 1];
    hash_hex(s->salt, sizeof s->salt, salt);
    json_put_open(w, NULL, '{');
    json_put_text(w, "format", OPENING_FORMAT);
    json_put_text(w, "certificate", s->id);
    json_put_text(w, "salt", salt);
    json_put_text(w, "request", f->request);
    json_put_open(w, "samples", '[');
    for (int64_t i = 0; i < f->forgotten_count; i++) {
        json_put_open(w, NULL, '{');
        json_put_text(w, "id", f->forgotten[i].id);
        json_put_text(w, "path", f->forgotten[i].path);
        json_put_text(w, "sha256", f->forgotten[i].sha256);
        json_put_close(w, '}');
    }
    json_put_close(w, ']');
    f->manifest_before ? json_put_text(w, "manifest_before", f->manifest_before)
                       : json_put_null(w, "manifest_before");
    put_lists(w, f);
    json_put_close(w, '}');
}

bool certificate_opening_write(const char *path, const CertificateFacts *f, const CertificateSecret *s,
                               Error *e) {
    size_t size = 512 + 6 * strlen(f->request); /* 6: a byte as \u0000 */
    for (int64_t i = 0; i < f->forgotten_count; i++)
        size += 6 * (strlen(f->forgotten[i].id) + strlen(f->forgotten[i].path)) + HASH_TEXT + 40;
    for (int64_t i = 0; i < f->old_state_count; i++)
        size += 6 * strlen(f->old_state[i].path) + HASH_TEXT + 80;
    char *text = mem_get(size);
    if (!text) return error_memory(e, size);
    JsonWriter w = json_writer(text, size - 1, 2);
    put_opening(&w, f, s);
    if (w.full) die("certificate: the opening does not fit");
    text[w.used++] = '\n';
    bool ok = file_write_private(path, text, w.used, e);
    OPENSSL_cleanse(text, size);
    mem_free(text);
    return ok;
}

/* ------------------------------------------------------------------------------------------- checking --- */

/* A text of 64 hex digits. */
static bool read_hash(Json j, const char **out, Error *e) {
    if (!json_text(j, out, e)) return false;
    return hash_is_text(*out) || json_error(j, e, "expected 64 hex digits, lower case");
}

static bool read_salt(Json j, uint8_t salt[CERTIFICATE_SALT], Error *e) {
    const char *text, digit[] = "0123456789abcdef";
    if (!read_hash(j, &text, e)) return false;
    for (int i = 0; i < CERTIFICATE_SALT; i++)
        salt[i] =
            (uint8_t)((strchr(digit, text[2 * i]) - digit) << 4 | (strchr(digit, text[2 * i + 1]) - digit));
    return true;
}

static bool expect_text(Json j, const char *due, const char *why, Error *e) {
    const char *text;
    if (!json_text(j, &text, e)) return false;
    return !strcmp(text, due) || json_error(j, e, "%s", why);
}

/* What the certificate lists. */
static bool read_forgotten(const Certificate *c, CertificateCommitments *list, Error *e) {
    Json array = certificate_get(c, "forgotten");
    if (!json_expect(array, JSON_ARRAY, e) || !certificate_commitments_make(list, json_count(array), e))
        return false;
    int64_t n = 0;
    for (Json j = json_first(array); json_exists(j); j = json_next(j), n++) {
        const char *text;
        if (!read_hash(j, &text, e)) return false;
        memcpy(list->text[n], text, HASH_TEXT);
        if (n > 0 && strcmp(list->text[n - 1], text) >= 0) return json_error(j, e, "the list is not sorted");
    }
    return true;
}

/* What the opening's samples commit to; each must be in the certificate, and none twice. */
static bool read_samples(Json samples, const uint8_t salt[CERTIFICATE_SALT],
                         const CertificateCommitments *known, CertificateCommitments *list, Error *e) {
    if (!json_expect(samples, JSON_ARRAY, e) || !certificate_commitments_make(list, json_count(samples), e))
        return false;
    int64_t n = 0;
    for (Json j = json_first(samples); json_exists(j); j = json_next(j), n++) {
        const char *id, *sha256;
        if (!json_text(json_get(j, "id"), &id, e) || !read_hash(json_get(j, "sha256"), &sha256, e) ||
            !certificate_commit_sample(salt, id, sha256, list->text[n], e))
            return false;
        if (!certificate_commitments_have(known, list->text[n]))
            return json_error(j, e, "this sample is not among those of the certificate");
    }
    certificate_commitments_sort(list);
    for (n = 1; n < list->count; n++)
        if (!strcmp(list->text[n - 1], list->text[n]))
            return json_error(samples, e, "a sample is there twice");
    if (list->count == known->count) return true;
    return json_error(
        samples, e, "opens %" PRId64 " of the certificate's %" PRId64 " commitments; the others are missing",
        list->count, known->count);
}

static bool check_request(const Certificate *c, Json root, const uint8_t salt[CERTIFICATE_SALT], Error *e) {
    const char *words, *due;
    char commitment[HASH_TEXT];
    Json j = json_get(root, "request");
    if (!json_text(j, &words, e) || !certificate_commit_request(salt, words, commitment, e) ||
        !json_text(json_get(certificate_get(c, "request"), "commitment"), &due, e))
        return false;
    return !strcmp(commitment, due) ||
           json_error(j, e, "the certificate commits to another request, or was made with another salt");
}

/* The root of the list of samples before. */
static bool check_root(const Certificate *c, Json root, const uint8_t salt[CERTIFICATE_SALT],
                       char out[HASH_TEXT], Error *e) {
    const char *text, *due;
    char commitment[HASH_TEXT];
    Json j = json_get(root, "manifest_before"), is = json_get(certificate_get(c, "manifest"), "before");
    if (json_type(j) == JSON_NULL && json_type(is) == JSON_NULL) return true;
    if (!read_hash(j, &text, e) || !certificate_commit_root(salt, text, commitment, e) ||
        !json_text(is, &due, e))
        return false;
    memcpy(out, text, HASH_TEXT);
    return !strcmp(commitment, due) ||
           json_error(j, e, "the certificate commits to another list of samples from before");
}

/* The next file of the certificate's old state that it commits to, from `j` on. */
static Json next_list(Json j) {
    while (json_exists(j) && !json_exists(json_get(j, "commitment"))) j = json_next(j);
    return j;
}

/* One file, of the certificate and of the opening. */
static bool check_list(Json is, Json j, const uint8_t salt[CERTIFICATE_SALT], Error *e) {
    const char *path, *due_path, *sha256, *due;
    char commitment[HASH_TEXT];
    if (!json_text(json_get(j, "path"), &path, e) || !json_text(json_get(is, "path"), &due_path, e) ||
        !read_hash(json_get(j, "sha256"), &sha256, e) ||
        !certificate_commit_file(salt, sha256, commitment, e) ||
        !json_text(json_get(is, "commitment"), &due, e))
        return false;
    return (!strcmp(path, due_path) && !strcmp(commitment, due)) ||
           json_error(j, e, "the certificate commits to another file of the old state here");
}

static bool check_lists(const Certificate *c, Json lists, const uint8_t salt[CERTIFICATE_SALT],
                        int64_t *count, Error *e) {
    Json is = json_first(certificate_get(c, "old_state"));
    if (!json_expect(lists, JSON_ARRAY, e)) return false;
    *count = 0;
    for (Json j = json_first(lists); json_exists(j); j = json_next(j), (*count)++) {
        is = next_list(is);
        if (!json_exists(is)) return json_error(j, e, "the certificate commits to no such file");
        if (!check_list(is, j, salt, e)) return false;
        is = json_next(is);
    }
    return !json_exists(next_list(is)) ||
           json_error(lists, e, "opens %" PRId64 " files of the old state; the certificate commits to more",
                      *count);
}

bool certificate_opening_check(const Certificate *c, const char *path, CertificateOpened *out, Error *e) {
    CertificateCommitments known = {0}, list = {0};
    uint8_t salt[CERTIFICATE_SALT];
    JsonFile *f = NULL;
    const char *id;
    bool ok = false;
    *out = (CertificateOpened){0};
    if (!json_text(certificate_get(c, "id"), &id, e) || !read_forgotten(c, &known, e) ||
        !json_load(&f, path, OPENING_CAP, e))
        goto out;
    Json root = json_root(f);
    ok = expect_text(json_get(root, "format"), OPENING_FORMAT, "is no opening of a certificate", e) &&
         expect_text(json_get(root, "certificate"), id, "this opening belongs to another certificate", e) &&
         read_salt(json_get(root, "salt"), salt, e) && check_request(c, root, salt, e) &&
         read_samples(json_get(root, "samples"), salt, &known, &list, e) &&
         check_root(c, root, salt, out->manifest_before, e) &&
         check_lists(c, json_get(root, "old_lists"), salt, &out->lists, e);
    out->samples = list.count;
out:
    json_close(f);
    mem_free(known.text);
    mem_free(list.text);
    return ok;
}
