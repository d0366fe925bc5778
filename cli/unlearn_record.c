#include "cli/unlearn_record.h"

#include "unlearn/merkle.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- the key ---- */

/* $LETHE_KEY, or lethe/key.pem in the user's folder of settings. */
static bool key_place(char path[FILE_PATH], Error *e) {
    const char *given = getenv("LETHE_KEY"), *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    char folder[FILE_PATH];
    if (given && given[0]) return file_join(path, FILE_PATH, ".", given, e);
    if (config && config[0]) return file_join(path, FILE_PATH, config, "lethe/key.pem", e);
    if (!home || !home[0])
        return error_set(e, ERROR_VALUE,
                         "no key to sign the record with: give --key FILE (lethe keygen makes one)");
    return file_join(folder, sizeof folder, home, ".config", e) &&
           file_join(path, FILE_PATH, folder, "lethe/key.pem", e);
}

static bool key_make(SignKey **out, const char *path, Error *e) {
    char folder[FILE_PATH], public[FILE_PATH], print[HASH_TEXT];
    snprintf(folder, sizeof folder, "%.*s", (int)(file_base(path) - path), path);
    if (folder[0] && !file_make_folder(folder, e)) return false;
    if (!sign_key_make(out, e) || !sign_fingerprint(sign_key_public(*out), print, e) ||
        !sign_pair_write(*out, path, public, e))
        return false;
    printf("made a key to sign records with: %s; give %s to whoever shall check them\n  fingerprint %s\n",
           path, public, print);
    return true;
}

static bool key_open(SignKey **out, const char *given, Error *e) {
    char path[FILE_PATH];
    if (given) return sign_key_read(out, given, e);
    if (!key_place(path, e)) return false;
    return file_kind(path) == FILE_NONE ? key_make(out, path, e) : sign_key_read(out, path, e);
}

/* ---- what still holds the old state ---- */

static const char *role_of(const char *name) {
    static const struct {
        const char *ending, *role;
    } roles[] = {{"optimizer.safetensors", "optimizer"},
                 {"ema.safetensors", "ema"},
                 {"model.safetensors", "checkpoint"},
                 {"manifest.jsonl", "manifest"},
                 {".safetensors", "export"},
                 {".pth", "export"},
                 {".pt", "export"}};
    size_t n = strlen(name);
    for (int i = 0; i < COUNT(roles); i++) {
        size_t k = strlen(roles[i].ending);
        if (n >= k && !strcmp(name + n - k, roles[i].ending)) return roles[i].role;
    }
    return NULL;
}

static bool old_add(Record *r, const char *path, const char *role, Error *e) {
    enum { STEP = 32 };
    if (r->olds % STEP == 0) {
        size_t n = (size_t)r->olds + STEP;
        CertificateFile *old = mem_resize(r->old, n * sizeof *old);
        if (old) r->old = old;
        char **text = old ? mem_resize(r->path, n * sizeof *text) : NULL;
        if (!text) return error_memory(e, n * sizeof *old);
        r->path = text;
    }
    size_t length = strlen(path) + 1;
    char *text = mem_get(length + HASH_TEXT);
    if (!text) return error_memory(e, length);
    memcpy(text, path, length);
    CertificateFile *f = &r->old[r->olds];
    *f = (CertificateFile){
        .path = text, .role = role, .sha256 = text + length, .lists = !strcmp(role, "manifest")};
    r->path[r->olds++] = text;
    return hash_file(path, text + length, &f->bytes, e);
}

/* Links are not followed: what they lead to is found by itself. */
static bool old_walk(Record *r, const char *folder, int depth, Error *e) {
    FileList list;
    char path[FILE_PATH];
    if (!file_list_open(&list, folder, e)) return false;
    bool fine = true;
    for (int64_t i = 0; i < list.count && fine; i++) {
        if (!(fine = file_join(path, sizeof path, folder, list.name[i], e))) break;
        FileKind kind = file_kind_link(path);
        const char *role = kind == FILE_REGULAR ? role_of(list.name[i]) : NULL;
        if (role) fine = old_add(r, path, role, e);
        if (kind == FILE_FOLDER && depth > 0) fine = old_walk(r, path, depth - 1, e);
    }
    file_list_close(&list);
    return fine;
}

