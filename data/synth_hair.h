/* synth_hair: hair as a few transparent shells around the skull, finest outside. */
#ifndef LETHE_SYNTH_HAIR_H
#define LETHE_SYNTH_HAIR_H

#include "data/noise.h"
#include "data/synth_head.h"

#define HAIR_SHELLS 3

/* The shells' common ground: where the innermost layer lies, which way strands run, and how far out the
 * outermost one is. at, normal: on the scalp; flow; u: across strands, v: along them, in strand units;
 * a: how deep inside the hair's outline, head units, negative outside; b: thickness. */
void hair_base(const Face *face, const Noise *noise, Sheet *base);
/* Shell `level` in (0, 1]: base pushed out by level times the thickness. */
void hair_shell(const Sheet *base, float level, Sheet *shell);
bool hair_hides_ears(const Person *who);
bool hair_bun(const Face *face, Sheet *bun); /* false: this person wears none */

typedef struct HairLook {
    const Noise *noise;
    float fray;    /* how ragged the outline is, head units */
    float fine;    /* strands across the head */
    float stretch; /* how long a strand's pattern is, against its width */
    float thin;    /* share of gaps in the outermost shell */
    float shine;
} HairLook;
HairLook hair_look(const Person *who, const Noise *noise);

/* Opacity of a strand pattern at (u, v) for a shell; *tone gets its brightness, around 1. */
float hair_strand(const HairLook *look, float u, float v, float inside, float level, float *tone);

#endif
