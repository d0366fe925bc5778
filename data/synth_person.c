#include "data/synth_person.h"

#include <math.h>

static float range(Rng *r, float lo, float hi) {
    return lo + (hi - lo) * rng_uniformf(r);
}

/* A bell curve around the middle of the range, cut at its ends: most people are near the mean. */
static float bell(Rng *r, float lo, float hi) {
    float sum = rng_uniformf(r) + rng_uniformf(r) + rng_uniformf(r);
    return lo + (hi - lo) * clampf(0.5f + (sum - 1.5f) * 0.62f, 0.0f, 1.0f);
}

static bool chance(Rng *r, float p) {
    return rng_uniformf(r) < p;
}

static Rgb ramp(const uint32_t *stops, int n, float t) {
    float x = clampf(t, 0.0f, 1.0f) * (float)(n - 1);
    int i = x >= (float)(n - 1) ? n - 2 : (int)x;
    return rgb_mix(rgb_hex(stops[i]), rgb_hex(stops[i + 1]), x - (float)i);
}

/* ------------------------------------------------------------------ the person */

static void draw_skin(Person *p, Rng *r) {
    static const uint32_t tones[] = {0xf2cfba, 0xe9bb9b, 0xd9a27a, 0xc0875d,
                                     0x9c663f, 0x75472b, 0x55321f, 0x43281d};
    p->melanin = rng_uniformf(r);
    Rgb skin = ramp(tones, COUNT(tones), p->melanin);
    float warm = range(r, -1.0f, 1.0f); /* olive to rosy */
    p->skin = rgb_times(skin, (Rgb){1.0f + 0.04f * warm, 1.0f - 0.03f * warm, 1.0f - 0.06f * warm});
    p->rosy = range(r, 0.3f, 1.0f) * (1.0f - 0.45f * p->melanin);
    Rgb lip = rgb_times(p->skin, (Rgb){0.84f, 0.46f, 0.48f});
    p->lip = rgb_mix(lip, rgb_mix(rgb_hex(0xb0564f), rgb_hex(0x4d2a26), p->melanin), range(r, 0.15f, 0.5f));
    /* lipstick, deeper on darker skin */
    float paint = p->male < 0.5f && chance(r, 0.5f) ? range(r, 0.2f, 0.6f) : 0.0f;
    Rgb stick = rgb_mix(rgb_hex(chance(r, 0.6f) ? 0xa8323f : 0x92405a), rgb_hex(0x451a22),
                        smoothf(0.3f, 0.8f, p->melanin));
    p->lip = rgb_mix(p->lip, stick, paint);
    p->freckles = p->melanin < 0.45f && chance(r, 0.3f) ? range(r, 0.4f, 1.0f) : 0.0f;
    p->gloss = range(r, 0.6f, 1.4f);
    for (int i = 0; i < 2; i++) {
        p->mole_x[i] = range(r, -0.5f, 0.5f), p->mole_y[i] = range(r, -0.8f, 0.5f);
        bool clear = fabsf(p->mole_x[i]) > 0.3f || p->mole_y[i] > 0.3f;
        p->mole_r[i] = chance(r, 0.25f) && clear ? range(r, 0.016f, 0.03f) : 0.0f;
    }
}

static void draw_colours(Person *p, Rng *r) {
    static const uint32_t dark[] = {0x0d0a09, 0x15100d, 0x22150e, 0x35211a};
    static const uint32_t fair[] = {0x23160f, 0x3d2617, 0x553420, 0x6b4427, 0x8a6238, 0xb08a50, 0xd0ae72};
    static const uint32_t red[] = {0x4c2013, 0x7a3214, 0xa24a1c, 0xb8622c};
    static const uint32_t eyes_dark[] = {0x1d100a, 0x2b170d, 0x4a2a15};
    static const uint32_t eyes_fair[] = {0x5b3a1c, 0x6f5a2c, 0x5e6f45, 0x5f7f8a, 0x6f93b5, 0x7d8a92};
    bool fairer = rng_uniformf(r) > p->melanin * 2.2f;
    float shade = rng_uniformf(r);
    if (fairer && chance(r, 0.14f))
        p->hair = ramp(red, COUNT(red), shade);
    else
        p->hair = fairer ? ramp(fair, COUNT(fair), shade) : ramp(dark, COUNT(dark), shade);
    float grey = p->age > 0.6f ? (p->age - 0.6f) * 3.2f * rng_uniformf(r) : 0.0f;
    p->hair_grey = clampf(grey, 0.0f, 1.0f);
    Rgb dyed = p->hair;
    p->hair = rgb_mix(dyed, rgb_hex(chance(r, 0.5f) ? 0xb9b7b4 : 0x8e8c8a), p->hair_grey);
    p->brow = rgb_mix(rgb_scale(rgb_mix(dyed, p->skin, 0.06f), 0.75f), p->hair, 0.5f * p->hair_grey);
    p->beard_colour =
        rgb_mix(rgb_scale(dyed, 0.85f), rgb_hex(0xb9b7b4), clampf(1.2f * p->hair_grey, 0.0f, 1.0f));
    float eye = rng_uniformf(r);
    p->iris = fairer ? ramp(eyes_fair, COUNT(eyes_fair), eye) : ramp(eyes_dark, COUNT(eyes_dark), eye);
}

