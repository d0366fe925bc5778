#include "core/base64.h"

#include <openssl/evp.h>
#include <string.h>

void base64_put(const uint8_t *bytes, size_t size, char *text) {
    if (size > BASE64_MOST) die("base64: %zu bytes", size);
    EVP_EncodeBlock((unsigned char *)text, bytes, (int)size);
}

bool base64_get(const char *text, size_t length, uint8_t *bytes, size_t size) {
    unsigned char whole[BASE64_MOST + 3];
    char again[BASE64_TEXT(BASE64_MOST)];
    if (size > BASE64_MOST || length + 1 != BASE64_TEXT(size)) return false;
    if (EVP_DecodeBlock(whole, (const unsigned char *)text, (int)length) < 0) return false;
    /* OpenSSL passes over blanks and over bits that no byte needs. */
    base64_put(whole, size, again);
    if (memcmp(again, text, length) != 0) return false;
    memcpy(bytes, whole, size);
    return true;
}
