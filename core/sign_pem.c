/* Keys in files. An Ed25519 key has exactly one DER form (RFC 8410, sections 4 and 7): a fixed beginning and
 * 32 bytes. So a file from outside goes through no general decoder of keys, only through that of PEM. */
#include "core/file.h"
#include "core/sign_inside.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>
#include <unistd.h>

static const uint8_t public_lead[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};
static const uint8_t private_lead[] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
                                       0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};
enum { DER_PRIVATE = sizeof private_lead + SIGN_SEED };
_Static_assert(sizeof public_lead + SIGN_PUBLIC == SIGN_DER_PUBLIC, "RFC 8410, section 4");

static const char private_name[] = "PRIVATE KEY", public_name[] = "PUBLIC KEY";

void sign_der_public(const SignPublic *p, uint8_t der[SIGN_DER_PUBLIC]) {
    memcpy(der, public_lead, sizeof public_lead);
    memcpy(der + sizeof public_lead, p->raw, SIGN_PUBLIC);
}

/* -------------------------------------------------------------------------------------------- writing --- */

typedef bool (*FileWriter)(const char *path, const void *data, size_t size, Error *e);

static bool write_pem(FileWriter to, const char *path, const char *name, const uint8_t *der, long size,
                      Error *e) {
    BIO *b = BIO_new(BIO_s_secmem());
    char *text;
    long length = b && PEM_write_bio(b, name, "", der, size) > 0 ? BIO_get_mem_data(b, &text) : 0;
    bool ok = length > 0 ? to(path, text, (size_t)length, e) : error_memory(e, (size_t)size);
    BIO_free(b);
    return ok;
}

bool sign_key_write(const SignKey *k, const char *path, Error *e) {
    uint8_t der[DER_PRIVATE];
    memcpy(der, private_lead, sizeof private_lead);
    bool ok = sign_key_seed(k, der + sizeof private_lead, e) &&
              write_pem(file_write_private, path, private_name, der, sizeof der, e);
    OPENSSL_cleanse(der, sizeof der);
    return ok;
}

bool sign_public_write(const SignPublic *p, const char *path, Error *e) {
    uint8_t der[SIGN_DER_PUBLIC];
    sign_der_public(p, der);
    return write_pem(file_write_new, path, public_name, der, sizeof der, e);
}

bool sign_pair_write(const SignKey *k, const char *path, char public_path[FILE_PATH], Error *e) {
    int n = snprintf(public_path, FILE_PATH, "%s.pub", path);
    if (n < 0 || n >= FILE_PATH) return error_set(e, ERROR_LIMIT, "--out: the path is too long");
    if (file_kind_link(path) != FILE_NONE || file_kind_link(public_path) != FILE_NONE)
        return error_set(
            e, ERROR_STATE,
            "%s: is there already and is not replaced: what it signed could not be told any more; give "
            "another --out",
            file_kind_link(path) != FILE_NONE ? path : public_path);
    if (!sign_key_write(k, path, e)) return false;
    if (sign_public_write(sign_key_public(k), public_path, e)) return true;
    unlink(path);
    return false;
}

/* -------------------------------------------------------------------------------------------- reading --- */

/* One PEM block. The three are NULL if there is none. */
typedef struct Pem {
    char *name, *header;
    uint8_t *der;
    long size;
} Pem;

static bool pem_open(Pem *p, const char *name, const char *text, size_t size, Error *e) {
    *p = (Pem){0};
    if (size > SIGN_PEM_CAP)
        return error_set(e, ERROR_LIMIT, "%s: larger than %d bytes, so it is no key", name, SIGN_PEM_CAP);
    BIO *b = BIO_new_mem_buf(text, (int)size);
    bool found = b && PEM_read_bio(b, &p->name, &p->header, &p->der, &p->size) == 1;
    BIO_free(b);
    ERR_clear_error();
    return found ||
           error_set(e, ERROR_FORMAT,
                     "%s: is no key in PEM, which begins with \"-----BEGIN\"; lethe keygen makes one", name);
}

static void pem_close(Pem *p) {
    OPENSSL_free(p->name);
    OPENSSL_free(p->header);
    OPENSSL_clear_free(p->der, (size_t)p->size);
}

/* Why a block that is there is not the wanted one. */
static bool refuse(const Pem *p, const char *name, const char *wanted, Error *e) {
    const char *why = "is a key of another kind than Ed25519";
    if (strstr(p->name, "ENCRYPTED") || p->header[0])
        why = "is encrypted with a password, which Lethe cannot ask for; decrypt it with openssl pkey";
    else if (!strcmp(p->name, "OPENSSH PRIVATE KEY"))
        why = "is a key of OpenSSH";
    else if (strcmp(p->name, wanted) != 0 && !strcmp(p->name, private_name))
        why = "is a private key, where the public one is due; keep it secret, and give KEY.pub";
    else if (strcmp(p->name, wanted) != 0 && !strcmp(p->name, public_name))
        why = "is a public key, where the private one is due";
    else if (strcmp(p->name, wanted) != 0)
        why = "holds something else than a key";
    return error_set(e, ERROR_FORMAT, "%s: %s; lethe keygen makes a fitting pair", name, why);
}

/* The 32 bytes of a key, which stand behind a fixed beginning. */
static bool parse(const char *name, const char *text, size_t size, const char *wanted, const uint8_t *lead,
                  size_t lead_size, uint8_t out[32], Error *e) {
    Pem p;
    if (!pem_open(&p, name, text, size, e)) return false;
    bool fits = !strcmp(p.name, wanted) && !p.header[0] && p.size == (long)lead_size + 32 &&
                !memcmp(p.der, lead, lead_size);
    if (fits)
        memcpy(out, p.der + lead_size, 32);
    else
        refuse(&p, name, wanted, e);
    pem_close(&p);
    return fits;
}

bool sign_public_parse(SignPublic *out, const char *name, const char *text, size_t size, Error *e) {
    return parse(name, text, size, public_name, public_lead, sizeof public_lead, out->raw, e);
}

bool sign_key_parse(SignKey **out, const char *name, const char *text, size_t size, Error *e) {
    uint8_t seed[SIGN_SEED];
    *out = NULL;
    bool ok = parse(name, text, size, private_name, private_lead, sizeof private_lead, seed, e) &&
              sign_key_of(out, seed, e);
    OPENSSL_cleanse(seed, sizeof seed);
    return ok;
}

bool sign_public_read(SignPublic *out, const char *path, Error *e) {
    char *text;
    size_t size;
    if (!file_read(path, SIGN_PEM_CAP, &text, &size, e)) return false;
    bool ok = sign_public_parse(out, path, text, size, e);
    OPENSSL_cleanse(text, size); /* it may be the private key, given by mistake */
    mem_free(text);
    return ok;
}

bool sign_key_read(SignKey **out, const char *path, Error *e) {
    char *text;
    size_t size;
    *out = NULL;
    if (!file_read(path, SIGN_PEM_CAP, &text, &size, e)) return false;
    bool ok = sign_key_parse(out, path, text, size, e);
    OPENSSL_cleanse(text, size);
    mem_free(text);
    return ok;
}
