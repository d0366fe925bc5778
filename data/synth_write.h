/* synth_write: the folder of a drawn set, and pictures into it. For the synth files only. */
#ifndef LETHE_SYNTH_WRITE_H
#define LETHE_SYNTH_WRITE_H

#include "data/draw.h"
#include "data/noise.h"
#include "data/synth.h"

enum { SYNTH_TEST_EVERY = 5 }; /* pictures 4, 9, 14 ... are for testing */

/* Makes plan->out ready and leaves its settings there in synth.json. */
bool synth_folder_open(const SynthPlan *plan, Error *e);

/* The first error that any thread met. */
typedef struct SynthTrouble {
    bool met;
    Error first;
} SynthTrouble;
void synth_trouble(SynthTrouble *trouble, const Error *e); /* safe from any thread */
bool synth_troubled(const SynthTrouble *trouble);

bool synth_picture(const Canvas *picture, int quality, const char *path, Error *e);

bool synth_faces(const SynthPlan *plan, const Noise *noise, SynthTally *tally, Error *e);
bool synth_fields(const SynthPlan *plan, const Noise *noise, SynthTally *tally, Error *e);

#endif