static void draw_hair(Person *p, Rng *r) {
    static const HairStyle men[] = {HAIR_BALD,  HAIR_BUZZ,   HAIR_CROP,  HAIR_PART, HAIR_SLICK,
                                    HAIR_QUIFF, HAIR_FRINGE, HAIR_CURLY, HAIR_AFRO, HAIR_LONG,
                                    HAIR_PART,  HAIR_CROP,   HAIR_QUIFF};
    static const HairStyle women[] = {HAIR_BUN,  HAIR_BOB, HAIR_LONG, HAIR_SIDE, HAIR_WAVY, HAIR_CURLS,
                                      HAIR_AFRO, HAIR_BUN, HAIR_SIDE, HAIR_BOB,  HAIR_PART, HAIR_LONG};
    bool man = p->male > 0.5f;
    p->style = man ? men[rng_below(r, COUNT(men))] : women[rng_below(r, COUNT(women))];
    if (man && p->age > 0.55f && chance(r, 0.45f)) p->style = HAIR_RECEDING;
    p->hairline = range(r, 0.54f, 0.66f) + (man ? 0.05f * p->age : 0.0f);
    p->peak = range(r, -0.03f, 0.07f);
    p->volume = range(r, 0.8f, 1.3f);
    p->hair_length = range(r, 0.0f, 1.0f);
    p->hair_part = (chance(r, 0.5f) ? 1.0f : -1.0f) * range(r, 0.12f, 0.34f);
    p->curl = range(r, 0.7f, 1.3f);
    p->beard = BEARD_NONE;
    if (man && chance(r, 0.62f)) p->beard = (Beard)(BEARD_STUBBLE + (int)rng_below(r, 5));
}

static void draw_glasses(Person *p, Rng *r) {
    static const uint32_t frames[] = {0x0c0c0e, 0x0c0c0e, 0x2a1a12, 0x5a3420,
                                      0x8c8c90, 0xb08b45, 0x6b1620, 0x1d2c4a};
    p->glasses = GLASSES_NONE;
    if (chance(r, 0.3f)) p->glasses = (Glasses)(GLASSES_ROUND + (int)rng_below(r, p->male > 0.5f ? 3 : 4));
    p->frame = rgb_hex(frames[rng_below(r, COUNT(frames))]);
    p->frame_r = range(r, 0.011f, 0.021f);
}

