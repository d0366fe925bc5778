/* manifest: the samples that a model was trained on, a line each, as a checkpoint holds them:
 * {"id":3,"path":"...","sha256":"...","identity":"s01"}. It comes from outside: every line is checked. */
#ifndef LETHE_UNLEARN_MANIFEST_H
#define LETHE_UNLEARN_MANIFEST_H

#include "core/base.h"

typedef struct ManifestLine {
    int64_t id;
    const char *text;     /* the line itself, without its end */
    const char *path;     /* of the file, as the training named it; FILE#ID for one of an IDX file */
    const char *sha256;   /* NULL: the file could not be read when the run began */
    const char *identity; /* NULL: nobody known */
} ManifestLine;

typedef struct Manifest {
    char *name; /* its path: for messages */
    int64_t count;
    ManifestLine *line; /* [count], in the file's order */
    char *text, *words; /* behind the above */
} Manifest;

/* An error names file, line and what is wrong; the same id or path twice is one. */
bool manifest_open(Manifest **out, const char *path, Error *e);
void manifest_close(Manifest *m); /* NULL is fine */

/* The contents of a manifest's files, to look others up in: borrowed, sorted; mem_free(list). */
typedef struct ManifestHashes {
    const char **list;
    int64_t count;
} ManifestHashes;
/* `only` [count]: of these lines; NULL: of all. */
bool manifest_hashes(ManifestHashes *out, const Manifest *m, const bool *only, Error *e);
bool manifest_hashes_have(const ManifestHashes *h, const char *sha256); /* NULL: false */

#endif
