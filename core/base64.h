/* base64: bytes as text (RFC 4648, section 4), computed by OpenSSL. Strict: the one text that base64_put
 * makes of some bytes is the only one that base64_get takes for them. */
#ifndef LETHE_BASE64_H
#define LETHE_BASE64_H

#include "core/base.h"

#define BASE64_TEXT(size) (((size) + 2) / 3 * 4 + 1) /* room for the text of `size` bytes, with a NUL */
enum { BASE64_MOST = 768 };                          /* bytes that base64_get takes */

/* text has room for BASE64_TEXT(size); size is at most BASE64_MOST. */
void base64_put(const uint8_t *bytes, size_t size, char *text);

/* True if the `length` characters are the text of exactly `size` bytes, which are then in `bytes`. */
bool base64_get(const char *text, size_t length, uint8_t *bytes, size_t size);

#endif