/* Of a checkpoint in a run, RUN/checkpoints/STEP, the run's folder; of another, or a file, itself. */
static void old_root(char folder[FILE_PATH], const Checkpoint *c) {
    const char *path = checkpoint_path(c);
    snprintf(folder, FILE_PATH, "%.*s", (int)(file_base(path) - path), path); /* RUN/checkpoints/ */
    size_t n = strlen(folder);
    if (n > 0) folder[--n] = '\0';
    bool run = file_kind(path) == FILE_FOLDER && strcmp(file_base(folder), "checkpoints") == 0;
    if (run && n > strlen("checkpoints"))
        folder[n - strlen("checkpoints") - 1] = '\0';
    else
        snprintf(folder, FILE_PATH, "%s", run ? "." : path);
}

static bool old_find(Record *r, const Checkpoint *c, Error *e) {
    enum { DEPTH = 4 };
    char root[FILE_PATH];
    old_root(root, c);
    return file_kind(root) == FILE_FOLDER ? old_walk(r, root, DEPTH, e) : old_add(r, root, "export", e);
}

static bool old_same(const Checkpoint *a, const Checkpoint *b) {
    char root[FILE_PATH];
    FileId x, y;
    old_root(root, a);
    if (!file_id(root, &x)) return false;
    old_root(root, b);
    return file_id(root, &y) && x.device == y.device && x.inode == y.inode;
}

/* ---- what retraining begins with ---- */

/* The record itself speaks of these weights: of what they knew, and, if they knew anybody, of their files. */
static bool first_open(Record *r, const World *w, const Method *m, Error *e) {
    Checkpoint *c = NULL;
    if (m->claim != CLAIM_EXACT) return true;
    bool fine = reference_first(&r->first, &c, w, e);
    if (fine && r->first.count) fine = old_same(c, w->checkpoint) || old_find(r, c, e);
    checkpoint_close(c);
    return fine;
}

/* ---- the request ---- */

/* Who draws samples by a seed has said which only together with it. */
static bool words_join(Record *r, bool drawn, Error *e) {
    size_t used = 0;
    const OptionList *asked = r->ask.forget;
    for (int i = 0; i < asked->count && used < sizeof r->words; i++)
        used +=
            (size_t)snprintf(r->words + used, sizeof r->words - used, "%s%s", i ? " " : "", asked->item[i]);
    if (drawn && used < sizeof r->words)
        used += (size_t)snprintf(r->words + used, sizeof r->words - used, " seed=%" PRId64, r->ask.seed);
    return used < sizeof r->words ||
           error_set(e, ERROR_LIMIT, "--forget: the request is too long for the record: use @LIST");
}

static bool samples_list(Record *r, const World *w, Error *e) {
    enum { ID = 24 };
    const Manifest *m = w->manifest;
    size_t n = (size_t)w->request.count;
    char *id = NULL;
    r->sample = mem_get(n * (sizeof *r->sample + ID));
    if (!r->sample) return error_memory(e, n * sizeof *r->sample);
    id = (char *)(r->sample + n);
    for (int64_t i = 0; i < m->count; i++) {
        if (!w->request.forget[i]) continue;
        char *mine = id + r->samples * ID;
        snprintf(mine, ID, "%" PRId64, m->line[i].id);
        if (!m->line[i].sha256)
            return error_set(
                e, ERROR_VALUE,
                "%s: sample %s has no hash, as its file could not be read when it was trained on: the "
                "record cannot speak of it",
                m->name, mine);
        r->sample[r->samples++] = (CertificateSample){mine, m->line[i].path, m->line[i].sha256};
    }
    return true;
}

