#include "core/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool error_set(Error *e, ErrorCode code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    e->code = code;
    e->agreed = false;
    vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    return false;
}

bool error_prefix(Error *e, const char *format, ...) {
    char rest[sizeof e->text], prefix[sizeof e->text];
    va_list args;
    va_start(args, format);
    memcpy(rest, e->text, sizeof rest);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    e->text[0] = '\0'; /* what has no room at the end is cut */
    const char *const part[] = {prefix, ": ", rest};
    for (int i = 0; i < COUNT(part); i++) strncat(e->text, part[i], sizeof e->text - 1 - strlen(e->text));
    return false;
}

bool error_memory(Error *e, size_t size) {
    return error_set(e, ERROR_MEMORY, "out of memory: %zu bytes were wanted", size);
}

void (*error_last_words)(void);
char error_who[120];

void give_up(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "\nlethe: %s", error_who); /* perhaps below a progress bar */
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    if (error_last_words) error_last_words();
    _exit(1);
}

void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "lethe: %sinternal error: ", error_who);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    if (error_last_words) error_last_words();
    abort();
}
