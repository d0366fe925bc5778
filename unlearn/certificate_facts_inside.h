/* certificate_facts_inside: commitments, for the record and for its opening. */
#ifndef LETHE_CERTIFICATE_FACTS_INSIDE_H
#define LETHE_CERTIFICATE_FACTS_INSIDE_H

#include "unlearn/certificate_facts.h"

typedef struct CertificateCommitments {
    char (*text)[HASH_TEXT];
    int64_t count;
} CertificateCommitments;

bool certificate_commit_sample(const uint8_t salt[CERTIFICATE_SALT], const char *id, const char *sha256,
                               char text[HASH_TEXT], Error *e);
bool certificate_commit_request(const uint8_t salt[CERTIFICATE_SALT], const char *words, char text[HASH_TEXT],
                                Error *e);
/* Of a list of samples from before: its root, and the SHA-256 of its file. */
bool certificate_commit_root(const uint8_t salt[CERTIFICATE_SALT], const char *root, char text[HASH_TEXT],
                             Error *e);
bool certificate_commit_file(const uint8_t salt[CERTIFICATE_SALT], const char *sha256, char text[HASH_TEXT],
                             Error *e);

/* Room for `count`, to be filled; mem_free(list->text). */
bool certificate_commitments_make(CertificateCommitments *list, int64_t count, Error *e);
void certificate_commitments_sort(CertificateCommitments *list);
bool certificate_commitments_have(const CertificateCommitments *sorted, const char text[HASH_TEXT]);

#endif