/* The method's own keys and what all methods share, as they were. */
static char *settings_text(const World *w, const Method *m, Error *e) {
    Recipe *recipe = NULL;
    UnlearnSettings shared;
    char *text = NULL;
    void *own = m->table ? mem_get(m->table->size) : NULL;
    if (m->table && !own) {
        error_memory(e, m->table->size);
        return NULL;
    }
    if (recipe_parse(&recipe, "settings", "{}", 2, NULL, 0, e) &&
        recipe_bind(recipe, &unlearn_table, &shared, e) && (!own || recipe_bind(recipe, m->table, own, e))) {
        recipe_amend(recipe, &unlearn_table, &w->setup.unlearn);
        if (own) recipe_amend(recipe, m->table, world_settings(w, m));
        text = recipe_text(recipe, e);
    }
    recipe_close(recipe);
    mem_free(own);
    return text;
}

/* Retraining is exact only from weights that never saw the forgotten. */
CertificateClaim record_claim(const Record *r, const Method *m) {
    return m->claim == CLAIM_EXACT && r->first.count ? CLAIM_HEURISTIC : m->claim;
}

static CertificateFacts facts_of(const Record *r, const World *w, const Method *m) {
    return (CertificateFacts){.received = r->received,
                              .kind = w->request.kind,
                              .request = r->words,
                              .identities = w->request.identities,
                              .forgotten = r->sample,
                              .forgotten_count = r->samples,
                              .retained_count = w->manifest->count - r->samples,
                              .method = m->name,
                              .settings = r->settings,
                              .seed = w->setup.unlearn.seed,
                              .claim = record_claim(r, m),
                              .old_state = r->old,
                              .old_state_count = r->olds,
                              .by = r->ask.operator_name};
}

bool record_open(Record *r, const World *w, const Method *m, const RecordAsk *ask, Error *e) {
    *r = (Record){.ask = *ask, .received = time(NULL)};
    if (!key_open(&r->key, ask->key, e) || !words_join(r, w->request.drawn, e) || !samples_list(r, w, e) ||
        !old_find(r, w->checkpoint, e) || !first_open(r, w, m, e) || !(r->settings = settings_text(w, m, e)))
        return false;
    const CertificateFacts f = facts_of(r, w, m);
    return certificate_names_nobody(&f, "settings", r->settings, e);
}

void record_close(Record *r) {
    sign_key_close(r->key);
    for (int64_t i = 0; i < r->olds; i++) mem_free(r->path[i]);
    mem_free(r->path);
    mem_free(r->old);
    mem_free(r->sample);
    mem_free(r->settings);
    *r = (Record){0};
}

/* ---- writing ---- */

bool record_opening(const Output *o, bool partial, char path[FILE_PATH], Error *e) {
    int n = snprintf(path, FILE_PATH, "%s.opening.json%s", o->folder, partial ? ".partial" : "");
    if (n > 0 && n < FILE_PATH) return true;
    return error_set(e, ERROR_LIMIT, "%s: the path is too long", o->folder);
}

enum { CLAIM_WORDS = 1000 };

/* The claim of a training that began with other weights. */
static void claim_first(const Record *r, char out[CLAIM_WORDS]) {
    static const char began[] = "The new weights come from a training that read only retained samples; it "
                                "began with other weights (settings: unlearn.retrain.init), ";
    if (r->first.count)
        snprintf(out, CLAIM_WORDS,
                 "%swhich had been trained with %" PRId64
                 " of the forgotten samples, as their own manifest says. Nothing proves that no trace of "
                 "these is left.",
                 began, r->first.count);
    else if (r->first.told)
        snprintf(out, CLAIM_WORDS,
                 "%swhose own manifest lists none of the forgotten samples among what they were trained on. "
                 "What those weights in turn began with this record does not know.",
                 began);
    else
        snprintf(out, CLAIM_WORDS,
                 "%sand the claim holds if those never saw the forgotten samples, which this record cannot "
                 "know.",
                 began);
}

/* NULL: the usual ones. */
static const char *claim_words(char out[CLAIM_WORDS], const Record *r, const World *w, const Method *m,
                               bool unchanged) {
    bool began = m->claim == CLAIM_EXACT && world_init(w)[0];
    if (!began && !unchanged) return NULL;
    if (began)
        claim_first(r, out);
    else
        snprintf(out, CLAIM_WORDS, "%s", certificate_claim_words(m->claim));
    size_t n = strlen(out);
    if (unchanged)
        snprintf(out + n, CLAIM_WORDS - n,
                 " Not a single weight was changed: the new weights are the old ones.");
    return out;
}

