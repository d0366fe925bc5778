#include "data/synth_field.h"

#include <math.h>
#include <string.h>

#define TAU 6.28318531f

const char *const shape_names[] = {
#define X(name) #name,
    SHAPE_NAMES(X)
#undef X
};

typedef enum { DISC, SQUARE, TRIANGLE, STAR, RING, CROSS, HEART, CRESCENT, HEXAGON, LEAF } Shape;
_Static_assert(LEAF + 1 == SHAPE_COUNT, "a name for each shape");

typedef enum {
    LOOK_PLAIN,
    LOOK_STRIPES,
    LOOK_CHECKS,
    LOOK_DOTS,
    LOOK_WOOD,
    LOOK_MARBLE,
    LOOK_FELT,
    LOOK_FADE,
    LOOK_COUNT
} Look;

typedef struct Surface {
    const Noise *noise;
    Look look;
    Rgb a, b;
    float scale;        /* pixels a period */
    float co, si, x, y; /* turned and shifted like the thing it covers */
} Surface;

static float pick(Rng *r, float lo, float hi) {
    return lo + (hi - lo) * rng_uniformf(r);
}

/* ------------------------------------------------------------------ surfaces */

static float saw(float x) {
    return x - floorf(x);
}

/* A soft square wave of period 1. */
static float wave(float x) {
    return smoothf(0.20f, 0.28f, fabsf(saw(x) - 0.5f));
}

static Rgb surface_colour(const void *what, float px, float py) {
    const Surface *s = what;
    float dx = px - s->x, dy = py - s->y;
    float u = (s->co * dx + s->si * dy) / s->scale, v = (s->co * dy - s->si * dx) / s->scale;
    float ox = s->x * 0.013f, fine = noise_value(s->noise, dx * 0.9f + s->x, dy * 0.9f + s->y), t = 0.0f;
    switch (s->look) {
    case LOOK_STRIPES:
        t = wave(u);
        break;
    case LOOK_CHECKS:
        t = wave(u) + wave(v) - 2.0f * wave(u) * wave(v);
        break;
    case LOOK_DOTS: {
        float a = saw(u) - 0.5f, b = saw(v) - 0.5f;
        t = smoothf(0.32f, 0.27f, sqrtf(a * a + b * b));
        break;
    }
    case LOOK_WOOD: { /* rings of a trunk, cut along it */
        float bend = noise_cloud(s->noise, 0.03f * u + ox, 0.006f * v),
              grain = noise_value(s->noise, u * 9.0f, v * 0.35f);
        t = clampf(0.5f + 0.45f * sinf(TAU * (0.45f * u + 0.55f * bend)) + 0.3f * grain, 0.0f, 1.0f);
        break;
    }
    case LOOK_MARBLE:
        t = powf(fabsf(sinf(1.5f * u + 2.2f * noise_cloud(s->noise, 0.035f * u + ox, 0.035f * v))), 0.5f);
        break;
    case LOOK_FELT:
        t = clampf(0.5f + 0.25f * noise_cloud(s->noise, 0.2f * u + ox, 0.2f * v) + 0.35f * fine, 0.0f, 1.0f);
        break;
    case LOOK_FADE:
        t = clampf(0.5f + 0.35f * v, 0.0f, 1.0f);
        break;
    default:
        break;
    }
    return rgb_scale(rgb_mix(s->a, s->b, t), 1.0f + 0.05f * fine);
}

static Surface surface_draw(const Noise *noise, Rng *r, float size, bool table) {
    Surface s = {.noise = noise, .look = (Look)rng_below(r, LOOK_COUNT)};
    float hue = rng_uniformf(r), angle = pick(r, 0.0f, TAU),
          strong = table ? pick(r, 0.05f, 0.45f) : pick(r, 0.35f, 0.95f);
    float value = table ? pick(r, 0.35f, 0.9f) : pick(r, 0.35f, 0.95f);
    if (table && rng_below(r, 2)) s.look = rng_below(r, 2) ? LOOK_WOOD : LOOK_FELT;
    s.a = rgb_hsv(hue, strong, value);
    s.b = rgb_hsv(hue + pick(r, -0.12f, 0.12f), strong * pick(r, 0.4f, 1.1f),
                  clampf(value + pick(r, -0.45f, 0.45f), 0.08f, 1.0f));
    if (s.look == LOOK_WOOD) {
        float tone = pick(r, 0.45f, 0.95f);
        s.a = rgb_hsv(pick(r, 0.055f, 0.10f), pick(r, 0.35f, 0.65f), tone);
        s.b = rgb_scale(s.a, pick(r, 0.45f, 0.75f));
    }
    s.co = cosf(angle), s.si = sinf(angle);
    s.scale = size * (table ? pick(r, 0.08f, 0.2f) : pick(r, 0.035f, 0.09f));
    if (table && (s.look == LOOK_STRIPES || s.look == LOOK_CHECKS || s.look == LOOK_DOTS))
        s.b = rgb_mix(s.a, s.b, 0.45f);
    s.x = pick(r, 0.0f, size), s.y = pick(r, 0.0f, size);
    return s;
}

