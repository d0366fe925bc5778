#include "core/hash.h"

#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HASH_PIECE = 1 << 16 };

bool hash_open(Hash *h, Error *e) {
    h->state = EVP_MD_CTX_new();
    if (h->state && EVP_DigestInit_ex(h->state, EVP_sha256(), NULL) == 1) return true;
    hash_drop(h);
    return error_set(e, ERROR_STATE, "SHA-256 cannot be computed: OpenSSL does not offer it here");
}

bool hash_add(Hash *h, const void *data, size_t size, Error *e) {
    if (size == 0 || EVP_DigestUpdate(h->state, data, size) == 1) return true;
    return error_set(e, ERROR_STATE, "SHA-256 cannot be computed: OpenSSL gave up");
}

bool hash_finish_raw(Hash *h, uint8_t sum[HASH_SIZE], Error *e) {
    unsigned char whole[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    bool ok = EVP_DigestFinal_ex(h->state, whole, &size) == 1 && size == HASH_SIZE;
    hash_drop(h);
    if (!ok) return error_set(e, ERROR_STATE, "SHA-256 cannot be computed: OpenSSL gave up");
    memcpy(sum, whole, HASH_SIZE);
    return true;
}

bool hash_finish(Hash *h, char text[HASH_TEXT], Error *e) {
    uint8_t sum[HASH_SIZE];
    if (!hash_finish_raw(h, sum, e)) return false;
    hash_hex(sum, sizeof sum, text);
    return true;
}

void hash_hex(const uint8_t *bytes, size_t size, char *text) {
    static const char digit[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        text[2 * i] = digit[bytes[i] >> 4];
        text[2 * i + 1] = digit[bytes[i] & 15];
    }
    text[2 * size] = '\0';
}

void hash_drop(Hash *h) {
    EVP_MD_CTX_free(h->state);
    h->state = NULL;
}

bool hash_bytes(const void *data, size_t size, char text[HASH_TEXT], Error *e) {
    Hash h;
    if (!hash_open(&h, e)) return false;
    if (hash_add(&h, data, size, e)) return hash_finish(&h, text, e);
    hash_drop(&h);
    return false;
}

bool hash_file(const char *path, char text[HASH_TEXT], uint64_t *size, Error *e) {
    unsigned char piece[HASH_PIECE];
    Hash h = {NULL};
    uint64_t total = 0;
    bool ok = false;
    struct stat info;

    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not make us wait */
    if (fd < 0) return file_error(e, path, "open", errno);
    if (fstat(fd, &info) != 0) {
        file_error(e, path, "look at", errno);
        goto out;
    }
    if (!S_ISREG(info.st_mode)) {
        error_set(e, ERROR_IO, "%s: is not a regular file", path);
        goto out;
    }
    if (!hash_open(&h, e)) goto out;
    for (;;) {
        ssize_t got = read(fd, piece, sizeof piece);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            file_error(e, path, "read", errno);
            goto out;
        }
        if (got == 0) break;
        if (!hash_add(&h, piece, (size_t)got, e)) goto out;
        total += (uint64_t)got;
    }
    if (size) *size = total;
    ok = hash_finish(&h, text, e);
out:
    hash_drop(&h);
    close(fd);
    return ok;
}

bool hash_is_text(const char *text) {
    return strspn(text, "0123456789abcdef") == HASH_TEXT - 1 && text[HASH_TEXT - 1] == '\0';
}
