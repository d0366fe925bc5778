#include "data/synth_field.h"

#include <math.h>

#define TAU 6.28318531f

/* A field is first painted as amounts of dye: r holds what binds to nuclei, g what binds to the rest, b what
 * scatters. Only `develop` turns dye into colour, as the microscope at hand would: absorbed light for
 * haematoxylin and eosin, emitted light for fluorescence. For phase contrast r is where cells lie, g their
 * halos, b how much brighter than the ground. */
typedef enum { STAIN_HE, STAIN_GLOW, STAIN_PHASE } Stain;

typedef struct Slide {
    Stain stain;
    float unit;             /* pixels a unit: pictures of 256 pixels have unit 1 */
    float grow;             /* magnification */
    float grain_x, grain_y; /* start in the noise tile */
    float fibre;            /* direction of the tissue, radians */
    float along;            /* share of long nuclei along it */
    float rough;            /* irregularity of outlines */
    float coarse, contrast; /* chromatin */
    float defocus;          /* pixels, for the deepest cells */
} Slide;

typedef struct Nucleus {
    float x, y, rx, ry, angle; /* pixels */
    float dye, body;           /* amounts */
    float blur;                /* pixels */
    bool dense;                /* small, dark and without detail, as lymphocytes are */
} Nucleus;

static float pick(Rng *r, float lo, float hi) {
    return lo + (hi - lo) * rng_uniformf(r);
}

static Slide slide_draw(Rng *r, float size) {
    static const Stain stains[] = {STAIN_HE, STAIN_HE, STAIN_HE, STAIN_GLOW, STAIN_GLOW, STAIN_PHASE};
    return (Slide){
        .stain = stains[rng_below(r, COUNT(stains))],
        .unit = size / 256.0f,
        .grow = pick(r, 0.75f, 1.5f),
        .grain_x = rng_uniformf(r),
        .grain_y = rng_uniformf(r),
        .fibre = pick(r, 0.0f, TAU),
        .along = pick(r, -0.3f, 0.8f),
        .rough = pick(r, 0.04f, 0.12f),
        .coarse = pick(r, 0.6f, 1.4f),
        .contrast = pick(r, 0.25f, 0.6f),
        .defocus = pick(r, 0.0f, 2.2f),
    };
}

/* ------------------------------------------------------------------ the ground */

typedef struct Ground {
    const Noise *noise;
    const Slide *slide;
    float base, cloud, fibres;
} Ground;

static Rgb ground_dye(const void *what, float x, float y) {
    const Ground *g = what;
    const Slide *s = g->slide;
    float k = 1.0f / (256.0f * s->unit * s->grow), co = cosf(s->fibre), si = sinf(s->fibre);
    float wide = noise_cloud(g->noise, s->grain_x + 0.35f * k * x, s->grain_y + 0.35f * k * y);
    float bend = 0.05f * wide, u = (co * x + si * y) * k, v = (co * y - si * x) * k;
    float thread = noise_cloud(g->noise, s->grain_y + 0.3f * u, s->grain_x + 2.6f * v + bend);
    float strand = noise_cloud(g->noise, s->grain_x + 1.1f * u + bend, s->grain_y + 7.0f * v);
    float fine = noise_value(g->noise, 0.55f * x / s->unit, 0.55f * y / s->unit);
    float body = g->base * (1.0f + g->cloud * wide + 0.06f * fine) +
                 g->fibres * (maxf(thread, -0.6f) + 0.6f * maxf(strand, -0.5f));
    return (Rgb){0.06f * maxf(body, 0.0f), maxf(body, 0.0f), 0.05f * wide + 0.04f * fine};
}

/* A closed curve through points whose radius wavers by `rough`. */
static void blob(Path *path, Rng *r, float rough) {
    enum { N = 14 };
    float x[N], y[N], amount[3], phase[3];
    for (int k = 0; k < 3; k++)
        amount[k] = rough * pick(r, -1.0f, 1.0f) *
                    (k == 0   ? 1.2f
                     : k == 1 ? 0.8f
                              : 0.45f),
        phase[k] = pick(r, 0.0f, TAU);
    for (int i = 0; i < N; i++) {
        float a = TAU * (float)i / N, rad = 1.0f;
        for (int k = 0; k < 3; k++) rad += amount[k] * cosf((float)(k + 2) * a + phase[k]);
        x[i] = rad * cosf(a), y[i] = rad * sinf(a);
    }
    path_clear(path);
    path_smooth(path, x, y, N);
}

