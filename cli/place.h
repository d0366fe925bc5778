/* place: where a verb that reads models may write: what goes in stays as it is, and so does what is not its
 * own. Before any work. Rank 0 alone. */
#ifndef LETHE_CLI_PLACE_H
#define LETHE_CLI_PLACE_H

#include "cli/options.h"

#include "core/file.h"

/* Refuses an --out that is the run of this input (a run, a checkpoint, or a file of one) or lies inside it,
 * by where the paths really lead. An input that is not there is fine: who opens it says so. */
bool place_apart(const char *out, const char *input, Error *e);
bool place_apart_all(const char *out, const OptionList *inputs, Error *e);

/* Refuses an --out that is there and is no folder, or that holds anything but files of these names, the last
 * NULL, and what a kill leaves of them. */
bool place_ours(const char *out, const char *const *names, Error *e);

#endif
