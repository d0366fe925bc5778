#include "data/synth_studio.h"

typedef struct Clouds {
    const Noise *noise;
    Rgb a, b;
    float scale, x, y, contrast;
} Clouds;

static Rgb cloud_colour(const void *what, float x, float y) {
    const Clouds *c = what;
    float n = noise_cloud(c->noise, c->x + x * c->scale, c->y + y * c->scale);
    return rgb_mix(c->a, c->b, clampf(0.5f + c->contrast * n, 0.0f, 1.0f));
}

static void rectangle(Brush *b, float x0, float y0, float x1, float y1, float lean, Rgb colour, float alpha) {
    Path path;
    path_clear(&path);
    path_move(&path, x0, y0);
    path_line(&path, x1, y0 + lean);
    path_line(&path, x1, y1 + lean);
    path_line(&path, x0, y1);
    draw_path(b, &path);
    draw_flat(b, colour, alpha, BLEND_OVER);
}

static float pick(Rng *r, float lo, float hi) {
    return lo + (hi - lo) * rng_uniformf(r);
}

/* Lamps out of focus: discs of light, a little brighter at the rim. */
static void paint_bokeh(const Shot *shot, Brush *b, Rng *r, float size) {
    Path path;
    int n = 10 + (int)rng_below(r, 26);
    for (int i = 0; i < n; i++) {
        float x = pick(r, 0.0f, size), y = pick(r, 0.0f, size), rad = size * pick(r, 0.03f, 0.11f);
        Rgb colour = rgb_mix(shot->back_c, rgb_hsv(rng_uniformf(r), 0.5f, 1.0f), 0.4f);
        path_clear(&path);
        path_ellipse(&path, x, y, rad, rad, 0.0f);
        draw_path(b, &path);
        draw_flat(b, colour, pick(r, 0.15f, 0.6f), BLEND_OVER);
    }
}

/* A wall, a floor line, shelves, a window or a door. */
static void paint_room(const Shot *shot, Brush *b, Rng *r, float size) {
    float lean = pick(r, -0.08f, 0.08f) * size, floor_y = size * pick(r, 0.6f, 0.95f);
    rectangle(b, 0.0f, floor_y, size, 1.3f * size, lean, rgb_scale(shot->back_b, 0.5f), 1.0f);
    int n = 3 + (int)rng_below(r, 6);
    for (int i = 0; i < n; i++) {
        float w = size * pick(r, 0.08f, 0.45f), h = size * pick(r, 0.08f, 0.6f),
              x = pick(r, -0.3f * w, size - 0.7f * w), y = pick(r, -0.1f * size, floor_y - 0.5f * h);
        Rgb colour = rgb_mix(rgb_mix(shot->back_b, shot->back_c, rng_uniformf(r)),
                             rgb_scale(shot->back_a, pick(r, 0.3f, 1.6f)), 0.5f);
        rectangle(b, x - 0.01f * size, y - 0.01f * size, x + w + 0.015f * size, y + h + 0.015f * size,
                  lean * w / size, rgb_scale(shot->back_a, 0.45f), 0.8f);
        rectangle(b, x, y, x + w, y + h, lean * w / size, colour, 1.0f);
    }
    if (rng_below(r, 3) == 0) { /* daylight */
        float w = size * pick(r, 0.2f, 0.4f), x = pick(r, 0.0f, size - w), y = size * pick(r, 0.02f, 0.15f),
              h = size * pick(r, 0.4f, 0.7f);
        rectangle(b, x, y, x + w, y + h, 0.0f, (Rgb){1.5f, 1.55f, 1.7f}, 0.9f);
        rectangle(b, x + 0.47f * w, y, x + 0.53f * w, y + h, 0.0f, rgb_scale(shot->back_a, 0.8f), 0.9f);
    }
}

static void paint_leaves(const Shot *shot, Brush *b, Rng *r, float size) {
    Path path;
    for (int i = 0; i < 90; i++) {
        float x = pick(r, 0.0f, size), y = pick(r, 0.0f, size), rad = size * pick(r, 0.02f, 0.09f);
        Rgb green = rgb_hsv(pick(r, 0.20f, 0.38f), pick(r, 0.3f, 0.8f), pick(r, 0.05f, 0.7f));
        path_clear(&path);
        path_ellipse(&path, x, y, rad, 0.55f * rad, pick(r, 0.0f, 3.1f));
        draw_path(b, &path);
        draw_flat(b, rgb_mix(green, shot->back_a, 0.2f), 0.8f, BLEND_OVER);
    }
}

static void paint_sky(const Shot *shot, const Noise *noise, Brush *b, Rng *r, float size) {
    draw_whole(b);
    draw_gradient(b, 0.0f, 0.0f, rgb_hsv(0.58f, pick(r, 0.25f, 0.65f), pick(r, 0.6f, 0.95f)), 0.0f, size,
                  (Rgb){0.75f, 0.8f, 0.85f}, 1.0f);
    Clouds c = {noise,       (Rgb){0.9f, 0.9f, 0.92f}, rgb_hsv(0.58f, 0.3f, 0.85f),
                0.5f / size, pick(r, 0.0f, 1.0f),      pick(r, 0.0f, 1.0f),
                0.6f};
    draw_each(b, cloud_colour, &c, 0.55f);
    float horizon = size * pick(r, 0.45f, 1.1f), lean = size * pick(r, -0.05f, 0.05f);
    rectangle(b, 0.0f, horizon, size, 1.5f * size, lean, rgb_scale(shot->back_b, 0.5f), 1.0f);
}

bool backdrop_paint(const Shot *shot, const Noise *noise, Brush *b, Error *e) {
    Rng r = rng_open(shot->texture, RNG_SYNTH, 2, 0);
    float size = (float)b->canvas->w, angle = pick(&r, 0.0f, 6.28f), dx = 0.5f * size * cosf(angle),
          dy = 0.5f * size * sinf(angle);
    draw_whole(b);
    draw_gradient(b, 0.5f * size - dx, 0.5f * size - dy, shot->back_a, 0.5f * size + dx, 0.5f * size + dy,
                  rgb_mix(shot->back_a, shot->back_b, 0.6f), 1.0f);
    Clouds c = {noise,
                shot->back_a,
                shot->back_b,
                pick(&r, 0.15f, 0.8f) / size,
                pick(&r, 0.0f, 1.0f),
                pick(&r, 0.0f, 1.0f),
                pick(&r, 0.1f, 0.35f)};
    draw_each(b, cloud_colour, &c, 0.5f);
    switch (shot->backdrop) {
    case BACK_BOKEH:
        canvas_fill(b->canvas, rgb_scale(shot->back_a, 0.35f));
        paint_bokeh(shot, b, &r, size);
        break;
    case BACK_ROOM:
        paint_room(shot, b, &r, size);
        break;
    case BACK_LEAVES:
        paint_leaves(shot, b, &r, size);
        break;
    case BACK_SKY:
        paint_sky(shot, noise, b, &r, size);
        break;
    default:
        break;
    }
    return canvas_blur(b->canvas, shot->back_blur * size * (shot->backdrop == BACK_BOKEH ? 0.4f : 1.0f), e);
}
