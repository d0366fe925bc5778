/* quantise: weights as an integer format would keep them. An audit does this to an unlearned model and
 * measures it again: small changes that unlearning made can round away, and what was forgotten comes back
 * (Zhang et al. 2025, "Catastrophic failure of LLM unlearning via quantization"). */
#ifndef LETHE_UNLEARN_QUANTISE_H
#define LETHE_UNLEARN_QUANTISE_H

#include "core/base.h"

/* w [rows, columns] in place, row (output) by row: with top = 2^(bits - 1) - 1 (127 for 8 bits, 7 for 4) and
 * scale = max |w| / top, each w becomes scale * round(w / scale), halves to even. No zero point, and -top - 1
 * is not used. A row of zeros stays. bits 2 .. 8; a weight that is not finite is an error, and then nothing
 * has changed. Doing it twice changes nothing but the last bit. `error` (may be NULL) gets the root mean
 * square of what changed. */
bool quantise_rows(float *w, int64_t rows, int64_t columns, int bits, double *error, Error *e);

#endif
