/* synth: data sets drawn by our own renderer, so that every job can be tried without a download.
 *
 *   faces   people with stable identities: DIR/train/person_0007/0001.jpg, DIR/test/person_0007/0005.jpg
 *   shapes  things of ten kinds on a table: DIR/train.json, DIR/train/000001.jpg, and the same for test
 *   cells   nuclei under a microscope, laid out like shapes; COCO JSON with run-length masks of visible parts
 *
 * Picture i of a set depends on (seed, i) alone, and on the number of identities; not on how many pictures
 * are drawn, nor on threads. Every fifth picture (of an identity, for faces) is for testing. */
#ifndef LETHE_SYNTH_H
#define LETHE_SYNTH_H

#include "core/base.h"

typedef enum { SYNTH_FACES, SYNTH_SHAPES, SYNTH_CELLS } SynthKind;

typedef struct SynthPlan {
    SynthKind kind;
    const char *out;    /* folder; made if absent */
    int64_t count;      /* pictures, at least 5; for faces at least 5 an identity */
    int64_t identities; /* faces only: 1 .. 10000; picture i is of identity i modulo this */
    uint64_t seed;
    int64_t size; /* pixels, width and height; even, 32 .. 1024 */
    bool force;   /* replace a set that was drawn with other settings */
} SynthPlan;

typedef struct SynthTally {
    int64_t train, test; /* pictures */
    int64_t instances;   /* objects in both; faces: 0 */
} SynthTally;

/* Draws the set. A folder with anything in it is refused, unless it holds a set drawn from the same plan
 * (then the same bytes are written again) or `force` is given; files that synth did not make are never
 * removed. */
bool synth_run(const SynthPlan *plan, SynthTally *tally, Error *e);

const char *synth_kind_name(SynthKind kind);           /* "faces" ... */
bool synth_kind_of(const char *name, SynthKind *kind); /* false: no such kind */
int64_t synth_kind_size(SynthKind kind);               /* the usual size of its pictures */

#endif
