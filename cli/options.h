/* options: --name value, --name=value and flags, the same way for every verb. */
#ifndef LETHE_CLI_OPTIONS_H
#define LETHE_CLI_OPTIONS_H

#include "core/base.h"

enum { OPTION_MOST = 4096 };

typedef struct OptionList {
    char *item[OPTION_MOST]; /* borrowed from argv */
    int count;
} OptionList;

typedef enum {
    OPTION_FLAG, /* bool */
    OPTION_INT,  /* int64_t */
    OPTION_REAL, /* double, finite */
    OPTION_TEXT, /* const char *: borrowed from argv */
    OPTION_LIST, /* OptionList: may be given again and again */
} OptionKind;

typedef struct Option {
    const char *name; /* without the dashes; NULL ends the list */
    OptionKind kind;
    void *to;
} Option;

/* Adds a word, which is borrowed. */
bool options_put(OptionList *list, char *word, Error *e);

/* Reads argv[1..]; what is no option goes to `rest`. Prints `usage` on --help. Returns 0 after help, 1 on an
 * error (in *e), -1 to go on. */
int options_read(int argc, char **argv, const char *usage, const Option *list, OptionList *rest, Error *e);

#endif
