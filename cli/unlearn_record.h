/* unlearn_record: the signed record of one deletion: certificate.json in the output, and its opening, which
 * names the forgotten and therefore stands beside the output, not in it. */
#ifndef LETHE_CLI_UNLEARN_RECORD_H
#define LETHE_CLI_UNLEARN_RECORD_H

#include "cli/unlearn_output.h"
#include "core/sign.h"

typedef struct Record {
    SignKey *key;
    const OptionList *asked;   /* the words of --forget */
    const char *operator_name; /* may be "" */
    char words[4096];          /* the same in one text */
    char *settings;            /* of the method, as JSON */
    CertificateSample *sample; /* the forgotten */
    CertificateFile *old;      /* what still holds the state from before */
    char **path;               /* [olds] their paths and hashes: owned */
    int64_t samples, olds;
    int64_t received; /* seconds since 1970 */
} Record;

/* Before the work: reads the key (of --key, or the user's own, which is made where there is none), gathers
 * what the record will say of the request and of the old state, and refuses what must not stand in it. Rank 0
 * alone. */
bool record_open(Record *r, const World *w, const Method *m, const char *key, const OptionList *forget,
                 const char *operator_name, Error *e);
/* After it: writes both files; the opening under a name for the time being, until record_finish. */
bool record_write(const Record *r, const World *w, const Method *m, const Output *o, const char *audit,
                  double seconds, Error *e);
bool record_finish(const Output *o, Error *e); /* just before the output stands */
void record_close(Record *r);                  /* a zeroed one is fine */

/* Removes the opening, under the name for the time being or the lasting one: the record it opens is not
 * there.
 */
void record_drop(const Output *o, bool partial);

/* The opening's path, beside the output. */
bool record_opening(const Output *o, bool partial, char path[FILE_PATH], Error *e);

#endif
