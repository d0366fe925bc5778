/* synth_head: the shape of a person as sheets of vertices (see solid.h), before the head is turned.
 * Rows of the head run from crown to chin, columns around it from the back over the person's right. */
#ifndef LETHE_SYNTH_HEAD_H
#define LETHE_SYNTH_HEAD_H

#include "data/solid.h"
#include "data/synth_person.h"

#define HEAD_MOST 128   /* columns of a sheet around the head */
#define RING_LAST 16.0f /* head_ring's t runs from 0, the crown, to this, the chin */

typedef struct Ring {
    float y, w, zm, zf, zb; /* height; half width; z of the widest, foremost and hindmost point */
} Ring;

Ring head_ring(const Face *face, float t);
float head_ring_at(const Face *face, float y); /* t of the ring at height y, clamped */
/* A meridian of the head. Its powers are taken once, not for each ring. */
typedef struct Meridian {
    float phi, c; /* 0: front, growing toward +x; its cosine */
    float x, z;   /* shares of the ring's half width and half depth */
} Meridian;

Meridian head_meridian(float phi);
void head_columns(Meridian *m, int cols); /* all of cols: denser in front */
Vec ring_point(const Ring *ring, const Meridian *m);
float face_relief(const Face *face, float x, float y); /* how far the face stands out of its rings, along z */

/* Fill sheets of any number of rows and columns. u, v: frontal x, y for the skin's paint; a: 1 on the face
 * and 0 behind it. Body: u = x, v = y, a: 1 in front, -1 behind. */
void head_shape(const Face *face, Sheet *head);
void ear_shape(const Face *face, Sheet *ear, float side); /* side -1 or 1; a = depth of the shell, 0 .. 1 */
void neck_shape(const Face *face, Sheet *neck);
void body_shape(const Face *face, Sheet *body);
float body_neckline(const Face *face, float x); /* y above which the chest is bare */

#endif
