#include "core/sign_inside.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

struct SignKey {
    EVP_PKEY *pair;
    SignPublic public;
};

static bool sign_error(Error *e) {
    ERR_clear_error();
    return error_set(e, ERROR_STATE, "Ed25519 cannot be computed: OpenSSL does not offer it here");
}

/* Takes `pair`, also when it fails. */
static bool wrap(SignKey **out, EVP_PKEY *pair, Error *e) {
    size_t size = SIGN_PUBLIC;
    *out = NULL;
    if (!pair) return sign_error(e);
    SignKey *k = mem_zero(1, sizeof *k);
    if (!k) {
        EVP_PKEY_free(pair);
        return error_memory(e, sizeof *k);
    }
    k->pair = pair;
    if (EVP_PKEY_get_raw_public_key(pair, k->public.raw, &size) == 1 && size == SIGN_PUBLIC) {
        *out = k;
        return true;
    }
    sign_key_close(k);
    return sign_error(e);
}

bool sign_key_make(SignKey **out, Error *e) {
    EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_id(EVP_PKEY_ED25519, NULL);
    EVP_PKEY *pair = NULL;
    if (maker && EVP_PKEY_keygen_init(maker) == 1) EVP_PKEY_keygen(maker, &pair); /* else pair stays NULL */
    EVP_PKEY_CTX_free(maker);
    return wrap(out, pair, e);
}

bool sign_key_of(SignKey **out, const uint8_t seed[SIGN_SEED], Error *e) {
    return wrap(out, EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, SIGN_SEED), e);
}

bool sign_key_seed(const SignKey *k, uint8_t seed[SIGN_SEED], Error *e) {
    size_t size = SIGN_SEED;
    return (EVP_PKEY_get_raw_private_key(k->pair, seed, &size) == 1 && size == SIGN_SEED) || sign_error(e);
}

void sign_key_close(SignKey *k) {
    if (!k) return;
    EVP_PKEY_free(k->pair);
    mem_free(k);
}

const SignPublic *sign_key_public(const SignKey *k) {
    return &k->public;
}

bool sign_fingerprint(const SignPublic *p, char text[HASH_TEXT], Error *e) {
    uint8_t der[SIGN_DER_PUBLIC];
    sign_der_public(p, der);
    return hash_bytes(der, sizeof der, text, e);
}

bool sign_bytes(const SignKey *k, const void *data, size_t size, uint8_t signature[SIGN_SIGNATURE],
                Error *e) {
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    size_t length = SIGN_SIGNATURE;
    bool ok = c && EVP_DigestSignInit(c, NULL, NULL, NULL, k->pair) == 1 &&
              EVP_DigestSign(c, signature, &length, data, size) == 1 && length == SIGN_SIGNATURE;
    EVP_MD_CTX_free(c);
    return ok || sign_error(e);
}

bool sign_fits(const SignPublic *p, const void *data, size_t size, const uint8_t signature[SIGN_SIGNATURE],
               bool *fits, Error *e) {
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, p->raw, SIGN_PUBLIC);
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool ok = key && c && EVP_DigestVerifyInit(c, NULL, NULL, NULL, key) == 1;
    *fits = ok && EVP_DigestVerify(c, signature, SIGN_SIGNATURE, data, size) == 1;
    EVP_MD_CTX_free(c);
    EVP_PKEY_free(key);
    ERR_clear_error(); /* what a false signature left there */
    return ok || sign_error(e);
}
