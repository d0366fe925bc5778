/* synth_skin: what is painted on the face, seen from the front: colour of the skin, lips, eyes, brows,
 * stubble. The painting is then wrapped onto the head by its vertices' u, v. */
#ifndef LETHE_SYNTH_SKIN_H
#define LETHE_SYNTH_SKIN_H

#include "data/noise.h"
#include "data/synth_person.h"

#define SKIN_TOP  1.15f /* y of the painting's upper edge; its lower edge is at -SKIN_TOP */
#define SKIN_SIDE 0.92f /* x of its right edge */

void skin_paint(const Face *face, const Noise *noise, Brush *brush); /* brush: on a canvas 8 : 10 */
Rgb skin_at(const Canvas *painting, float x, float y);

/* Where hair grows on the face, 0 .. 1, for a beard of this kind. */
float beard_cover(const Face *face, Beard kind, float x, float y);

#endif
