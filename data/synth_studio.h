/* synth_studio: photographs a person. Everything that needs memory is made once, for one picture size, so
 * that a studio can shoot any number of pictures; one studio a thread. */
#ifndef LETHE_SYNTH_STUDIO_H
#define LETHE_SYNTH_STUDIO_H

#include "data/synth_hair.h"
#include "data/synth_head.h"
#include "data/synth_light.h"
#include "data/synth_skin.h"

typedef struct Studio {
    const Noise *noise; /* borrowed; shared by all studios */
    Canvas picture;     /* the last photograph, linear light, [size, size] */
    Canvas large;       /* the same before 2 x 2 means are taken */
    Canvas layer;       /* hair and beard, before they are laid over it */
    Plane veil, depth;
    Brush paint; /* on the face's painting */
    Brush back;  /* on picture, for the backdrop */
    Canvas skin;
    View camera;
    Light light;
    Sheet head, ear[2], neck, body, hair, hair_base, bun, beard_base, beard, wire;
} Studio;

bool studio_new(Studio *studio, int size, const Noise *noise, Error *e); /* size 32 .. 1024, even */
void studio_free(Studio *studio);
bool studio_shoot(Studio *studio, const Person *who, const Shot *shot, Error *e);

/* What is behind: fills the brush's canvas. */
bool backdrop_paint(const Shot *shot, const Noise *noise, Brush *brush, Error *e);

#endif
