/* solid: sheets of quads in space, seen through a camera or from a lamp, with a depth buffer.
 *
 * Space is right-handed: x right, y up, z toward the viewer. A sheet is a grid of vertices; a view turns it
 * into pixels and calls a shader for each one that is nearest so far. Shading may be partly transparent:
 * then whoever draws must draw from far to near; or, with a veil, from near to far, which is quicker: what a
 * nearer layer hides is never shaded. */
#ifndef LETHE_SOLID_H
#define LETHE_SOLID_H

#include "data/draw.h"

#include <math.h>

typedef struct Vec {
    float x, y, z;
} Vec;

typedef struct Vertex {
    Vec at, normal, flow; /* flow: direction of hair or thread, any length */
    float u, v, a, b;     /* what the shader wants carried across the sheet */
} Vertex;

typedef struct Sheet {
    int rows, cols;
    bool wrap;   /* the last column joins the first */
    float floor; /* a quad whose corners all have a below this is not there; made as -1e9 */
    Vertex *v;   /* [rows, cols] */
} Sheet;

typedef struct Turn {
    Vec x, y, z, pivot, shift; /* p -> pivot + shift + (p - pivot) in the axes x, y, z */
} Turn;

typedef struct View {
    int w, h;
    float *depth; /* [h, w], larger is nearer; -1e9 where nothing is */
    Rgb *colour;  /* [h, w]; NULL: depth only, as a lamp sees */
    float *veil;  /* [h, w] or NULL: what still shines through, see view_unveil */
    Vec right, up, toward;
    float scale, cx, cy; /* pixels a unit at z = 0, and the pixel of the origin */
    float distance;      /* of the eye from the origin; 0: parallel rays */
} View;

/* Gives the colour in *out and returns the opacity. `back`: the sheet's inner side is seen. In a view of
 * depth only `out` is not used, and the vertex holds only at, u, v, a, b. */
typedef float (*Shade)(const void *what, const Vertex *at, bool back, Rgb *out);

bool sheet_new(Sheet *sheet, int rows, int cols, bool wrap, Error *e);
void sheet_free(Sheet *sheet);
void sheet_normals(Sheet *sheet);                /* rows x cols crosswise, unit; col cross row points out */
void sheet_turn(Sheet *sheet, const Turn *turn); /* positions, normals, flows */
Turn turn_of(float yaw, float pitch, float roll, Vec pivot, Vec shift); /* radians; yaw +: to the right */

void view_clear(View *view);
typedef enum { SIDE_BOTH, SIDE_FRONT, SIDE_BACK } Side;
/* stride 2: every other row and column, which must be there: rows odd, columns even (odd if not wrapped). */
void view_draw(View *view, const Sheet *sheet, int stride, Side side, Shade shade, const void *what);
/* Veiled drawing: view_veil clears colour and veil; sheets are drawn from near to far, leaving the depth as
 * it was; view_unveil puts `behind`, [h, w], under the result, which it becomes. */
void view_veil(View *view);
void view_unveil(View *view, Rgb *behind);
Vec view_project(const View *view, Vec p); /* pixel x, pixel y, depth */

static inline Vec vec_plus(Vec a, Vec b) {
    return (Vec){a.x + b.x, a.y + b.y, a.z + b.z};
}

static inline Vec vec_minus(Vec a, Vec b) {
    return (Vec){a.x - b.x, a.y - b.y, a.z - b.z};
}

static inline Vec vec_scale(Vec a, float s) {
    return (Vec){a.x * s, a.y * s, a.z * s};
}

static inline float vec_dot(Vec a, Vec b) {
    return a.x * b.x + a.y * b.y + a.z * b.z;
}

static inline Vec vec_cross(Vec a, Vec b) {
    return (Vec){a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

static inline Vec vec_unit(Vec a) {
    return vec_scale(a, 1.0f / sqrtf(maxf(vec_dot(a, a), 1e-20f)));
}

#endif
