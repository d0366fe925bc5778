/* names: what files made from images are called, and that none of them takes the place of an input. */
#ifndef LETHE_CLI_NAMES_H
#define LETHE_CLI_NAMES_H

#include "core/file.h"

enum { NAMES_SIZE = 300 };

/* (*out)[i]: the name of image i without folder and ending; of several with one name the later are numbered.
 * mem_free(*out). */
bool names_make(char (**out)[NAMES_SIZE], char *const *path, int64_t count, Error *e);

/* The files that must stay. */
typedef struct NamesGuard {
    FileId *id; /* [count], sorted */
    int64_t count;
} NamesGuard;

bool names_guard_open(NamesGuard *g, char *const *path, int64_t count, Error *e);
bool names_guard_add(NamesGuard *g, const char *path, Error *e); /* NULL: nothing */
void names_guard_close(NamesGuard *g);

/* "FOLDER/NAME" and a suffix like "_mask.png" into `path`; an error if that file is one of the guarded. */
bool names_path(const NamesGuard *g, char path[FILE_PATH], const char *folder, const char *name,
                const char *suffix, Error *e);

#endif
