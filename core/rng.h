/* rng: random numbers by counter (Philox 4x32-10; Salmon et al. 2011, section 3.3), keyed by what they are
 * for: seed, purpose, epoch (or step), sample. The same four give the same stream on any machine, with any
 * number of threads, workers or ranks, and nothing is stored between steps but those four. */
#ifndef LETHE_RNG_H
#define LETHE_RNG_H

#include "core/base.h"

typedef enum {               /* values are part of every checkpoint's meaning: append only */
               RNG_INIT = 0, /* epoch 0, sample = rng_hash(parameter name) */
               RNG_SHUFFLE,  /* the order of the samples of an epoch; sample 0 */
               RNG_AUGMENT,  /* crop, flip, colour, erasing of a sample */
               RNG_MASK,     /* which patches of a sample are hidden */
               RNG_MIX,      /* mixup and cutmix; sample = first sample id of the batch */
               RNG_DROP,     /* dropout and drop path; use rng_sub for the layer */
               RNG_SYNTH,    /* drawn data sets; sample = image index */
               RNG_SYNTH_ID, /* drawn identities; sample = identity */
               RNG_EVAL,     /* fixed masks and crops of evaluation */
               RNG_TEST,     /* tests and probes */
               RNG_UNLEARN,  /* relabelling, forget batches */
               RNG_PROMPT,   /* points, boxes and masks that training prompts a segmenter with */
} RngPurpose;

typedef struct Rng {
    uint32_t key[2], counter[4], out[4];
    int left; /* unread words in out */
} Rng;

C_BEGIN

/* One Philox block: four words from a counter and a key. */
void rng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

Rng rng_open(uint64_t seed, RngPurpose purpose, uint32_t epoch, uint64_t sample);
Rng rng_sub(Rng parent, uint32_t n); /* an independent stream for part n of the same purpose; n < 2^24 */

uint32_t rng_u32(Rng *r);
double rng_uniform(Rng *r);                         /* [0, 1), 53 random bits; two words */
float rng_uniformf(Rng *r);                         /* [0, 1), 24 random bits; one word */
double rng_range(Rng *r, double lo, double hi);     /* lo + (hi - lo) * rng_uniform */
double rng_normal(Rng *r);                          /* N(0, 1), Box-Muller, one value from two uniforms */
double rng_beta(Rng *r, double a, double b);        /* Beta(a, b) from two gammas (Marsaglia, Tsang 2000) */
uint64_t rng_below(Rng *r, uint64_t n);             /* 0 .. n-1, unbiased; n > 0 */
void rng_shuffle(Rng *r, uint32_t *list, size_t n); /* Fisher-Yates, in place */
uint64_t rng_hash(const char *text);                /* FNV-1a, 64 bits */

C_END

#endif
