/* synth_wear: glasses, beards that stand out from the face, cloth patterns. */
#ifndef LETHE_SYNTH_WEAR_H
#define LETHE_SYNTH_WEAR_H

#include "data/noise.h"
#include "data/synth_hair.h"

#define WIRE_ROWS    48
#define WIRE_COLS    6
#define BEARD_ROWS   36
#define BEARD_COLS   36
#define BEARD_SHELLS 3

/* Part `part` of the glasses as a tube: 0, 1 rims; 2 bridge; 3, 4 temples. The sheet keeps its size. */
#define GLASSES_PARTS 5
void glasses_part(const Face *face, int part, Sheet *wire);
void glasses_lens(const Face *face, int side, Sheet *lens); /* a disc, rows from the rim to the middle */

/* The lower face pushed out by the length of the beard; a: how deep inside it, u and v: strands. */
float beard_length(const Person *who); /* 0: nothing that stands out */
HairLook beard_look(const Noise *noise);
void beard_shell(const Face *face, float level, Sheet *beard);

Rgb cloth_colour(const Shot *shot, const Noise *noise, float u, float y);

#endif
