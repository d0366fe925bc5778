/* base: the words every other file uses. Errors the outside world can cause, errors only a programmer
 * can cause, memory that is counted, and the order of texts.
 *
 * Errors. What the outside can cause (a file, a recipe, an image, a size) is returned: the function gives
 * false and fills `Error *e` with one line that names the file, the field or offset, and what to do.
 * What only a programmer can cause (a shape mismatch inside a model) calls die() and ends the program. */
#ifndef LETHE_BASE_H
#define LETHE_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ERROR_CODES(X)                                                                                       \
    X(ERROR_NONE, "no error")                                                                                \
    X(ERROR_IO, "input/output")                                                                              \
    X(ERROR_FORMAT, "malformed file")                                                                        \
    X(ERROR_VALUE, "bad value")                                                                              \
    X(ERROR_LIMIT, "over a limit")                                                                           \
    X(ERROR_MEMORY, "out of memory")                                                                         \
    X(ERROR_NUMERIC, "not finite")                                                                           \
    X(ERROR_STATE, "not possible now")

typedef enum {
#define X(name, text) name,
    ERROR_CODES(X)
#undef X
} ErrorCode;

typedef struct Error {
    ErrorCode code;
    char text[1000]; /* one line, no newline, NUL-terminated */
    bool agreed;     /* every rank has it (core/comm.h) */
} Error;

#define LETHE_VERSION "0.1.0"

/* For headers that CUDA C++ includes too. */
#ifdef __cplusplus
#define C_BEGIN  extern "C" {
#define C_END    }
#define NORETURN [[noreturn]]
#else
#define C_BEGIN
#define C_END
#define NORETURN _Noreturn
#endif

#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define COUNT(array)      ((int)(sizeof(array) / sizeof((array)[0])))

C_BEGIN

/* Fills *e and returns false, so that a failing function ends in `return error_set(e, ...)`. */
bool error_set(Error *e, ErrorCode code, const char *format, ...) PRINTF_LIKE(3, 4);

/* Puts "prefix: " before the text already in *e; returns false. For callers who know the file's name. */
bool error_prefix(Error *e, const char *format, ...) PRINTF_LIKE(2, 3);

/* What no caller can be told of, though it is no mistake of ours (step memory is out): prints the line to
 * stderr and ends the program with status 1. Checkpoints are whole or absent all the same. */
NORETURN void give_up(const char *format, ...) PRINTF_LIKE(1, 2);

/* What give_up and die do last, instead of ending this process alone; NULL: nothing. Set by core/comm.c, so
 * that the other ranks end too. */
extern void (*error_last_words)(void);
extern char error_who[120]; /* put before their lines: "rank 2 on host: "; "" where there is one process */

/* A programmer's mistake: prints the line to stderr and aborts. */
NORETURN void die(const char *format, ...) PRINTF_LIKE(1, 2);

/* Memory of the host that outlives a step. All of Lethe's own heap memory passes here, so that tests can
 * count it and make the n-th request fail. Sizes are in bytes; NULL is returned only when memory is out. */
void *mem_get(size_t size);                /* contents undefined; 64-byte aligned */
void *mem_zero(size_t count, size_t size); /* zeroed; refuses an overflowing product by returning NULL */
void *mem_resize(void *p, size_t size);    /* p may be NULL; keeps the contents */
void mem_free(void *p);                    /* p may be NULL */
char *mem_string(const char *text);        /* a copy */

typedef struct MemStat {
    uint64_t calls; /* requests since start, resizes included */
    uint64_t live;  /* blocks not yet freed */
    uint64_t most;  /* bytes of the largest request since start, or since mem_stat_most */
} MemStat;
MemStat mem_stat(void);
void mem_stat_most(void);       /* tests: from now on the largest request is looked for anew */
void mem_fail_after(int64_t n); /* tests: the n-th request from now on returns NULL; negative: never */

/* Fills *e for an allocation of `size` bytes that failed; returns false. */
bool error_memory(Error *e, size_t size);

/* Of two elements of an array of texts, as strcmp: for qsort and bsearch. */
int text_order(const void *a, const void *b);

C_END

#endif