static Map map_of(float x, float y, float rx, float ry, float angle) {
    float co = cosf(angle), si = sinf(angle);
    return (Map){.xx = rx * co, .xy = -ry * si, .x0 = x, .yx = rx * si, .yy = ry * co, .y0 = y};
}

/* Adds dye where the soft brush covers. */
static void add_dye(Field *field, Rgb dye) {
    draw_flat(&field->soft, dye, 1.0f, BLEND_ADD);
}

static void paint_ground(Field *field, const Slide *s, Rng *r) {
    float size = (float)field->picture.w;
    bool he = s->stain == STAIN_HE;
    Ground g = {field->noise, s,
                he                       ? pick(r, 0.16f, 0.5f)
                : s->stain == STAIN_GLOW ? pick(r, 0.0f, 0.06f)
                                         : 0.0f,
                pick(r, 0.05f, 0.3f),
                he                       ? pick(r, 0.04f, 0.16f)
                : s->stain == STAIN_GLOW ? 0.008f
                                         : 0.0f};
    Path path;
    draw_whole(&field->sharp);
    draw_each(&field->sharp, ground_dye, &g, 1.0f);
    int holes = he ? (int)rng_below(r, 4) : 0;
    for (int i = 0; i < holes; i++) { /* vessels, glands, fat: little or nothing to stain */
        float rad = size * pick(r, 0.05f, 0.16f);
        blob(&path, r, 0.15f);
        field->soft.map = map_of(pick(r, 0.0f, size), pick(r, 0.0f, size), rad, rad * pick(r, 0.5f, 1.0f),
                                 pick(r, 0.0f, TAU));
        draw_path(&field->soft, &path);
        draw_soften(&field->soft, 1.5f * s->unit);
        draw_flat(&field->soft, (Rgb){0.0f, 0.03f, 0.0f}, pick(r, 0.7f, 0.97f), BLEND_OVER);
    }
}

/* What is no nucleus but may be taken for one: blood cells in tissue, dirt that shines. */
static void paint_decoys(Field *field, const Slide *s, Rng *r) {
    float size = (float)field->picture.w;
    int n = s->stain == STAIN_HE     ? (int)rng_below(r, 14)
            : s->stain == STAIN_GLOW ? (int)rng_below(r, 8)
                                     : (int)rng_below(r, 12);
    for (int i = 0; i < n; i++) {
        float x = pick(r, 0.0f, size), y = pick(r, 0.0f, size),
              rad = s->unit * s->grow * (s->stain == STAIN_HE ? pick(r, 3.2f, 4.4f) : pick(r, 0.6f, 1.6f));
        Path path;
        blob(&path, r, 0.08f);
        field->soft.map = map_of(x, y, rad, rad * pick(r, 0.7f, 1.0f), pick(r, 0.0f, TAU));
        draw_path(&field->soft, &path);
        draw_soften(&field->soft, 0.8f * s->unit);
        if (s->stain == STAIN_HE) {
            add_dye(field, (Rgb){0.02f, pick(r, 0.35f, 0.6f), 0.0f});
            draw_glow(&field->soft, 0.0f, 0.0f, 0.4f, 0.4f, 0.0f, (Rgb){0.02f, 0.3f, 0.0f}, 0.4f, BLEND_OVER);
        } else
            add_dye(field, s->stain == STAIN_GLOW ? (Rgb){pick(r, 0.1f, 0.5f), 0.1f, 0.0f}
                                                  : (Rgb){0.0f, 0.0f, pick(r, -0.5f, 0.6f)});
    }
}

/* ------------------------------------------------------------------ cells */

