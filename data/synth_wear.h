/* synth_wear: glasses, beards that stand out from the face, cloth patterns. */
#ifndef LETHE_SYNTH_WEAR_H
#define LETHE_SYNTH_WEAR_H

#include "data/noise.h"
#include "data/synth_hair.h"

#define BEARD_SHELLS 3

/* Part `part` of the glasses as a tube: 0, 1 rims; 2 bridge; 3, 4 temples. The sheet keeps its size. */
#define GLASSES_PARTS 5
void glasses_part(const Face *face, int part, Sheet *wire);
void glasses_lens(const Face *face, int side, Sheet *lens); /* a disc, rows from the rim to the middle */

/* The lower face, ready to be pushed out by the length of the beard; a: how deep inside it, u and v: strands,
 * b: length here. Then shells of it, as for hair. */
float beard_length(const Person *who); /* 0: nothing that stands out */
void beard_base(const Face *face, Sheet *base);
void beard_shell(const Sheet *base, float level, Sheet *shell);
HairLook beard_look(const Noise *noise);

Rgb cloth_colour(const Shot *shot, const Noise *noise, float u, float y);

#endif