Person person_draw(uint64_t seed, uint32_t identity) {
    Person p = {0};
    Rng r = rng_open(seed, RNG_SYNTH_ID, 0, identity), part;
    p.texture = rng_u32(&r);
    p.male = chance(&r, 0.5f) ? range(&r, 0.6f, 1.0f) : range(&r, 0.0f, 0.4f);
    p.age = powf(rng_uniformf(&r), 1.35f);
    float m = p.male;

    part = rng_sub(r, 1);
    p.width = bell(&part, 0.92f, 1.08f), p.length = bell(&part, 0.93f, 1.07f),
    p.depth = bell(&part, 0.95f, 1.05f);
    p.jaw = bell(&part, 0.86f, 1.04f) + 0.10f * m, p.chin_w = bell(&part, 0.84f, 1.18f) + 0.22f * m;
    p.chin_l = bell(&part, -0.05f, 0.06f) + 0.03f * m;
    p.cheek = bell(&part, 0.93f, 1.09f), p.forehead = bell(&part, 0.93f, 1.06f);
    p.brow_ridge = range(&part, 0.01f, 0.03f) + 0.05f * m, p.socket = range(&part, 0.07f, 0.13f);
    p.cheekbone = range(&part, 0.01f, 0.07f), p.hollow = range(&part, 0.0f, 0.05f) + 0.02f * p.age;

    part = rng_sub(r, 2);
    p.eye_x = bell(&part, 0.265f, 0.335f), p.eye_y = bell(&part, -0.01f, 0.06f);
    p.eye_w = bell(&part, 0.135f, 0.175f), p.eye_h = bell(&part, 0.055f, 0.085f) - 0.012f * m;
    p.eye_tilt = bell(&part, -0.10f, 0.22f);
    p.lid = bell(&part, 0.0f, 1.0f), p.bags = clampf(range(&part, -0.2f, 0.4f) + 0.7f * p.age, 0.0f, 1.0f);
    p.brow_y = bell(&part, 0.155f, 0.225f) - 0.03f * m, p.brow_h = bell(&part, 0.02f, 0.04f) + 0.018f * m;
    p.brow_arch = bell(&part, -0.01f, 0.06f) - 0.015f * m, p.brow_tilt = bell(&part, -0.08f, 0.16f);
    p.brow_w = bell(&part, 0.155f, 0.215f), p.brow_gap = bell(&part, -0.02f, 0.03f);

    part = rng_sub(r, 3);
    p.nose_w = bell(&part, 0.088f, 0.155f) + 0.02f * m, p.nose_y = bell(&part, -0.37f, -0.27f) - 0.01f * m;
    p.nose_out = bell(&part, 0.14f, 0.24f) + 0.015f * m, p.nose_bridge = bell(&part, 0.03f, 0.12f);
    p.nose_hook = bell(&part, -0.05f, 0.05f), p.nose_tip = bell(&part, 0.05f, 0.085f);
    p.mouth_w = bell(&part, 0.19f, 0.28f) + 0.01f * m, p.mouth_y = bell(&part, -0.61f, -0.55f);
    p.lip_up = bell(&part, 0.04f, 0.09f) - 0.02f * m, p.lip_low = bell(&part, 0.05f, 0.10f) - 0.02f * m;
    p.lip_bow = bell(&part, 0.0f, 0.02f);
    p.ear_h = bell(&part, 0.22f, 0.30f), p.ear_out = bell(&part, 0.25f, 0.7f);

    part = rng_sub(r, 4);
    draw_skin(&p, &part);
    part = rng_sub(r, 5);
    draw_colours(&p, &part);
    part = rng_sub(r, 6);
    draw_hair(&p, &part);
    part = rng_sub(r, 7);
    draw_glasses(&p, &part);
    return p;
}

const char *hair_style_name(HairStyle style) {
    static const char *const names[] = {
#define X(name) #name,
        HAIR_STYLES(X)
#undef X
    };
    return names[style];
}

/* ------------------------------------------------------------------ the photograph */

static void draw_light(Shot *s, Rng *r) {
    s->key_x = bell(r, -1.1f, 1.1f), s->key_y = bell(r, -0.05f, 1.1f);
    float warm = bell(r, -0.8f, 0.8f), power = range(r, 1.0f, 1.8f), fill = range(r, 0.45f, 0.95f);
    s->key = rgb_scale((Rgb){1.0f + 0.14f * warm, 1.0f, 1.0f - 0.24f * warm}, power);
    float cool = bell(r, -1.0f, 1.0f) - 0.4f * warm, bounce = range(r, 0.35f, 0.9f);
    s->sky = rgb_scale((Rgb){1.0f - 0.14f * cool, 1.0f, 1.0f + 0.18f * cool}, fill);
    s->ground = rgb_scale(rgb_hsv(rng_uniformf(r), 0.25f, 1.0f), fill * bounce);
    s->soft = range(r, 1.0f, 4.5f);
}

static void draw_camera(Shot *s, Rng *r) {
    s->exposure = bell(r, -0.35f, 0.35f);
    s->blur = chance(r, 0.5f) ? 0.0f : range(r, 0.2f, 0.75f);
    s->grain = range(r, 0.003f, 0.022f);
    s->white = (Rgb){bell(r, 0.93f, 1.07f), 1.0f, bell(r, 0.9f, 1.1f)};
    s->quality = 72 + (int)rng_below(r, 24);
}