/* ------------------------------------------------------------------ outlines, within the unit circle */

static void regular(Path *path, int n, float first, float outer, float inner) {
    int corners = inner > 0.0f ? 2 * n : n;
    for (int i = 0; i < corners; i++) {
        float a = first + TAU * (float)i / (float)corners, rad = inner > 0.0f && i % 2 ? inner : outer;
        if (i == 0)
            path_move(path, rad * cosf(a), rad * sinf(a));
        else
            path_line(path, rad * cosf(a), rad * sinf(a));
    }
}

static void outline(Path *path, Shape shape, Rng *r) {
    float k = rng_uniformf(r), w = mixf(0.22f, 0.4f, k), in = mixf(0.45f, 0.68f, k);
    path_clear(path);
    switch (shape) {
    case DISC:
        path_ellipse(path, 0.0f, 0.0f, 0.9f, 0.9f, 0.0f);
        break;
    case SQUARE:
        regular(path, 4, TAU / 8.0f, 1.0f, 0.0f);
        break;
    case TRIANGLE:
        regular(path, 3, -TAU / 4.0f, 1.0f, 0.0f);
        break;
    case STAR:
        regular(path, 5, -TAU / 4.0f, 1.0f, mixf(0.38f, 0.5f, k));
        break;
    case HEXAGON:
        regular(path, 6, 0.0f, 0.95f, 0.0f);
        break;
    case RING:
        path_ellipse(path, 0.0f, 0.0f, 0.95f, 0.95f, 0.0f);
        path_move(path, in, 0.0f); /* against the outer circle: a hole */
        for (int i = 1; i < 36; i++)
            path_line(path, in * cosf(TAU * (float)i / 36.0f), -in * sinf(TAU * (float)i / 36.0f));
        break;
    case CROSS: {
        const float x[12] = {-w, w, w, 1, 1, w, w, -w, -w, -1, -1, -w},
                    y[12] = {-1, -1, -w, -w, w, w, 1, 1, w, w, -w, -w};
        path_move(path, 0.92f * x[0], 0.92f * y[0]);
        for (int i = 1; i < 12; i++) path_line(path, 0.92f * x[i], 0.92f * y[i]);
        break;
    }
    case HEART:
        path_move(path, 0.0f, 0.95f);
        path_cubic(path, -0.55f, 0.45f, -1.0f, 0.15f, -0.95f, -0.35f);
        path_cubic(path, -0.9f, -0.95f, -0.2f, -0.95f, 0.0f, -0.42f);
        path_cubic(path, 0.2f, -0.95f, 0.9f, -0.95f, 0.95f, -0.35f);
        path_cubic(path, 1.0f, 0.15f, 0.55f, 0.45f, 0.0f, 0.95f);
        break;
    case CRESCENT: {
        float bite = mixf(0.2f, 0.45f, k);
        path_move(path, 0.25f, -0.95f);
        path_cubic(path, -1.1f, -1.0f, -1.1f, 1.0f, 0.25f, 0.95f);
        path_cubic(path, -bite, 0.55f, -bite, -0.55f, 0.25f, -0.95f);
        break;
    }
    case LEAF:
        path_move(path, 0.0f, -1.0f);
        path_cubic(path, 0.75f, -0.5f, 0.55f, 0.45f, 0.05f, 0.72f);
        path_line(path, 0.06f, 1.0f);
        path_line(path, -0.04f, 1.0f);
        path_line(path, -0.05f, 0.72f);
        path_cubic(path, -0.55f, 0.45f, -0.75f, -0.5f, 0.0f, -1.0f);
        break;
    }
}

/* ------------------------------------------------------------------ laying things down */

typedef struct Sun {
    float x, y; /* where light comes from, pixels a unit of height */
    float hard; /* edge of shadows, pixels */
    float dark; /* how much of the light a shadow takes */
} Sun;

/* Shadow first, then the thing itself: its surface, lit on the side of the sun by how its softened outline
 * slopes, so that it looks as thick as it is soft. */
static void lay_down(Field *field, const Path *path, const Surface *surface, const Sun *sun, float height,
                     float round) {
    Brush *sharp = &field->sharp, *soft = &field->soft;
    Map map = sharp->map;
    soft->map = map;
    soft->map.x0 -= sun->x * height, soft->map.y0 -= sun->y * height;
    draw_path(soft, path);
    draw_soften(soft, sun->hard * (0.5f + 0.12f * height));
    draw_flat(soft, (Rgb){1.0f - sun->dark, 1.0f - sun->dark, 1.0f - 0.9f * sun->dark}, 1.0f, BLEND_MULTIPLY);
    draw_each(sharp, surface_colour, surface, 1.0f);
    soft->map = map;
    draw_path(soft, path);
    draw_soften(soft, round);
    int w = field->picture.w;
    float norm = 1.0f / maxf(sqrtf(sun->x * sun->x + sun->y * sun->y), 1e-3f), lx = sun->x * norm,
          ly = sun->y * norm;
    Box in = soft->box, box = sharp->box;
    for (int y = maxf((float)box.y0, (float)(in.y0 + 1)); y < box.y1 && y + 1 < in.y1; y++)
        for (int x = maxf((float)box.x0, (float)(in.x0 + 1)); x < box.x1 && x + 1 < in.x1; x++) {
            const float *v = soft->cover.v + (size_t)y * (size_t)w + x;
            float cover = sharp->cover.v[(size_t)y * (size_t)w + (size_t)x];
            float slope = 0.5f * ((v[1] - v[-1]) * -lx + (v[w] - v[-w]) * -ly) * round * 2.2f;
            float light = 1.0f + clampf(slope, -0.55f, 0.75f), gleam = maxf(slope - 0.35f, 0.0f) * 0.5f;
            Rgb *p = field->picture.px + (size_t)y * (size_t)w + x;
            *p = rgb_mix(*p, rgb_plus(rgb_scale(*p, light), (Rgb){gleam, gleam, gleam}), cover);
        }
}