/* Next to one that is there already, so that they touch, or anywhere. */
static Nucleus nucleus_draw(const Slide *s, const Nucleus *before, int n, float size, float crowd, Rng *r) {
    float u = s->unit * s->grow, rad = u * pick(r, 6.5f, 11.0f);
    Nucleus c = {.x = pick(r, 0.0f, size), .y = pick(r, 0.0f, size), .angle = pick(r, 0.0f, TAU)};
    c.dense = s->stain != STAIN_PHASE && rng_uniformf(r) < 0.22f;
    if (c.dense) rad = u * pick(r, 4.2f, 5.8f);
    float flat = c.dense ? pick(r, 0.85f, 1.0f) : pick(r, 0.62f, 1.0f);
    if (!c.dense && rng_uniformf(r) < s->along) { /* spindle cells lie along the fibres */
        flat = pick(r, 0.3f, 0.5f), rad *= 1.25f;
        c.angle = s->fibre + pick(r, -0.35f, 0.35f);
    }
    c.rx = rad, c.ry = rad * flat;
    if (n > 0 && rng_uniformf(r) < crowd) {
        const Nucleus *near = before + rng_below(r, (uint64_t)n);
        float a = pick(r, 0.0f, TAU),
              reach = (0.5f * (near->rx + near->ry) + 0.5f * (c.rx + c.ry)) * pick(r, 0.85f, 1.35f);
        c.x = near->x + reach * cosf(a), c.y = near->y + reach * sinf(a);
    }
    c.dye = c.dense ? pick(r, 1.0f, 1.5f) : pick(r, 0.45f, 1.0f);
    c.body = pick(r, 0.05f, 0.28f);
    float deep = rng_uniformf(r);
    c.blur = s->unit * (0.5f + s->defocus * deep * deep);
    return c;
}

/* The cell around the nucleus: a pale body, denser toward its membrane. */
static void paint_body(Field *field, const Slide *s, const Nucleus *c, Rng *r) {
    Path path;
    float wide = c->dense ? pick(r, 1.15f, 1.4f) : pick(r, 1.5f, 2.3f), shift = 0.25f * c->rx;
    blob(&path, r, 0.10f);
    field->soft.map = map_of(c->x + pick(r, -shift, shift), c->y + pick(r, -shift, shift), c->rx * wide,
                             0.5f * (c->rx + c->ry) * wide, c->angle);
    draw_path(&field->soft, &path);
    draw_soften(&field->soft, 1.2f * s->unit + c->blur);
    int w = field->picture.w;
    for (int y = field->soft.box.y0; y < field->soft.box.y1; y++)
        for (int x = field->soft.box.x0; x < field->soft.box.x1; x++) {
            float cover = field->soft.cover.v[(size_t)y * (size_t)w + (size_t)x],
                  rim = 4.0f * cover * (1.0f - cover);
            float fine = noise_value(field->noise, 0.3f * (float)x / s->unit, 0.3f * (float)y / s->unit);
            Rgb *p = field->picture.px + (size_t)y * (size_t)w + x;
            if (s->stain == STAIN_PHASE) { /* cells that touch share one outline: the strongest wins */
                p->r = maxf(p->r, cover);
                p->g = maxf(p->g, smoothf(0.0f, 0.15f, cover) * smoothf(0.5f, 0.2f, cover));
                p->b -= 0.05f * cover * fine;
            } else
                p->g += c->body * cover * (1.0f + 0.25f * fine) + 0.25f * c->body * rim;
        }
}

/* The nucleus: dye with the grain of chromatin, a dark membrane, nucleoli. Its mask was claimed sharp; out of
 * focus only the picture is. */
