#define _GNU_SOURCE /* memfd_create */
/* Any bytes as a certificate: refused with one line that names the file, or signed to the last byte. Any
 * bytes as a value of one: what the writer takes, the reader takes, and no longer with one byte changed. Any
 * bytes as the opening of a certificate. */
#include "core/base64.h"
#include "unlearn/certificate_facts_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char pem[] = "-----BEGIN PRIVATE KEY-----\n"
                          "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n"
                          "-----END PRIVATE KEY-----\n"; /* RFC 8410, section 10.3 */

static SignKey *key(void) {
    static SignKey *k;
    Error e;
    if (!k && !sign_key_parse(&k, "key", pem, sizeof pem - 1, &e)) abort();
    return k;
}

static void check_line(const Error *e, const char *name) {
    if (e->code == ERROR_NONE || strncmp(e->text, name, strlen(name)) != 0) abort();
    for (const char *c = e->text; *c; c++)
        if ((uint8_t)*c < 0x20) abort();
}

static bool verifies(const char *text, size_t size) {
    Certificate *c;
    Error e = {0};
    if (certificate_verify(&c, "fuzz", text, size, sign_key_public(key()), &e)) {
        certificate_close(c);
        return true;
    }
    check_line(&e, "fuzz:");
    return false;
}

/* One key signs the same bytes to the same signature, so what is accepted has this end and no other. */
static void any_bytes(const char *text, size_t size) {
    uint8_t signature[SIGN_SIGNATURE];
    char raw[BASE64_TEXT(SIGN_SIGNATURE)], due[sizeof raw + 32];
    Error e;
    if (!verifies(text, size)) return;
    size_t n = sizeof raw - 1 + strlen("\"signature\": \"\"\n}\n");
    if (size < n || !sign_bytes(key(), text, size - n, signature, &e)) abort();
    base64_put(signature, sizeof signature, raw);
    snprintf(due, sizeof due, "\"signature\": \"%s\"\n}\n", raw);
    if (strlen(due) != n || memcmp(text + size - n, due, n) != 0) abort();
}

static void any_value(const char *value, size_t at) {
    CertificateDraft *d;
    char *text;
    size_t size;
    Error e = {0};
    if (!certificate_draft_open(&d, &e)) abort();
    if (certificate_put(d, "a", value, &e)) {
        if (!certificate_put(d, "b", "1", &e) || !certificate_sign(d, key(), &text, &size, &e)) abort();
        if (!verifies(text, size)) abort();
        text[at % size] ^= 1;
        if (verifies(text, size)) abort();
        mem_free(text);
    } else {
        check_line(&e, "certificate:");
    }
    certificate_draft_close(d);
}

/* A certificate whose opening has a salt of zeros, the word "x", no sample, and two lists of the hash 00..0.
 */
static Certificate *opened_by_zeros(void) {
    static const uint8_t salt[CERTIFICATE_SALT] = {0};
    char hash[HASH_TEXT], request[HASH_TEXT], root[HASH_TEXT], file[HASH_TEXT], line[3][400], *text;
    CertificateDraft *d;
    Certificate *c;
    size_t size;
    Error e = {0};
    memset(hash, '0', sizeof hash - 1);
    hash[sizeof hash - 1] = '\0';
    if (!certificate_commit_request(salt, "x", request, &e) ||
        !certificate_commit_root(salt, hash, root, &e) || !certificate_commit_file(salt, hash, file, &e))
        abort();
    snprintf(line[0], sizeof line[0], "{\"commitment\": \"%s\"}", request);
    snprintf(line[1], sizeof line[1], "{\"before\": \"%s\", \"after\": null}", root);
    snprintf(line[2], sizeof line[2],
             "[{\"path\": \"a\"}, {\"path\": \"b\", \"commitment\": \"%s\"}, {\"path\": \"c\", "
             "\"commitment\": \"%s\"}]",
             file, file);
    if (!certificate_draft_open(&d, &e) || !certificate_put(d, "id", "\"1\"", &e) ||
        !certificate_put(d, "request", line[0], &e) || !certificate_put(d, "forgotten", "[]", &e) ||
        !certificate_put(d, "manifest", line[1], &e) || !certificate_put(d, "old_state", line[2], &e) ||
        !certificate_sign(d, key(), &text, &size, &e) ||
        !certificate_verify(&c, "fuzz", text, size, sign_key_public(key()), &e))
        abort();
    certificate_draft_close(d);
    mem_free(text);
    return c;
}

static void any_opening(const char *text, size_t size) {
    static Certificate *c;
    static char path[32];
    static int fd = -1;
    CertificateOpened opened;
    Error e = {0};
    if (fd < 0 && (fd = memfd_create("opening", MFD_CLOEXEC)) < 0) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, size, 0) != (ssize_t)size) abort();
    if (!c) c = opened_by_zeros();
    if (!certificate_opening_check(c, path, &opened, &e))
        check_line(&e, path);
    else if (opened.samples != 0 || opened.lists != 2 || opened.manifest_before[0] != '0')
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = mem_zero(size + 1, 1);
    if (!text) abort();
    if (size) memcpy(text, data, size);
    any_bytes(text, size);
    any_value(text, size ? data[size / 2] * 7U : 0);
    any_opening(text, size);
    mem_free(text);
    return 0;
}
