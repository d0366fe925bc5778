/* walk: the image files below a folder. */
#ifndef LETHE_WALK_H
#define LETHE_WALK_H

#include "core/base.h"

typedef struct Walk {
    char **path;           /* sorted: numbers in names by value, then bytes */
    int64_t count, others; /* others: files that are no images by name */
    size_t capacity;
} Walk;

/* All of them, at any depth; links are followed, but not in circles. Hidden names are passed over. */
bool walk_open(Walk *w, const char *folder, Error *e);
void walk_close(Walk *w);

/* Does the name end in .jpg, .jpeg or .png, in any case? */
bool walk_is_image(const char *name);
bool walk_is_png(const char *name);

/* Order of two names: "a2" < "a10" < "b"; equal numbers with other zeros ("01", "1") by bytes. */
int walk_compare(const char *a, const char *b);

#endif