static void paint_nucleus(Field *field, const Slide *s, const Nucleus *c, const Path *path, Rng *r) {
    Brush *soft = &field->soft;
    soft->map = field->sharp.map;
    draw_path(soft, path);
    draw_soften(soft, maxf(c->blur, 0.7f * s->unit));
    float contrast = s->contrast * (c->dense ? 0.4f : 1.0f), rim_dye = c->dense ? 0.05f : pick(r, 0.1f, 0.3f),
          ox = pick(r, 0.0f, 200.0f);
    float fine = s->coarse * 0.33f / (s->unit * s->grow),
          sharpness = 1.0f / (1.0f + 0.7f * c->blur / s->unit);
    int w = field->picture.w;
    for (int y = soft->box.y0; y < soft->box.y1; y++)
        for (int x = soft->box.x0; x < soft->box.x1; x++) {
            float cover = soft->cover.v[(size_t)y * (size_t)w + (size_t)x];
            if (cover <= 0.0f) continue;
            float clump =
                noise_value(field->noise, (float)x * fine + ox, (float)y * fine) +
                0.6f * noise_value(field->noise, (float)x * 2.1f * fine, (float)y * 2.1f * fine + ox);
            float rim = smoothf(0.45f, 0.7f, cover) * smoothf(1.0f, 0.8f, cover);
            float dye = c->dye * cover * (1.0f + contrast * clump * sharpness) + rim_dye * rim * sharpness;
            Rgb *p = field->picture.px + (size_t)y * (size_t)w + x;
            if (s->stain == STAIN_PHASE)
                p->b += cover * (-0.16f - 0.35f * clump * contrast) - 0.5f * rim * sharpness;
            else {
                p->r = p->r * (1.0f - 0.5f * cover) + maxf(dye, 0.0f);
                p->g *= 1.0f - 0.55f * cover;
            }
        }
    int nucleoli = c->dense ? 0 : (int)rng_below(r, 3);
    for (int i = 0; i < nucleoli; i++) {
        float spot = pick(r, 0.10f, 0.18f) + 0.4f / c->rx, at_x = pick(r, -0.45f, 0.45f),
              at_y = pick(r, -0.45f, 0.45f);
        Rgb dye = s->stain == STAIN_HE     ? (Rgb){0.5f, 0.25f, 0.0f}
                  : s->stain == STAIN_GLOW ? (Rgb){-0.3f * c->dye, 0.0f, 0.0f}
                                           : (Rgb){0.0f, 0.0f, -0.8f};
        draw_glow(soft, at_x, at_y, spot, spot * c->rx / c->ry, 0.0f, dye, sharpness, BLEND_ADD);
    }
}

/* Dye of the tissue at a pixel; 1 outside the picture. */
static float tissue_at(const Field *field, float x, float y) {
    const Canvas *c = &field->picture;
    if (x < 0.0f || y < 0.0f || x >= (float)c->w || y >= (float)c->h) return 1.0f;
    return c->px[(size_t)y * (size_t)c->w + (size_t)x].g;
}

static void paint_cells(Field *field, const Slide *s, Rng r) {
    Nucleus cell[FIELD_MOST];
    Rng scene = rng_sub(r, 2);
    float size = (float)field->picture.w, crowd = pick(&scene, 0.2f, 0.85f),
          dense = rng_uniformf(&scene) * (s->stain == STAIN_PHASE ? 0.4f : 1.0f);
    int n = 0, wanted = (int)mixf(8.0f, 110.0f / (s->grow * s->grow), dense);
    for (int tries = 0; n < wanted && tries < 6 * wanted; tries++) {
        Rng one = rng_sub(r, 10 + (uint32_t)tries);
        Nucleus c = nucleus_draw(s, cell, n, size, crowd, &one);
        if (s->stain == STAIN_HE && tissue_at(field, c.x, c.y) < 0.05f)
            continue; /* nothing floats in a hole */
        Path path;
        blob(&path, &one, s->rough * (c.dense ? 0.6f : 1.0f));
        field->sharp.map = map_of(c.x, c.y, c.rx, c.ry, c.angle);
        draw_path(&field->sharp, &path);
        if (!field_claim(field, 1, 0.78f)) continue;
        Map map = field->sharp.map;
        paint_body(field, s, &c, &one);
        field->sharp.map = map;
        paint_nucleus(field, s, &c, &path, &one);
        cell[n++] = c;
    }
}

/* ------------------------------------------------------------------ the microscope */

typedef struct Optics {
    float power, tilt_x, tilt_y, vignette, grain;
    Rgb nuclear, body, lamp; /* densities of the dyes, or colours of their light */
} Optics;

