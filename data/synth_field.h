/* synth_field: pictures with instances: shapes on a table, cells under a microscope. */
#ifndef LETHE_SYNTH_FIELD_H
#define LETHE_SYNTH_FIELD_H

#include "core/rng.h"
#include "data/draw.h"
#include "data/noise.h"

#define FIELD_MOST 400 /* instances a picture */

typedef struct Field {
    const Noise *noise;           /* borrowed */
    Canvas picture;               /* linear light, [size, size] */
    Brush sharp, soft;            /* two brushes on it: an outline, and the same out of focus */
    uint16_t *owner;              /* [size, size]; 0: background; k: instance k, its visible part */
    int instances;                /* 1 .. instances */
    int category[FIELD_MOST + 1]; /* of instance k, from 1 */
    int whole[FIELD_MOST + 1];    /* pixels of instance k before others covered it */
    int quality;                  /* JPEG */
} Field;

bool field_new(Field *field, int size, const Noise *noise, Error *e); /* size 32 .. 1024 */
void field_free(Field *field);
void field_clear(Field *field);

/* Gives the pixels that the sharp brush covers by half or more to a new instance, unless that would leave it,
 * or one below it, with less than `least` of its pixels, or fewer than 16: then nothing changes and it
 * returns false. Paint only after it returned true. */
bool field_claim(Field *field, int category, float least);

/* Draws picture `image` of the data set of this seed. */
bool shapes_paint(Field *field, uint64_t seed, uint64_t image, Error *e);
bool cells_paint(Field *field, uint64_t seed, uint64_t image, Error *e);

#define SHAPE_NAMES(X)                                                                                       \
    X(disc) X(square) X(triangle) X(star) X(ring) X(cross) X(heart) X(crescent) X(hexagon) X(leaf)

extern const char *const shape_names[]; /* category 1 first; SHAPE_COUNT of them */
#define SHAPE_COUNT 10

#endif
