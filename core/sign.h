/* sign: signatures by Ed25519 (RFC 8032), computed by OpenSSL, and their keys in files that other tools read
 * and write, too: PKCS#8 and SubjectPublicKeyInfo as PEM (RFC 8410). `openssl genpkey -algorithm ed25519`
 * makes such a key; ssh-keygen and GnuPG write others. */
#ifndef LETHE_SIGN_H
#define LETHE_SIGN_H

#include "core/base.h"
#include "core/file.h"
#include "core/hash.h"

enum { SIGN_PUBLIC = 32, SIGN_SIGNATURE = 64, SIGN_PEM_CAP = 1 << 16 /* bytes of a key's file */ };

typedef struct SignKey SignKey; /* a private key, with its public one */

typedef struct SignPublic {
    uint8_t raw[SIGN_PUBLIC];
} SignPublic;

bool sign_key_make(SignKey **out, Error *e);
void sign_key_close(SignKey *k); /* NULL is fine */
const SignPublic *sign_key_public(const SignKey *k);

/* A private key's file has mode 0600. Neither function replaces a file. */
bool sign_key_write(const SignKey *k, const char *path, Error *e);
bool sign_public_write(const SignPublic *p, const char *path, Error *e);

/* Both files or neither, KEY and KEY.pub, whose path is given back: half a pair would only be in the way of
 * the next try. */
bool sign_pair_write(const SignKey *k, const char *path, char public_path[FILE_PATH], Error *e);

/* A file of at most SIGN_PEM_CAP bytes; what stands before and after the key in it is passed over. */
bool sign_key_read(SignKey **out, const char *path, Error *e);
bool sign_public_read(SignPublic *out, const char *path, Error *e);
/* The same from memory; `name` is for messages. */
bool sign_key_parse(SignKey **out, const char *name, const char *text, size_t size, Error *e);
bool sign_public_parse(SignPublic *out, const char *name, const char *text, size_t size, Error *e);

/* What people compare: SHA-256 of the DER of SubjectPublicKeyInfo, as by
 * `openssl pkey -pubin -in KEY.pub -outform DER | sha256sum`. */
bool sign_fingerprint(const SignPublic *p, char text[HASH_TEXT], Error *e);

/* The same bytes and key give the same signature always. */
bool sign_bytes(const SignKey *k, const void *data, size_t size, uint8_t signature[SIGN_SIGNATURE], Error *e);
/* *fits: is it this key's signature of these bytes? False: that could not be found out. */
bool sign_fits(const SignPublic *p, const void *data, size_t size, const uint8_t signature[SIGN_SIGNATURE],
               bool *fits, Error *e);

#endif