/* The weights that the audit held the new ones against. mem_free both. */
static bool references_hash(const OptionList *list, char (**text)[HASH_TEXT], const char ***out, Error *e) {
    size_t n = (size_t)list->count + 1;
    *text = mem_zero(n, sizeof **text);
    *out = mem_zero(n, sizeof **out);
    bool fine = (*text && *out) || error_memory(e, n * sizeof **text);
    for (int i = 0; i < list->count && fine; i++) {
        Checkpoint *c = NULL;
        char note[CHECKPOINT_NOTE];
        fine = checkpoint_open(&c, list->item[i], note, e) &&
               hash_file(weights_path(checkpoint_file(c, CHECKPOINT_MODEL)), (*text)[i], NULL, e);
        (*out)[i] = (*text)[i];
        checkpoint_close(c);
    }
    return fine;
}

static bool sign(const Record *r, const CertificateFacts *f, const CertificateSecret *secret, const Output *o,
                 Error *e) {
    CertificateDraft *d = NULL;
    char path[FILE_PATH], *text = NULL;
    size_t size;
    bool fine = certificate_draft_open(&d, e) && certificate_facts_put(d, f, secret, e) &&
                certificate_sign(d, r->key, &text, &size, e) &&
                file_join(path, sizeof path, o->partial, "certificate.json", e) &&
                file_write(path, text, size, e);
    mem_free(text);
    certificate_draft_close(d);
    return fine;
}

/* Both files, of facts that are complete. */
static bool put(const Record *r, const CertificateFacts *f, const Output *o, Error *e) {
    CertificateSecret secret;
    char path[FILE_PATH];
    if (!record_opening(o, true, path, e)) return false;
    if (unlink(path) != 0 && errno != ENOENT) return file_error(e, path, "remove", errno);
    return certificate_secret_make(&secret, e) && certificate_opening_write(path, f, &secret, e) &&
           sign(r, f, &secret, o, e);
}

bool record_write(const Record *r, const World *w, const Method *m, const Output *o,
                  const RecordResult *result, Error *e) {
    char before[HASH_TEXT], after[HASH_TEXT], old_root[HASH_TEXT], root[HASH_TEXT], path[FILE_PATH];
    char claim[CLAIM_WORDS], (*text)[HASH_TEXT] = NULL;
    const char **reference = NULL;
    CertificateFacts f = facts_of(r, w, m);
    if (!output_model(o, w, path, e) || !hash_file(path, after, NULL, e) ||
        !hash_file(weights_path(checkpoint_file(w->checkpoint, CHECKPOINT_MODEL)), before, NULL, e) ||
        !merkle_file(w->manifest->name, old_root, NULL, e) ||
        !file_join(path, sizeof path, o->partial, "manifest.jsonl", e) || !merkle_file(path, root, NULL, e))
        return false;
    f.weights_before = before;
    f.weights_after = after;
    f.manifest_before = old_root;
    f.manifest_after = root;
    f.audit = result->audit;
    f.answered = time(NULL);
    f.duration_seconds = result->seconds;
    f.claim_text = claim_words(claim, r, w, m, result->unchanged);
    bool fine = references_hash(r->ask.reference, &text, &reference, e);
    f.references = reference;
    f.reference_count = r->ask.reference->count;
    fine = fine && put(r, &f, o, e);
    mem_free(text);
    mem_free(reference);
    return fine;
}

bool record_finish(const Output *o, Error *e) {
    char partial[FILE_PATH], whole[FILE_PATH];
    if (!record_opening(o, true, partial, e) || !record_opening(o, false, whole, e)) return false;
    if (rename(partial, whole) != 0) return file_error(e, whole, "write", errno);
    printf("who was forgotten is said in %s alone: keep it as a secret, or destroy it\n", whole);
    return true;
}

void record_drop(const Output *o, bool partial) {
    char path[FILE_PATH];
    Error ignored;
    if (record_opening(o, partial, path, &ignored)) unlink(path);
}