static void draw_wear(Shot *s, Rng *r) {
    s->wear = (Wear)rng_below(r, WEAR_COUNT);
    s->cloth = (Cloth)rng_below(r, CLOTH_COUNT);
    float hue = rng_uniformf(r), strong = chance(r, 0.35f) ? range(r, 0.5f, 0.85f) : range(r, 0.0f, 0.4f);
    s->cloth_a = rgb_hsv(hue, strong, range(r, 0.12f, 0.92f));
    s->cloth_b = rgb_hsv(hue + range(r, -0.2f, 0.2f), strong * range(r, 0.2f, 1.0f), range(r, 0.1f, 0.95f));
    s->cloth_scale = range(r, 0.06f, 0.16f);
}

static void draw_backdrop(Shot *s, Rng *r) {
    s->backdrop = (Backdrop)rng_below(r, BACK_COUNT);
    float hue = rng_uniformf(r), dim = range(r, 0.15f, 0.85f);
    s->back_a = rgb_hsv(hue, range(r, 0.05f, 0.45f), dim);
    s->back_b = rgb_hsv(hue + range(r, -0.25f, 0.25f), range(r, 0.05f, 0.5f),
                        clampf(dim + range(r, -0.35f, 0.35f), 0.05f, 0.95f));
    s->back_c = rgb_hsv(rng_uniformf(r), range(r, 0.1f, 0.6f), range(r, 0.2f, 0.95f));
    s->back_blur = range(r, 0.012f, 0.05f);
}

Shot shot_draw(uint64_t seed, uint64_t image) {
    Shot s = {0};
    Rng r = rng_open(seed, RNG_SYNTH, 0, image), part;
    s.texture = rng_u32(&r);

    part = rng_sub(r, 1);
    s.yaw = bell(&part, -0.64f, 0.64f), s.pitch = bell(&part, -0.26f, 0.24f),
    s.roll = bell(&part, -0.18f, 0.18f);
    s.zoom = range(&part, 0.94f, 1.12f);
    s.shift_x = bell(&part, -0.045f, 0.045f), s.shift_y = bell(&part, -0.04f, 0.04f);

    part = rng_sub(r, 2);
    s.smile = chance(&part, 0.55f) ? range(&part, 0.25f, 1.0f) : range(&part, -0.35f, 0.2f);
    s.open = chance(&part, 0.4f) ? range(&part, 0.15f, 1.0f) : 0.0f;
    s.brow_raise = bell(&part, -0.8f, 1.0f), s.squint = bell(&part, -0.3f, 0.7f);
    s.gaze_x = bell(&part, -0.8f, 0.8f) - 0.5f * s.yaw, s.gaze_y = bell(&part, -0.4f, 0.4f) - 0.5f * s.pitch;

    part = rng_sub(r, 3);
    draw_light(&s, &part);
    part = rng_sub(r, 4);
    draw_camera(&s, &part);
    part = rng_sub(r, 5);
    draw_wear(&s, &part);
    part = rng_sub(r, 6);
    draw_backdrop(&s, &part);
    return s;
}

/* ------------------------------------------------------------------ both together */

Face face_of(const Person *who, const Shot *shot) {
    float smile = maxf(shot->smile, 0.0f), frown = maxf(-shot->smile, 0.0f);
    float lids = 1.0f - 0.28f * shot->squint - 0.22f * smile + 0.12f * shot->brow_raise;
    return (Face){
        .who = who,
        .shot = shot,
        .eye_up = who->eye_h * clampf(lids, 0.45f, 1.2f),
        .eye_low = 0.72f * who->eye_h * clampf(lids - 0.15f * smile, 0.45f, 1.2f),
        .mouth_w = who->mouth_w * (1.0f + 0.22f * smile - 0.08f * shot->open),
        .lip_up = who->lip_up * (1.0f - 0.28f * smile),
        .lip_low = who->lip_low * (1.0f - 0.18f * smile),
        .corner = 0.075f * smile - 0.04f * frown,
        .gap = 0.085f * shot->open * (0.5f + 0.5f * smile),
        .chin_drop = 0.07f * shot->open,
    };
}

float face_lip_line(const Face *face, float x) {
    float t = x / face->mouth_w;
    return face->who->mouth_y - 0.3f * face->corner + face->corner * t * t;
}
