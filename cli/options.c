#include "cli/options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool options_put(OptionList *list, char *item, Error *e) {
    if (list->count == OPTION_MOST) return error_set(e, ERROR_LIMIT, "more than %d arguments", OPTION_MOST);
    list->item[list->count++] = item;
    return true;
}

static bool value_put(const Option *o, char *value, Error *e) {
    char *end;
    switch (o->kind) {
    case OPTION_FLAG:
        *(bool *)o->to = true;
        return true;
    case OPTION_TEXT:
        *(const char **)o->to = value;
        return true;
    case OPTION_LIST:
        return options_put(o->to, value, e);
    case OPTION_INT:
        errno = 0;
        *(int64_t *)o->to = strtoll(value, &end, 10);
        if (errno || end == value || *end)
            return error_set(e, ERROR_VALUE, "--%s takes a whole number, not \"%s\"", o->name, value);
        return true;
    case OPTION_REAL:
        *(double *)o->to = strtod(value, &end);
        if (end == value || *end || !isfinite(*(double *)o->to))
            return error_set(e, ERROR_VALUE, "--%s takes a number, not \"%s\"", o->name, value);
        return true;
    }
    return false;
}

int options_read(int argc, char **argv, const char *usage, const Option *list, OptionList *rest, Error *e) {
    for (int i = 1; i < argc; i++) {
        char *word = argv[i];
        if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
            fputs(usage, stdout);
            return 0;
        }
        if (!strcmp(word, "--")) {
            while (++i < argc)
                if (!options_put(rest, argv[i], e)) return 1;
            break;
        }
        if (word[0] == '-' && word[1] && word[1] != '-') {
            error_set(e, ERROR_VALUE, "unknown option \"%s\"; options have two dashes: see lethe %s --help",
                      word, argv[0]);
            return 1;
        }
        if (strncmp(word, "--", 2)) {
            if (!options_put(rest, word, e)) return 1;
            continue;
        }
        const char *name = word + 2;
        size_t length = strcspn(name, "=");
        const Option *o = list;
        while (o->name && (strlen(o->name) != length || strncmp(o->name, name, length))) o++;
        if (!o->name) {
            error_set(e, ERROR_VALUE, "unknown option \"%.*s\"; see lethe %s --help", (int)length + 2, word,
                      argv[0]);
            return 1;
        }
        char *value = name[length] == '=' ? word + 2 + length + 1 : NULL;
        if (o->kind == OPTION_FLAG && value) {
            error_set(e, ERROR_VALUE, "--%s takes no value", o->name);
            return 1;
        }
        if (o->kind != OPTION_FLAG && !value && !(value = ++i < argc ? argv[i] : NULL)) {
            error_set(e, ERROR_VALUE, "--%s needs a value", o->name);
            return 1;
        }
        if (!value_put(o, value, e)) return 1;
    }
    return -1;
}
