/* request: which samples are to be forgotten. What is asked for, and what may be asked for together:
 *
 *     identity=s07          everyone named so in the manifest; identity=s07,s12
 *     class=cat             the same
 *     sample=17             by its id; sample=17,18
 *     file=PATH             by what is in the file (SHA-256), wherever it lies and whatever it is called now
 *     path=masks/a_1.png    whose path ends so, by whole parts
 *     random=0.1            a tenth of all, drawn by a seed
 *     @list.txt             a file with one of the above a line, or a bare path; # begins a remark
 *
 * A name that no sample has is an error that tells the nearest there is. So is a request for nothing, or for
 * everything. */
#ifndef LETHE_UNLEARN_REQUEST_H
#define LETHE_UNLEARN_REQUEST_H

#include "unlearn/certificate_facts.h"
#include "unlearn/manifest.h"

typedef struct Request {
    bool *forget; /* [manifest.count] */
    int64_t count;
    CertificateRequest kind;
    int64_t identities; /* different ones among the forgotten */
    bool drawn;         /* some by the seed */
} Request;

bool request_open(Request *r, const Manifest *m, char *const *spec, int n, uint64_t seed, Error *e);
void request_close(Request *r); /* a zeroed one is fine */

#endif
