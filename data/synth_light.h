/* synth_light: one lamp with a shadow, a sky above and a ground below; how skin, hair, cloth and plastic take
 * their light. All colours linear. */
#ifndef LETHE_SYNTH_LIGHT_H
#define LETHE_SYNTH_LIGHT_H

#include "data/solid.h"

typedef struct Light {
    Vec to_key, to_eye, half; /* unit; the eye is far enough for one direction; half: between the two */
    Rgb key, sky, ground;
    View lamp;  /* depth as the lamp sees it */
    float soft; /* half width of the shadow's edge, in its pixels */
} Light;

/* Makes room for the lamp's view, side x side pixels, and aims it. */
bool light_new(Light *light, int side, Error *e);
void light_free(Light *light);
void light_aim(Light *light, Vec to_key, Vec middle, float radius);

float light_reach(const Light *light, Vec at, Vec normal); /* 0 in shadow .. 1 lit */
Rgb light_ambient(const Light *light, Vec normal);

/* Skin: the boundary of light and dark is soft and red, as light bleeds through flesh. */
Rgb light_skin(const Light *light, Vec at, Vec normal, Rgb albedo, float gloss, float open);
Rgb light_cloth(const Light *light, Vec at, Vec normal, Rgb albedo);
Rgb light_plastic(const Light *light, Vec at, Vec normal, Rgb albedo, float shine);
/* Hair: two highlights across the strands (Kajiya and Kay 1989; Marschner et al. 2003), shifted by `shift`.
 * reach: from light_reach; it is smooth enough on hair to be carried across a sheet. */
Rgb light_hair(const Light *light, Vec normal, Vec flow, Rgb albedo, float shift, float shine, float reach);

#endif
