/* Any bytes as a key's file: refused with one line, or a key that signs. */
#include "core/sign.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_line(const Error *e) {
    if (e->code == ERROR_NONE || strncmp(e->text, "fuzz: ", 6) != 0) abort();
    for (const char *c = e->text; *c; c++)
        if ((uint8_t)*c < 0x20) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t signature[SIGN_SIGNATURE];
    char fingerprint[HASH_TEXT];
    SignPublic p;
    SignKey *k;
    bool fits;
    Error e = {0};
    if (!sign_public_parse(&p, "fuzz", (const char *)data, size, &e))
        check_line(&e);
    else if (!sign_fingerprint(&p, fingerprint, &e))
        abort();
    if (!sign_key_parse(&k, "fuzz", (const char *)data, size, &e)) {
        check_line(&e);
        return 0;
    }
    if (!sign_bytes(k, "lethe", 5, signature, &e) ||
        !sign_fits(sign_key_public(k), "lethe", 5, signature, &fits, &e) || !fits)
        abort();
    sign_key_close(k);
    return 0;
}
