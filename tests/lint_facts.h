/* lint_facts: what clang-tidy cannot see, since it reads one file at a time: these end every failing function
 * and are always false; ranks agree on nothing that one of them lacks; memory comes and goes as from calloc
 * and free; a failed assertion ends its test. Included before each linted file but those that define them. */
#ifndef LETHE_TESTS_LINT_FACTS_H
#define LETHE_TESTS_LINT_FACTS_H

#include "core/base.h"
#include "core/comm.h"
#include "core/file.h"
#include "core/json.h"

#define error_set(...)    (error_set(__VA_ARGS__), false)
#define error_prefix(...) (error_prefix(__VA_ARGS__), false)
#define error_memory(...) (error_memory(__VA_ARGS__), false)
#define json_error(...)   (json_error(__VA_ARGS__), false)
#define file_error(...)   (file_error(__VA_ARGS__), false)

#define comm_agree(fine, e) ((fine) && comm_agree(true, e))

void _fail(const char *file, int line) __attribute__((analyzer_noreturn));
#define mem_zero(count, size) calloc(count, size)

#endif