static void place(Brush *brush, Rng *r, float size) {
    float rad = size * mixf(0.065f, 0.23f, powf(rng_uniformf(r), 1.4f)), angle = pick(r, 0.0f, TAU);
    float squeeze = pick(r, 0.8f, 1.0f), lean = pick(r, 0.0f, TAU), co = cosf(angle), si = sinf(angle);
    /* turned, then seen a little from the side: squeezed along a direction of its own */
    float c2 = cosf(lean), s2 = sinf(lean), a = c2 * c2 + squeeze * s2 * s2, b = (1.0f - squeeze) * c2 * s2,
          d = s2 * s2 + squeeze * c2 * c2;
    float margin = 0.35f * rad;
    brush->map = (Map){.xx = rad * (a * co + b * si),
                       .xy = rad * (b * co - a * si),
                       .x0 = pick(r, margin, size - margin),
                       .yx = rad * (b * co + d * si),
                       .yy = rad * (d * co - b * si),
                       .y0 = pick(r, margin, size - margin)};
}

/* Uneven light over the table, then the camera. */
static bool finish(Field *field, Rng *r, Error *e) {
    Canvas *c = &field->picture;
    float angle = pick(r, 0.0f, TAU), fall = pick(r, 0.0f, 0.35f), gain = pick(r, 0.8f, 1.25f),
          warm = pick(r, -0.1f, 0.1f), grain = pick(r, 0.003f, 0.02f);
    if (!canvas_blur(c, pick(r, 0.0f, 0.8f) * (float)c->w / 256.0f, e)) return false;
    for (int y = 0; y < c->h; y++)
        for (int x = 0; x < c->w; x++) {
            float u = 2.0f * (float)x / (float)c->w - 1.0f, v = 2.0f * (float)y / (float)c->h - 1.0f;
            float k = gain * (1.0f + fall * (u * cosf(angle) + v * sinf(angle)) - 0.08f * (u * u + v * v));
            Rgb *p = c->px + (size_t)y * (size_t)c->w + x;
            *p = rgb_times(*p, (Rgb){k * (1.0f + warm), k, k * (1.0f - warm)});
            float n = grain * (rng_uniformf(r) + rng_uniformf(r) - 1.0f) * 2.0f;
            p->r = maxf(p->r + n * sqrtf(p->r + 0.02f), 0.0f);
            p->g = maxf(p->g + n * sqrtf(p->g + 0.02f), 0.0f);
            p->b = maxf(p->b + n * sqrtf(p->b + 0.02f), 0.0f);
        }
    field->quality = 78 + (int)rng_below(r, 18);
    return true;
}

bool shapes_paint(Field *field, uint64_t seed, uint64_t image, Error *e) {
    Rng r = rng_open(seed, RNG_SYNTH, 10, image), scene = rng_sub(r, 1), camera = rng_sub(r, 2);
    float size = (float)field->picture.w, unit = size / 256.0f, angle = pick(&scene, 0.0f, TAU),
          steep = pick(&scene, 0.4f, 1.4f);
    Sun sun = {steep * cosf(angle), steep * sinf(angle), pick(&scene, 0.7f, 2.6f) * unit,
               pick(&scene, 0.45f, 0.8f)};
    Surface table = surface_draw(field->noise, &scene, size, true);
    field_clear(field);
    draw_whole(&field->sharp);
    draw_each(&field->sharp, surface_colour, &table, 1.0f);
    int wanted = 3 + (int)rng_below(&scene, 9);
    for (int i = 0, tries = 0; i < wanted && tries < 40; tries++) {
        Rng thing = rng_sub(r, 10 + (uint32_t)tries);
        Shape shape = (Shape)rng_below(&thing, SHAPE_COUNT);
        Path path;
        place(&field->sharp, &thing, size);
        outline(&path, shape, &thing);
        draw_path(&field->sharp, &path);
        if (!field_claim(field, (int)shape + 1, 0.35f)) continue;
        Surface surface = surface_draw(field->noise, &thing, size, false);
        lay_down(field, &path, &surface, &sun, unit * pick(&thing, 4.0f, 11.0f),
                 unit * pick(&thing, 1.8f, 4.5f));
        i++;
    }
    return finish(field, &camera, e);
}
