/* folds: samples cut into parts for testing what was learnt on the rest, with every class in each part as
 * often as in the whole, as nearly as numbers allow. Drawn by RNG_UNLEARN. */
#ifndef LETHE_UNLEARN_FOLDS_H
#define LETHE_UNLEARN_FOLDS_H

#include "core/base.h"

/* label [n], 0 .. classes - 1 -> fold [n], 0 .. folds - 1. The sizes of the folds differ by one at most,
 * those of a class within them too. Needs 2 .. n folds and two samples of every class that occurs, so that no
 * class is missing from the rest of any fold. */
bool folds_deal(int32_t *fold, const int32_t *label, int64_t n, int classes, int folds, uint64_t seed,
                Error *e);

/* out [n] gets the numbers 0 .. n-1 in the order of draw `number`. */
void folds_shuffle(uint32_t *out, int64_t n, uint64_t seed, uint64_t number);

#endif
