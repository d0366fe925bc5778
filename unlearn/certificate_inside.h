/* certificate_inside: the line format, for its writer and its reader. */
#ifndef LETHE_CERTIFICATE_INSIDE_H
#define LETHE_CERTIFICATE_INSIDE_H

#include "core/base64.h"
#include "unlearn/certificate.h"

enum { CERTIFICATE_SEAL = 3 }; /* lines: digests, public_key, signature */
extern const char *const certificate_seal[CERTIFICATE_SEAL];

typedef struct CertificateLine {
    char key[CERTIFICATE_KEY];
    char sha256[HASH_TEXT]; /* of its bytes, the newline included; "" in the seal */
    size_t begin, size;     /* in the file, the newline included */
    size_t value, length;   /* its value: where, and how many bytes */
} CertificateLine;

typedef struct CertificateLayout {
    const char *name; /* for messages */
    const char *text;
    size_t size;
    int count; /* keys; that of line[i] stands on line i + 2 of the file */
    CertificateLine line[CERTIFICATE_LINES];
} CertificateLayout;

/* Lower-case letters, digits and '_', beginning with a letter; length below CERTIFICATE_KEY. */
bool certificate_key_fits(const char *key, size_t length);

/* Cuts `text` into lines and takes nothing but the canonical layout: the braces, keys and commas, JSON
 * values, the seal's keys in their place, the end. */
bool certificate_layout(CertificateLayout *l, const char *name, const char *text, size_t size, Error *e);

/* "name:line: ..." for the line of the file; returns false. */
bool certificate_error(const CertificateLayout *l, int line, Error *e, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* The whole line of the digests of `count` lines, and that of a public key, newlines included. */
#define CERTIFICATE_DIGESTS (CERTIFICATE_LINES * (CERTIFICATE_KEY + HASH_TEXT + 8) + 32)
#define CERTIFICATE_PUBLIC  (BASE64_TEXT(SIGN_PUBLIC) + 24)
size_t certificate_digests_line(const CertificateLine *line, int count, char text[CERTIFICATE_DIGESTS]);
size_t certificate_public_line(const SignPublic *p, char text[CERTIFICATE_PUBLIC]);

#endif
