/* synth_person: who is drawn, and one photograph of them. All of a Person is fixed by (seed, identity); all
 * of a Shot by (seed, image). What a face classifier must see through is in the Shot; what it must find, in
 * the Person. Lengths are head units: the head is about 2.1 high and 1.4 wide, its middle between the eyes is
 * the origin, x right, y up, z toward the viewer. Every length below is an absolute value, not a factor,
 * unless its name says so. */
#ifndef LETHE_SYNTH_PERSON_H
#define LETHE_SYNTH_PERSON_H

#include "core/rng.h"
#include "data/draw.h"

#define HAIR_STYLES(X)                                                                                       \
    X(BALD)                                                                                                  \
    X(BUZZ)                                                                                                  \
    X(CROP)                                                                                                  \
    X(PART)                                                                                                  \
    X(SLICK) X(QUIFF) X(FRINGE) X(CURLY) X(AFRO) X(BUN) X(BOB) X(LONG) X(SIDE) X(WAVY) X(CURLS) X(RECEDING)

typedef enum {
#define X(name) HAIR_##name,
    HAIR_STYLES(X)
#undef X
        HAIR_COUNT
} HairStyle;

typedef enum { BEARD_NONE, BEARD_STUBBLE, BEARD_MOUSTACHE, BEARD_GOATEE, BEARD_SHORT, BEARD_FULL } Beard;
typedef enum { GLASSES_NONE, GLASSES_ROUND, GLASSES_SQUARE, GLASSES_WIDE, GLASSES_CAT } Glasses;

typedef struct Person {
    float male, age; /* 0 .. 1: what the rest is drawn from; age 0 is about 18, 1 about 75 */
    /* skull and jaw: factors */
    float width, length, depth, jaw, chin_w, chin_l, cheek, forehead;
    float brow_ridge, socket, cheekbone, hollow;
    /* eyes */
    float eye_x, eye_y, eye_w, eye_h, eye_tilt, lid, bags;
    float brow_y, brow_h, brow_arch, brow_tilt, brow_w, brow_gap;
    Rgb iris, brow;
    /* nose, mouth, ears */
    float nose_w, nose_y, nose_out, nose_bridge, nose_hook, nose_tip;
    float mouth_w, mouth_y, lip_up, lip_low, lip_bow;
    float ear_h, ear_out;
    /* skin */
    Rgb skin, lip;
    float melanin, rosy, freckles, gloss;
    float mole_x[2], mole_y[2], mole_r[2]; /* mole_r 0: none */
    /* hair */
    HairStyle style;
    Rgb hair;
    float hairline, peak, volume, hair_length, hair_part, curl, hair_grey;
    Beard beard;
    Rgb beard_colour;
    Glasses glasses;
    Rgb frame;
    float frame_r;
    uint64_t texture; /* where this person's skin and strands start in the noise tile */
} Person;

typedef enum { WEAR_CREW, WEAR_VEE, WEAR_SHIRT, WEAR_TURTLE, WEAR_HOOD, WEAR_COUNT } Wear;
typedef enum { CLOTH_PLAIN, CLOTH_STRIPES, CLOTH_CHECKS, CLOTH_HEATHER, CLOTH_COUNT } Cloth;
typedef enum { BACK_PLAIN, BACK_BOKEH, BACK_ROOM, BACK_LEAVES, BACK_SKY, BACK_COUNT } Backdrop;

typedef struct Shot {
    float yaw, pitch, roll;       /* radians; yaw + to the viewer's right, pitch + up */
    float zoom, shift_x, shift_y; /* factor; fractions of the picture */
    float smile, open, brow_raise, squint, gaze_x, gaze_y; /* 0 .. 1, gaze -1 .. 1 */
    float key_x, key_y;          /* direction of the main light: radians right and up of the camera */
    Rgb key, sky, ground;        /* light colours */
    float soft;                  /* shadow blur, texels of the lamp's view */
    float exposure, blur, grain; /* stops; pixels; standard deviation of noise at mid grey */
    Rgb white;                   /* colour cast of the camera */
    int quality;                 /* JPEG */
    Wear wear;
    Cloth cloth;
    Rgb cloth_a, cloth_b;
    float cloth_scale;
    Backdrop backdrop;
    Rgb back_a, back_b, back_c;
    float back_blur; /* fraction of the picture */
    uint32_t texture;
} Shot;

/* Where things are for this person in this shot, before the head is turned. Left and right are the viewer's;
 * index 0 is the left one (x < 0). Shared by the head's shape and the skin's paint. */
typedef struct Face {
    const Person *who;
    const Shot *shot;
    float eye_up, eye_low;          /* half heights of the eye's opening now */
    float mouth_w, lip_up, lip_low; /* with the smile in them */
    float corner;                   /* how far the mouth's corners rise above its middle */
    float gap;                      /* opening between the lips in the middle */
    float chin_drop;
} Face;

Person person_draw(uint64_t seed, uint32_t identity);
Shot shot_draw(uint64_t seed, uint64_t image);
Face face_of(const Person *who, const Shot *shot);

float face_lip_line(const Face *face, float x); /* y of the upper lip's lower edge at x */
const char *hair_style_name(HairStyle style);

#endif
