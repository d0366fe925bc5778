#include "unlearn/certificate_facts_inside.h"

#include <math.h>
#include <string.h>
#include <time.h>

static const char *const request_text[] = {
#define X(name, text) text,
    CERTIFICATE_REQUESTS(X)
#undef X
};

static const struct {
    const char *level, *text;
} claim_row[] = {
#define X(name, level, text) {level, text},
    CERTIFICATE_CLAIMS(X)
#undef X
};

const char *certificate_claim_words(CertificateClaim claim) {
    return claim_row[claim].text;
}

/* The lines are put one after the other; after an error the rest is passed over. */
typedef struct Record {
    CertificateDraft *draft;
    const CertificateFacts *facts;
    const CertificateSecret *secret;
    Error *e;
    bool ok;
} Record;

/* ------------------------------------------------------------------------------------------- one line --- */

static void put(Record *r, const char *key, const char *json) {
    r->ok = r->ok && certificate_put(r->draft, key, json, r->e);
}

/* The same for what a caller gave. */
static void put_given(Record *r, const char *key, const char *json) {
    r->ok = r->ok && certificate_names_nobody(r->facts, key, json, r->e);
    put(r, key, json);
}

static void put_int(Record *r, const char *key, int64_t value) {
    char text[32];
    JsonWriter w = json_writer(text, sizeof text, 0);
    json_put_int(&w, NULL, value);
    put(r, key, text);
}

static void put_real(Record *r, const char *key, double value) {
    char text[40];
    JsonWriter w = json_writer(text, sizeof text, 0);
    json_put_real(&w, NULL, value);
    put(r, key, text);
}

enum { PER_BYTE = 6 /* the most that a byte takes in JSON: \u0000 */ };

static void put_quoted(Record *r, const char *key, const char *value,
                       void (*to)(Record *, const char *, const char *)) {
    size_t size = PER_BYTE * strlen(value) + 3;
    char *text = r->ok ? mem_get(size) : NULL;
    if (r->ok && !text) r->ok = error_memory(r->e, size);
    if (!r->ok) return;
    JsonWriter w = json_writer(text, size, 0);
    json_put_text(&w, NULL, value);
    to(r, key, text);
    mem_free(text);
}

static void put_text(Record *r, const char *key, const char *value) {
    put_quoted(r, key, value, put);
}

static void put_time(Record *r, const char *key, int64_t seconds) {
    char text[40];
    struct tm utc;
    time_t when = (time_t)seconds;
    if (seconds < 0 || !gmtime_r(&when, &utc) || !strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc))
        r->ok = r->ok && error_set(r->e, ERROR_VALUE, "certificate: %s: is no time", key);
    else
        put_text(r, key, text);
}

/* {"before": .., "after": ..} */
static void put_change(Record *r, const char *key, const char *before, const char *after) {
    char text[2 * HASH_TEXT + 64];
    JsonWriter w = json_writer(text, sizeof text, 0);
    if ((before && !hash_is_text(before)) || (after && !hash_is_text(after)))
        die("certificate: %s: not a SHA-256", key);
    json_put_open(&w, NULL, '{');
    before ? json_put_text(&w, "before", before) : json_put_null(&w, "before");
    after ? json_put_text(&w, "after", after) : json_put_null(&w, "after");
    json_put_close(&w, '}');
    put(r, key, text);
}

/* ---------------------------------------------------------------------------------------------- lines --- */

/* The root before is of lines that somebody may have all of but the forgotten. */
static void put_manifest(Record *r) {
    const CertificateFacts *f = r->facts;
    char before[HASH_TEXT] = "";
    if (f->manifest_before && !hash_is_text(f->manifest_before)) die("certificate: the root is no SHA-256");
    r->ok = r->ok && (!f->manifest_before ||
                      certificate_commit_root(r->secret->salt, f->manifest_before, before, r->e));
    if (r->ok) put_change(r, "manifest", f->manifest_before ? before : NULL, f->manifest_after);
}

static void put_request(Record *r) {
    const CertificateFacts *f = r->facts;
    char text[256], commitment[HASH_TEXT] = "";
    JsonWriter w = json_writer(text, sizeof text, 0);
    r->ok = r->ok && certificate_commit_request(r->secret->salt, f->request, commitment, r->e);
    json_put_open(&w, NULL, '{');
    json_put_text(&w, "kind", request_text[f->kind]);
    f->kind == REQUEST_IDENTITY ? json_put_int(&w, "identities", f->identities)
                                : json_put_null(&w, "identities");
    json_put_int(&w, "samples", f->forgotten_count);
    json_put_text(&w, "commitment", commitment);
    json_put_close(&w, '}');
    put(r, "request", text);
}

static bool commit_all(CertificateCommitments *list, const Record *r) {
    const CertificateFacts *f = r->facts;
    if (!certificate_commitments_make(list, f->forgotten_count, r->e)) return false;
    for (int64_t i = 0; i < f->forgotten_count; i++) {
        const CertificateSample *s = &f->forgotten[i];
        if (!hash_is_text(s->sha256)) die("certificate: a sample's SHA-256 is none");
        if (!certificate_commit_sample(r->secret->salt, s->id, s->sha256, list->text[i], r->e)) return false;
    }
    certificate_commitments_sort(list);
    for (int64_t i = 1; i < f->forgotten_count; i++)
        if (!strcmp(list->text[i - 1], list->text[i]))
            return error_set(r->e, ERROR_VALUE, "certificate: a forgotten sample is given twice");
    return true;
}

