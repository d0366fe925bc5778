/* certificate_facts: what the certificate of a deletion says, and what it keeps to itself.
 *
 * It names nobody. A forgotten sample is in it as a commitment, SHA-256(salt || 0x00 || id || 0x00 || SHA-256
 * of its file in hex), the request as SHA-256(salt || 0x01 || its words). Lists of samples from before the
 * deletion hold the forgotten beside samples that anybody may know, so what is made of such a list is
 * committed to as well: its root as SHA-256(salt || 0x02 || root in hex), its file as SHA-256(salt || 0x03 ||
 * SHA-256 in hex), and how long the file is is not said. The salt is 32 random bytes, new for each
 * certificate, so that nobody can try names or images out. Salt, ids, paths and hashes are in the opening, a
 * private file that whoever answers for the deletion keeps, and gives to an auditor. Who has the salt can try
 * out names: give the opening to nobody else. The commitments are sorted, so their order tells nothing.
 *
 *     CertificateSecret secret;
 *     certificate_secret_make(&secret, e) && certificate_opening_write("opening.json", &facts, &secret, e) &&
 *     certificate_draft_open(&d, e) && certificate_facts_put(d, &facts, &secret, e) &&
 *     certificate_sign(d, key, &text, &size, e) && file_write("certificate.json", text, size, e) */
#ifndef LETHE_CERTIFICATE_FACTS_H
#define LETHE_CERTIFICATE_FACTS_H

#include "unlearn/certificate.h"

#define CERTIFICATE_FORMAT "lethe-certificate 2"
#define OPENING_FORMAT     "lethe-opening 2"
#define OPENING_CAP        ((size_t)1 << 28) /* bytes of an opening */

/* What was asked for. */
#define CERTIFICATE_REQUESTS(X)                                                                              \
    X(REQUEST_IDENTITY, "identity")                                                                          \
    X(REQUEST_SAMPLE, "sample")                                                                              \
    X(REQUEST_FILE, "file")                                                                                  \
    X(REQUEST_CLASS, "class")                                                                                \
    X(REQUEST_RANDOM, "random")                                                                              \
    X(REQUEST_PATH, "path")                                                                                  \
    X(REQUEST_LIST, "list")                                                                                  \
    X(REQUEST_MIXED, "mixed")

/* How much is claimed, and the words for it where the facts have none of their own. */
#define CERTIFICATE_CLAIMS(X)                                                                                \
    X(CLAIM_EXACT, "exact",                                                                                  \
      "The new weights come from a training that never read the forgotten samples nor anything made of "     \
      "them.")                                                                                               \
    X(CLAIM_CERTIFIED, "certified",                                                                          \
      "Within the bounds epsilon and delta, the new weights cannot be told from weights that never saw the " \
      "forgotten samples; this holds as far as the assumptions of the method do.")                           \
    X(CLAIM_HEURISTIC, "heuristic",                                                                          \
      "The method is meant to change the weights so that they treat the forgotten samples as unseen ones. "  \
      "How far it did is what was measured, under audit. Nothing proves that no trace is left.")

typedef enum {
#define X(name, text) name,
    CERTIFICATE_REQUESTS(X)
#undef X
} CertificateRequest;

typedef enum {
#define X(name, text, words) name,
    CERTIFICATE_CLAIMS(X)
#undef X
} CertificateClaim;

typedef struct CertificateSample {
    const char *id, *path; /* as in the manifest; id as text */
    const char *sha256;    /* of its file */
} CertificateSample;

/* A file that still holds the state from before. */
typedef struct CertificateFile {
    const char *path, *role; /* role: checkpoint, optimizer, ema, export ... */
    uint64_t bytes;
    const char *sha256;
    bool lists; /* the forgotten among others: its length and hash are not told, but committed to */
} CertificateFile;

/* Everything is borrowed, and no text is NULL but where it says so. Hashes are 64 hex digits, times seconds
 * since 1970 in UTC. */
typedef struct CertificateFacts {
    int64_t received, answered; /* the request */
    CertificateRequest kind;
    const char *request; /* its words; private */
    int64_t identities;  /* told if kind is REQUEST_IDENTITY */
    const CertificateSample *forgotten;
    int64_t forgotten_count, retained_count;
    const char *manifest_before, *manifest_after; /* merkle_file; NULL: there was none. Before: private */
    const char *method;
    const char *settings; /* of the method, as JSON */
    const char *audit;    /* what was measured, as JSON; NULL: nothing was */
    const char *const
        *references; /* [reference_count] SHA-256 of the weights that the audit looked at beside */
    int reference_count;
    int64_t seed;
    const char *weights_before, *weights_after; /* SHA-256 of model.safetensors */
    CertificateClaim claim;
    double epsilon, delta;  /* told if claim is CLAIM_CERTIFIED */
    const char *claim_text; /* NULL: the usual words */
    const CertificateFile *old_state;
    int64_t old_state_count;
    double duration_seconds;
    const char *by; /* who did it, for "operator"; may be empty */
} CertificateFacts;

enum { CERTIFICATE_ID = 33, CERTIFICATE_SALT = 32 };

typedef struct CertificateSecret {
    char id[CERTIFICATE_ID]; /* 128 random bits in hex; not secret */
    uint8_t salt[CERTIFICATE_SALT];
} CertificateSecret;

bool certificate_secret_make(CertificateSecret *s, Error *e);

/* The usual words of a claim. */
const char *certificate_claim_words(CertificateClaim claim);

/* Puts all lines of the record. An error if some text in them names a forgotten sample or repeats the words
 * of the request; `program` is the running one. */
bool certificate_facts_put(CertificateDraft *d, const CertificateFacts *f, const CertificateSecret *s,
                           Error *e);

/* Refuses a JSON value that a certificate must not hold: one with a forgotten sample's path, file name or id,
 * or the words of the request, in a text (an id or request of digits alone: as the whole text).
 * certificate_facts_put asks this of all that it puts; ask it of settings before hours of work, and of every
 * line of your own. */
bool certificate_names_nobody(const CertificateFacts *f, const char *key, const char *json, Error *e);

/* A new file, mode 0600; nothing is replaced. */
bool certificate_opening_write(const char *path, const CertificateFacts *f, const CertificateSecret *s,
                               Error *e);

/* What an opening tells beside names. */
typedef struct CertificateOpened {
    int64_t samples, lists;          /* how many; lists: files of the old state that are lists of samples */
    char manifest_before[HASH_TEXT]; /* the root; "": there was none */
} CertificateOpened;

/* Is the file at `path` the opening of this certificate, with every one of its commitments and no other? */
bool certificate_opening_check(const Certificate *c, const char *path, CertificateOpened *out, Error *e);

#endif
