#include "cli/cli.h"
#include "cli/options.h"
#include "core/checkpoint.h"
#include "unlearn/certificate_facts.h"
#include "unlearn/merkle.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: lethe verify CERTIFICATE --key KEY.pub [--checkpoint DIR|FILE] [--opening FILE]\n"
    "\n"
    "Checks a certificate of deletion: that every byte of it is as the holder of the key signed it, and says "
    "what it\n"
    "claims. No image is needed. Exit status 1 if anything does not fit; the line then says what.\n"
    "\n"
    "  --key KEY.pub        the signer's public key, as you got it from the signer\n"
    "  --checkpoint DIR     are these the weights, and the list of training samples, from after the "
    "deletion?\n"
    "  --opening FILE       does the opening, with its names and its salt, fit the certificate's "
    "commitments?\n";

static const char caution[] =
    "What this does not prove: a certificate tells who signed what, and that it was not changed since. It "
    "does not\n"
    "show that the method made the model forget, that what was run is what the record says, or that nobody "
    "kept a\n"
    "copy of the old weights or the images. Weigh the claim, the audit and the old state above.\n";

/* ---------------------------------------------------------------------------------------- the record --- */

/* Text from outside, fit for a terminal. */
static void put(const char *text) {
    for (; *text; text++) putchar((unsigned char)*text < 0x20 || *text == 0x7F ? '?' : *text);
}

/* The words of a row, at most seven texts, behind its title. */
static void row(const char *title, const char *const *word, int n) {
    printf("  %-11s", title);
    for (int i = 0; i < n; i++) put(word[i]);
    putchar('\n');
}

#define ROW(title, ...)                                                                                      \
    row(title, (const char *const[]){__VA_ARGS__}, COUNT(((const char *const[]){__VA_ARGS__})))

static bool read_text(Json object, const char *key, const char **out, Error *e) {
    return json_text(json_get(object, key), out, e);
}

static bool read_count(Json object, const char *key, char text[24], Error *e) {
    int64_t n;
    if (!json_int(json_get(object, key), 0, JSON_MAX_INT, &n, e)) return false;
    snprintf(text, 24, "%" PRId64, n);
    return true;
}

static bool tell_request(Json root, Error *e) {
    Json request = json_get(root, "request");
    const char *kind, *received, *answered;
    char samples[24], identities[24] = "", kept[24];
    bool people = json_type(json_get(request, "identities")) == JSON_NUMBER;
    if (!read_text(request, "kind", &kind, e) || !read_count(request, "samples", samples, e) ||
        (people && !read_count(request, "identities", identities, e)) ||
        !read_count(root, "retained_count", kept, e) || !read_text(root, "received", &received, e) ||
        !read_text(root, "answered", &answered, e))
        return false;
    if (people)
        ROW("request", "by ", kind, " (", identities, "): ", samples, " samples; ", kept, " are kept");
    else
        ROW("request", "by ", kind, ": ", samples, " samples; ", kept, " are kept");
    ROW("", "received ", received, ", answered ", answered);
    return true;
}

static bool tell_method(Json root, Error *e) {
    Json program = json_get(root, "program");
    const char *method, *version, *sha256, *by;
    if (!read_text(root, "method", &method, e) || !read_text(program, "version", &version, e) ||
        !read_text(program, "sha256", &sha256, e) || !read_text(root, "operator", &by, e))
        return false;
    ROW("method", method);
    ROW("program", "lethe ", version, ", SHA-256 ", sha256);
    if (by[0]) ROW("operator", by);
    return true;
}

static bool tell_audit(Json root, Error *e) {
    Json list = json_get(root, "references");
    char count[24];
    if (!json_expect(list, JSON_ARRAY, e)) return false;
    snprintf(count, sizeof count, "%" PRId64, json_count(list));
    if (json_type(json_get(root, "audit")) == JSON_NULL)
        ROW("audit", "none: nothing was measured");
    else if (!strcmp(count, "0"))
        ROW("audit", "see \"audit\" in the file; held against no reference");
    else
        ROW("audit", "see \"audit\" in the file; held against ", count,
            strcmp(count, "1") != 0 ? " references" : " reference");
    return true;
}

