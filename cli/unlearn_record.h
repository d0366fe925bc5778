/* unlearn_record: the signed record of one deletion: certificate.json in the output, and its opening, which
 * names the forgotten and therefore stands beside the output, not in it. */
#ifndef LETHE_CLI_UNLEARN_RECORD_H
#define LETHE_CLI_UNLEARN_RECORD_H

#include "cli/reference.h"
#include "cli/unlearn_output.h"
#include "core/sign.h"

/* What the command line says for it. */
typedef struct RecordAsk {
    const char *key, *operator_name; /* of --key, may be NULL; may be "" */
    const OptionList *forget, *reference;
    int64_t seed; /* of random=SHARE */
} RecordAsk;

typedef struct Record {
    SignKey *key;
    RecordAsk ask;
    char words[4096];          /* of --forget, and the seed where it draws, in one text */
    char *settings;            /* of the method, as JSON */
    Known first;               /* what the weights knew that retraining begins with */
    CertificateSample *sample; /* the forgotten */
    CertificateFile *old;      /* what still holds the state from before */
    char **path;               /* [olds] their paths and hashes: owned */
    int64_t samples, olds;
    int64_t received; /* seconds since 1970 */
} Record;

/* What came of it. */
typedef struct RecordResult {
    const char *audit; /* as JSON */
    double seconds;
    bool unchanged; /* not a weight differs from before */
} RecordResult;

/* Before the work: reads the key (of --key, or the user's own, which is made where there is none), gathers
 * what the record will say of the request and of the old state, and refuses what must not stand in it. Rank 0
 * alone. */
bool record_open(Record *r, const World *w, const Method *m, const RecordAsk *ask, Error *e);
/* After it: writes both files; the opening under a name for the time being, until record_finish. */
bool record_write(const Record *r, const World *w, const Method *m, const Output *o,
                  const RecordResult *result, Error *e);
/* How much is claimed: the method's own, unless retraining began with weights that knew the forgotten. */
CertificateClaim record_claim(const Record *r, const Method *m);
bool record_finish(const Output *o, Error *e); /* just before the output stands */
void record_close(Record *r);                  /* a zeroed one is fine */

/* Removes the opening, under the name for the time being or the lasting one: the record it opens is not
 * there.
 */
void record_drop(const Output *o, bool partial);

/* The opening's path, beside the output. */
bool record_opening(const Output *o, bool partial, char path[FILE_PATH], Error *e);

#endif