static Optics optics_draw(const Slide *s, Rng *r) {
    Optics o = {.power = pick(r, 0.8f, 1.2f),
                .tilt_x = pick(r, -0.18f, 0.18f),
                .tilt_y = pick(r, -0.18f, 0.18f),
                .vignette = pick(r, 0.0f, 0.3f),
                .grain = pick(r, 0.004f, 0.02f)};
    float h = pick(r, -1.0f, 1.0f), k = pick(r, -1.0f, 1.0f);
    if (s->stain == STAIN_HE) { /* optical density per unit of dye; Ruifrok and Johnston 2001, table 1 */
        o.nuclear = rgb_scale((Rgb){0.65f + 0.08f * h, 0.70f, 0.29f - 0.06f * h}, pick(r, 1.5f, 2.4f));
        o.body = rgb_scale((Rgb){0.07f + 0.04f * k, 0.99f, 0.20f + 0.10f * k}, pick(r, 0.8f, 1.3f));
        o.lamp = (Rgb){0.86f, 0.85f + 0.02f * k, 0.86f + 0.03f * h};
    } else if (s->stain == STAIN_GLOW) {
        bool grey = rng_below(r, 2);
        o.power = pick(r, 0.25f, 0.9f);
        o.nuclear = grey ? (Rgb){0.9f, 0.9f, 0.9f} : (Rgb){0.05f + 0.05f * maxf(h, 0.0f), 0.2f, 1.0f};
        o.body = grey       ? (Rgb){0.15f, 0.15f, 0.15f}
                 : k > 0.0f ? (Rgb){0.05f, 1.1f * k, 0.05f}
                            : (Rgb){-1.0f * k, 0.02f, 0.02f};
        o.lamp = (Rgb){0.003f, 0.003f, 0.004f};
    } else
        o.lamp = rgb_scale((Rgb){1.0f + 0.06f * h, 1.0f, 1.0f - 0.08f * h}, pick(r, 0.22f, 0.4f));
    return o;
}

static Rgb develop_pixel(const Slide *s, const Optics *o, Rgb dye) {
    if (s->stain == STAIN_HE)
        return (Rgb){o->lamp.r * expf(-dye.r * o->nuclear.r - dye.g * o->body.r),
                     o->lamp.g * expf(-dye.r * o->nuclear.g - dye.g * o->body.g),
                     o->lamp.b * expf(-dye.r * o->nuclear.b - dye.g * o->body.b)};
    if (s->stain == STAIN_GLOW)
        return rgb_plus(o->lamp, rgb_plus(rgb_scale(o->nuclear, 0.5f * maxf(dye.r, 0.0f)),
                                          rgb_scale(o->body, 0.5f * dye.g)));
    /* a bright halo around each cell, none where another cell lies */
    float halo = 0.5f * dye.g * smoothf(0.6f, 0.35f, dye.r),
          inside = 0.16f * dye.r + 0.10f * dye.r * (1.0f - dye.r);
    return rgb_scale(o->lamp, maxf(1.0f + 0.75f * dye.b + halo - inside, 0.05f));
}

static bool develop(Field *field, const Slide *s, Rng *r, Error *e) {
    Canvas *c = &field->picture;
    Optics o = optics_draw(s, r);
    float blur = pick(r, 0.2f, s->stain == STAIN_GLOW ? 1.3f : 0.8f) * s->unit;
    for (int i = 0; i < c->w * c->h; i++) c->px[i] = develop_pixel(s, &o, c->px[i]);
    if (!canvas_blur(c, blur, e)) return false;
    for (int y = 0; y < c->h; y++)
        for (int x = 0; x < c->w; x++) {
            float u = 2.0f * (float)x / (float)c->w - 1.0f, v = 2.0f * (float)y / (float)c->h - 1.0f;
            float k = o.power * (1.0f + o.tilt_x * u + o.tilt_y * v - 0.5f * o.vignette * (u * u + v * v));
            float n = 2.0f * o.grain * (rng_uniformf(r) + rng_uniformf(r) - 1.0f);
            Rgb *p = c->px + (size_t)y * (size_t)c->w + x;
            *p = rgb_scale(*p, k);
            p->r = maxf(p->r + n * sqrtf(p->r + 0.004f), 0.0f);
            p->g = maxf(p->g + n * sqrtf(p->g + 0.004f), 0.0f);
            p->b = maxf(p->b + n * sqrtf(p->b + 0.004f), 0.0f);
        }
    field->quality = 82 + (int)rng_below(r, 14);
    return true;
}

bool cells_paint(Field *field, uint64_t seed, uint64_t image, Error *e) {
    Rng r = rng_open(seed, RNG_SYNTH, 20, image), scene = rng_sub(r, 1), camera = rng_sub(r, 3),
        decoys = rng_sub(r, 4);
    Slide s = slide_draw(&scene, (float)field->picture.w);
    field_clear(field);
    paint_ground(field, &s, &scene);
    paint_decoys(field, &s, &decoys);
    paint_cells(field, &s, r);
    return develop(field, &s, &camera, e);
}