static bool tell_claim(Json root, Error *e) {
    Json claim = json_get(root, "claim");
    const char *level, *text;
    double epsilon, delta;
    char bounds[80] = "";
    if (!read_text(claim, "level", &level, e) || !read_text(claim, "text", &text, e)) return false;
    if (!strcmp(level, "certified")) {
        if (!json_number(json_get(claim, "epsilon"), 0, 1e300, &epsilon, e) ||
            !json_number(json_get(claim, "delta"), 0, 1, &delta, e))
            return false;
        snprintf(bounds, sizeof bounds, " (epsilon %g, delta %g)", epsilon, delta);
    }
    ROW("claim", level, bounds, ". ", text);
    return tell_audit(root, e);
}

static bool tell_old_state(Json root, Error *e) {
    Json list = json_get(root, "old_state");
    char count[24], bytes[24];
    if (!json_expect(list, JSON_ARRAY, e)) return false;
    snprintf(count, sizeof count, "%" PRId64, json_count(list));
    if (!strcmp(count, "0")) {
        ROW("old state", "no file is named that still holds the old weights");
        return true;
    }
    ROW("old state", count, strcmp(count, "1") != 0 ? " files" : " file",
        " still held it when this was signed:");
    for (Json j = json_first(list); json_exists(j); j = json_next(j)) {
        const char *path, *role;
        if (!read_text(j, "path", &path, e) || !read_text(j, "role", &role, e)) return false;
        if (json_exists(json_get(j, "commitment"))) { /* its length is not told */
            ROW("", path, " (", role, ")");
            continue;
        }
        if (!read_count(j, "bytes", bytes, e)) return false;
        ROW("", path, " (", role, ", ", bytes, " bytes)");
    }
    return true;
}

static bool tell_record(const Certificate *c, const char *path, const SignPublic *key, Error *e) {
    Json root = certificate_root(c), weights = json_get(root, "weights");
    const char *id, *before, *after;
    char fingerprint[HASH_TEXT];
    if (!sign_fingerprint(key, fingerprint, e) || !read_text(root, "id", &id, e) ||
        !read_text(weights, "before", &before, e) || !read_text(weights, "after", &after, e))
        return false;
    put(path);
    printf(": whole: each of its %d lines is as the holder of the key signed it\n", certificate_lines(c));
    ROW("key", fingerprint);
    ROW("id", id);
    if (!tell_request(root, e) || !tell_method(root, e)) return false;
    ROW("weights", "before ", before);
    ROW("", "after  ", after);
    if (!strcmp(before, after)) ROW("", "which are the same: nothing was changed in them");
    return tell_old_state(root, e) && tell_claim(root, e);
}

/* ----------------------------------------------------------------------------------------- the weights ---
 */

static bool check_weights(const Certificate *c, const char *path, Error *e) {
    Json weights = certificate_get(c, "weights");
    const char *before, *after;
    char sha256[HASH_TEXT];
    if (!read_text(weights, "before", &before, e) || !read_text(weights, "after", &after, e) ||
        !hash_file(path, sha256, NULL, e))
        return false;
    if (!strcmp(sha256, after)) {
        put(path);
        printf(": these are the weights from after the deletion\n");
        return true;
    }
    if (!strcmp(sha256, before))
        return error_set(e, ERROR_VALUE, "%s: these are the weights from before the deletion", path);
    return error_set(
        e, ERROR_VALUE,
        "%s: is of neither the weights from after the deletion nor those from before it: its SHA-256 is "
        "%s",
        path, sha256);
}

