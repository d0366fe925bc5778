/* nearest: which known word did the user mean? */
#ifndef LETHE_NEAREST_H
#define LETHE_NEAREST_H

#include "core/base.h"

/* Optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours. Words of
 * more than 200 bytes are taken as far from everything: INT_MAX / 2. */
int nearest_distance(const char *a, const char *b);

/* Up to this distance a suggestion for `word` helps; beyond, it only puzzles. */
int nearest_limit(const char *word);

#endif
