#include "unlearn/certificate_facts_inside.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

bool certificate_secret_make(CertificateSecret *s, Error *e) {
    uint8_t id[(CERTIFICATE_ID - 1) / 2];
    if (RAND_bytes(id, sizeof id) != 1 || RAND_priv_bytes(s->salt, sizeof s->salt) != 1)
        return error_set(e, ERROR_STATE, "certificate: OpenSSL has no random numbers here");
    hash_hex(id, sizeof id, s->id);
    return true;
}

/* SHA-256(salt || kind || text). `rest`, if it is not NULL, follows behind another 0x00. */
static bool commit(const uint8_t salt[CERTIFICATE_SALT], uint8_t kind, const char *text, const char *rest,
                   char out[HASH_TEXT], Error *e) {
    Hash h;
    bool ok = hash_open(&h, e) && hash_add(&h, salt, CERTIFICATE_SALT, e) && hash_add(&h, &kind, 1, e) &&
              hash_add(&h, text, strlen(text) + (rest != NULL), e) &&
              (!rest || hash_add(&h, rest, strlen(rest), e)) && hash_finish(&h, out, e);
    hash_drop(&h);
    return ok;
}

bool certificate_commit_sample(const uint8_t salt[CERTIFICATE_SALT], const char *id, const char *sha256,
                               char text[HASH_TEXT], Error *e) {
    return commit(salt, 0, id, sha256, text, e);
}

bool certificate_commit_request(const uint8_t salt[CERTIFICATE_SALT], const char *words, char text[HASH_TEXT],
                                Error *e) {
    return commit(salt, 1, words, NULL, text, e);
}

bool certificate_commit_root(const uint8_t salt[CERTIFICATE_SALT], const char *root, char text[HASH_TEXT],
                             Error *e) {
    return commit(salt, 2, root, NULL, text, e);
}

bool certificate_commit_file(const uint8_t salt[CERTIFICATE_SALT], const char *sha256, char text[HASH_TEXT],
                             Error *e) {
    return commit(salt, 3, sha256, NULL, text, e);
}

bool certificate_commitments_make(CertificateCommitments *list, int64_t count, Error *e) {
    list->count = count;
    list->text = mem_zero((size_t)count, sizeof *list->text);
    return list->text || error_memory(e, (size_t)count * sizeof *list->text);
}

static int compare(const void *a, const void *b) {
    return memcmp(a, b, HASH_TEXT);
}

void certificate_commitments_sort(CertificateCommitments *list) {
    qsort(list->text, (size_t)list->count, sizeof *list->text, compare);
}

bool certificate_commitments_have(const CertificateCommitments *sorted, const char text[HASH_TEXT]) {
    return bsearch(text, sorted->text, (size_t)sorted->count, sizeof *sorted->text, compare) != NULL;
}
