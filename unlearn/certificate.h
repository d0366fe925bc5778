/* certificate: a signed record that any JSON tool reads and anybody can check.
 *
 * The file is JSON and, more strictly, lines: "{", then a line for each top-level key, `"key": value,` with
 * the whole value on that line, then "}", each with its newline. The last three keys are the seal:
 *
 *     "digests": {"format": "SHA-256 of its line, newline included", ...},   of each key before this one
 *     "public_key": "the 32 bytes, in base64",
 *     "signature": "Ed25519 over every byte before this line, in base64"
 *
 * So `sed -n 7p certificate.json | sha256sum` checks a line and `openssl pkeyutl -verify -rawin` the whole.
 * The signature alone would tell that something was changed; the digests are there to tell what.
 *
 * What the record says is not this file's business: unlearn/certificate_facts.h. */
#ifndef LETHE_CERTIFICATE_H
#define LETHE_CERTIFICATE_H

#include "core/json.h"
#include "core/sign.h"

enum {
    CERTIFICATE_CAP = 1 << 24, /* bytes of a certificate */
    CERTIFICATE_LINES = 128,   /* most keys, the seal's included */
    CERTIFICATE_KEY = 64       /* room for a key: lower-case letters, digits and '_' */
};

/* -------------------------------------------------------------------------------------------- writing --- */

typedef struct CertificateDraft CertificateDraft;

bool certificate_draft_open(CertificateDraft **out, Error *e);
void certificate_draft_close(CertificateDraft *d); /* NULL is fine */

/* Adds a line. `json` is one JSON value; it may stand on many lines, and is put on one. A key is put once. */
bool certificate_put(CertificateDraft *d, const char *key, const char *json, Error *e);

/* The lines so far, for those who must look at them; borrowed until the next call. */
const char *certificate_draft_text(const CertificateDraft *d);

/* Adds the seal and gives out the file's bytes: mem_free(*text). The draft is done with then. */
bool certificate_sign(CertificateDraft *d, const SignKey *key, char **text, size_t *size, Error *e);

/* -------------------------------------------------------------------------------------------- reading --- */

typedef struct Certificate Certificate; /* one that was verified */

/* Every byte is as the holder of `key` signed it: any that was changed, added, removed or moved is an error,
 * "name:line: what is wrong", which names the key of that line where it can be told. If it was signed with
 * another key, the error has the fingerprints of both. `text` is copied. */
bool certificate_verify(Certificate **out, const char *name, const char *text, size_t size,
                        const SignPublic *key, Error *e);
bool certificate_verify_file(Certificate **out, const char *path, const SignPublic *key, Error *e);
void certificate_close(Certificate *c); /* NULL is fine */

/* The record; core/json.h's errors about it name file and line. */
Json certificate_root(const Certificate *c);
Json certificate_get(const Certificate *c, const char *key);
int certificate_lines(const Certificate *c);

#endif