/* `opened` knows the root before, if an opening was given. */
static bool check_manifest(const Certificate *c, const Checkpoint *p, const CertificateOpened *opened,
                           Error *e) {
    Json manifest = certificate_get(c, "manifest"), j = json_get(manifest, "after");
    const char *after;
    char path[FILE_PATH], root[HASH_TEXT];
    int64_t lines;
    if (json_type(j) == JSON_NULL || !checkpoint_state(p)) {
        printf("what they were trained on was not checked: %s\n",
               checkpoint_state(p) ? "the certificate has no root of a manifest"
                                   : "a file of weights has no manifest; give its checkpoint");
        return true;
    }
    if (!json_text(j, &after, e) || !checkpoint_manifest(p, path, e) || !merkle_file(path, root, &lines, e))
        return false;
    if (!strcmp(root, after)) {
        put(path);
        printf(": this is the list of %" PRId64 " training samples from after the deletion\n", lines);
        return true;
    }
    if (!strcmp(root, opened->manifest_before))
        return error_set(e, ERROR_VALUE, "%s: this is the list of training samples from before the deletion",
                         path);
    return error_set(e, ERROR_VALUE,
                     "%s: is not the list of training samples that the certificate speaks of: its root is %s",
                     path, root);
}

static bool check_checkpoint(const Certificate *c, const char *path, const CertificateOpened *opened,
                             Error *e) {
    Checkpoint *p = NULL;
    char note[CHECKPOINT_NOTE];
    if (!checkpoint_open(&p, path, note, e)) return false;
    if (note[0]) printf("note: %s\n", note);
    bool ok = check_weights(c, weights_path(checkpoint_file(p, CHECKPOINT_MODEL)), e) &&
              check_manifest(c, p, opened, e);
    checkpoint_close(p);
    return ok;
}

/* -------------------------------------------------------------------------------------------- the verb ---
 */

typedef struct Ask {
    const char *certificate, *key, *checkpoint, *opening;
} Ask;

static bool check_opening(const Certificate *c, const char *path, CertificateOpened *opened, Error *e) {
    if (!certificate_opening_check(c, path, opened, e)) return false;
    put(path);
    printf(": its %" PRId64 " samples and its request are exactly those the certificate commits to\n",
           opened->samples);
    if (opened->manifest_before[0])
        printf("  so is its list of samples from before, of the root %s\n", opened->manifest_before);
    if (opened->lists)
        printf("  so are the lists of samples among the old state: %" PRId64 "\n", opened->lists);
    return true;
}

static bool check_format(const Certificate *c, Error *e) {
    const char *format;
    Json j = certificate_get(c, "format");
    if (!json_text(j, &format, e)) return false;
    return !strcmp(format, CERTIFICATE_FORMAT) ||
           json_error(j, e, "is signed well, but this lethe reads \"%s\" only", CERTIFICATE_FORMAT);
}

static bool verify(const Ask *a, Error *e) {
    SignPublic key;
    Certificate *c = NULL;
    CertificateOpened opened = {0};
    if (!sign_public_read(&key, a->key, e) || !certificate_verify_file(&c, a->certificate, &key, e))
        return false;
    bool ok = check_format(c, e) && tell_record(c, a->certificate, &key, e) &&
              (!a->opening || check_opening(c, a->opening, &opened, e)) &&
              (!a->checkpoint || check_checkpoint(c, a->checkpoint, &opened, e));
    certificate_close(c);
    if (ok) fputs(caution, stdout);
    return ok;
}

int cli_verify(int argc, char **argv) {
    static OptionList rest;
    Ask ask = {0};
    Error e = {0};
    const Option options[] = {{"key", OPTION_TEXT, &ask.key},
                              {"checkpoint", OPTION_TEXT, &ask.checkpoint},
                              {"opening", OPTION_TEXT, &ask.opening},
                              {0}};
    rest.count = 0;
    int done = options_read(argc, argv, usage, options, &rest, &e);
    if (done >= 0) return done ? cli_fail(&e) : 0;
    ask.certificate = rest.item[0];
    if (rest.count != 1 || !ask.key) {
        error_set(&e, ERROR_VALUE, "verify takes one certificate and --key KEY.pub; see lethe verify --help");
        return cli_fail(&e);
    }
    return verify(&ask, &e) ? 0 : cli_fail(&e);
}