static void put_forgotten(Record *r) {
    CertificateCommitments list = {0};
    size_t size = (size_t)r->facts->forgotten_count * (HASH_TEXT + 3) + 3;
    char *text = NULL;
    r->ok = r->ok && commit_all(&list, r);
    if (r->ok && !(text = mem_get(size))) r->ok = error_memory(r->e, size);
    if (r->ok) {
        JsonWriter w = json_writer(text, size, 0);
        json_put_open(&w, NULL, '[');
        for (int64_t i = 0; i < list.count; i++) json_put_text(&w, NULL, list.text[i]);
        json_put_close(&w, ']');
        put(r, "forgotten", text);
    }
    mem_free(text);
    mem_free(list.text);
}

static void put_program(Record *r) {
    char text[HASH_TEXT + 64], sha256[HASH_TEXT] = "";
    JsonWriter w = json_writer(text, sizeof text, 0);
    r->ok = r->ok && hash_file("/proc/self/exe", sha256, NULL, r->e);
    json_put_open(&w, NULL, '{');
    json_put_text(&w, "version", LETHE_VERSION);
    json_put_text(&w, "sha256", sha256);
    json_put_close(&w, '}');
    put(r, "program", text);
}

static void put_claim(Record *r) {
    const CertificateFacts *f = r->facts;
    const char *words = f->claim_text ? f->claim_text : claim_row[f->claim].text;
    bool bounds = f->claim == CLAIM_CERTIFIED;
    size_t size = PER_BYTE * strlen(words) + 160;
    if (r->ok && bounds && !(isfinite(f->epsilon) && f->epsilon >= 0 && f->delta >= 0 && f->delta <= 1))
        r->ok = error_set(r->e, ERROR_VALUE,
                          "certificate: a certified deletion has an epsilon from 0 and a delta from 0 to 1");
    char *text = r->ok ? mem_get(size) : NULL;
    if (r->ok && !text) r->ok = error_memory(r->e, size);
    if (!r->ok) return;
    JsonWriter w = json_writer(text, size, 0);
    json_put_open(&w, NULL, '{');
    json_put_text(&w, "level", claim_row[f->claim].level);
    json_put_real(&w, "epsilon", bounds ? f->epsilon : NAN); /* null */
    json_put_real(&w, "delta", bounds ? f->delta : NAN);
    json_put_text(&w, "text", words);
    json_put_close(&w, '}');
    if (f->claim_text)
        put_given(r, "claim", text);
    else
        put(r, "claim", text);
    mem_free(text);
}

/* {"path": .., "role": .., "bytes": .., "sha256": ..}; of a list of samples the last two are null, and a
 * commitment follows. */
static void old_file_json(JsonWriter *w, Record *r, const CertificateFile *file) {
    char commitment[HASH_TEXT] = "";
    if (!hash_is_text(file->sha256)) die("certificate: the SHA-256 of %s is none", file->path);
    json_put_open(w, NULL, '{');
    json_put_text(w, "path", file->path);
    json_put_text(w, "role", file->role);
    if (file->lists) {
        r->ok = r->ok && certificate_commit_file(r->secret->salt, file->sha256, commitment, r->e);
        json_put_null(w, "bytes");
        json_put_null(w, "sha256");
        json_put_text(w, "commitment", commitment);
    } else {
        json_put_int(w, "bytes", (int64_t)file->bytes);
        json_put_text(w, "sha256", file->sha256);
    }
    json_put_close(w, '}');
}

static void put_old_state(Record *r) {
    const CertificateFacts *f = r->facts;
    size_t size = 8;
    for (int64_t i = 0; i < f->old_state_count; i++)
        size += PER_BYTE * (strlen(f->old_state[i].path) + strlen(f->old_state[i].role)) + HASH_TEXT + 100;
    char *text = r->ok ? mem_get(size) : NULL;
    if (r->ok && !text) r->ok = error_memory(r->e, size);
    if (!r->ok) return;
    JsonWriter w = json_writer(text, size, 0);
    json_put_open(&w, NULL, '[');
    for (int64_t i = 0; i < f->old_state_count; i++) old_file_json(&w, r, &f->old_state[i]);
    json_put_close(&w, ']');
    put_given(r, "old_state", text);
    mem_free(text);
}

static void put_references(Record *r) {
    const CertificateFacts *f = r->facts;
    size_t size = (size_t)f->reference_count * (HASH_TEXT + 3) + 3;
    char *text = r->ok ? mem_get(size) : NULL;
    if (r->ok && !text) r->ok = error_memory(r->e, size);
    if (!r->ok) return;
    JsonWriter w = json_writer(text, size, 0);
    json_put_open(&w, NULL, '[');
    for (int i = 0; i < f->reference_count; i++) {
        if (!hash_is_text(f->references[i])) die("certificate: a reference's SHA-256 is none");
        json_put_text(&w, NULL, f->references[i]);
    }
    json_put_close(&w, ']');
    put(r, "references", text);
    mem_free(text);
}

bool certificate_facts_put(CertificateDraft *d, const CertificateFacts *f, const CertificateSecret *s,
                           Error *e) {
    Record r = {d, f, s, e, true};
    put_text(&r, "format", CERTIFICATE_FORMAT);
    put_text(&r, "id", s->id);
    put_time(&r, "received", f->received);
    put_time(&r, "answered", f->answered);
    put_request(&r);
    put_forgotten(&r);
    put_int(&r, "retained_count", f->retained_count);
    put_manifest(&r);
    put_quoted(&r, "method", f->method, put_given);
    put_given(&r, "settings", f->settings);
    put_int(&r, "seed", f->seed);
    put_program(&r);
    put_change(&r, "weights", f->weights_before, f->weights_after);
    put_given(&r, "audit", f->audit ? f->audit : "null");
    put_references(&r);
    put_claim(&r);
    put_old_state(&r);
    put_real(&r, "duration_seconds", f->duration_seconds);
    put_quoted(&r, "operator", f->by, put_given);
    return r.ok;
}
