#include "data/synth_skin.h"

#include <math.h>

static float bump(float x, float y, float cx, float cy, float sx, float sy) {
    float u = (x - cx) / sx, v = (y - cy) / sy;
    return expf(-0.5f * (u * u + v * v));
}

Rgb skin_at(const Canvas *painting, float x, float y) {
    float scale = (float)painting->h / (2.0f * SKIN_TOP);
    return canvas_at(painting, (x + SKIN_SIDE) * scale, (SKIN_TOP - y) * scale);
}

/* Both halves of the face get the same spot, mirrored. */
static void pair(Brush *b, float x, float y, float sx, float sy, float angle, Rgb colour, float alpha,
                 Blend blend) {
    draw_glow(b, -x, y, sx, sy, -angle, colour, alpha, blend);
    draw_glow(b, x, y, sx, sy, angle, colour, alpha, blend);
}

/* ------------------------------------------------------------------ skin */

static void paint_ground(const Face *face, const Noise *noise, Brush *b) {
    const Person *p = face->who;
    Canvas *c = b->canvas;
    float ox = (float)(p->texture & 255u), oy = (float)(p->texture >> 8 & 255u), unit = 1.0f / (float)c->h;
    float fine = 0.5f / (float)c->h * 100.0f;
    for (int y = 0; y < c->h; y++)
        for (int x = 0; x < c->w; x++) {
            float u = (float)x * unit, v = (float)y * unit;
            float n = noise_cloud(noise, ox / 256.0f + 1.1f * u, oy / 256.0f + 1.1f * v);
            float pore = noise_value(noise, (float)x * fine + ox, (float)y * fine + oy);
            float k = 1.0f + 0.035f * n + 0.03f * pore;
            c->px[(size_t)y * (size_t)c->w + (size_t)x] =
                (Rgb){p->skin.r * k, p->skin.g * (k - 0.015f * n), p->skin.b * (k - 0.02f * n)};
        }
}

static void paint_tints(const Face *face, Brush *b) {
    const Person *p = face->who;
    float rosy = p->rosy, smile = maxf(face->shot->smile, 0.0f);
    Rgb blood = {1.02f, 0.76f, 0.74f}, dark = {0.74f, 0.66f, 0.66f}, hollow = {0.66f, 0.56f, 0.54f};
    pair(b, 0.36f, -0.26f, 0.13f, 0.11f, 0.3f, blood, (0.42f + 0.2f * smile) * rosy, BLEND_MULTIPLY);
    draw_glow(b, 0.0f, p->nose_y, 0.11f, 0.09f, 0.0f, blood, 0.4f * rosy, BLEND_MULTIPLY);
    draw_glow(b, 0.0f, -0.92f, 0.15f, 0.09f, 0.0f, blood, 0.25f * rosy, BLEND_MULTIPLY);
    pair(b, p->eye_x - 0.02f, p->eye_y, 0.15f, 0.085f, 0.0f, dark, 0.55f, BLEND_MULTIPLY);
    pair(b, 0.135f, p->eye_y + 0.03f, 0.05f, 0.075f, 0.0f, hollow, 0.55f, BLEND_MULTIPLY);
    pair(b, p->eye_x - 0.02f, p->eye_y - 0.115f, 0.10f, 0.022f, -0.12f, hollow, 0.45f * p->bags,
         BLEND_MULTIPLY);
    /* creases: beside the nose, the corners of the mouth, below the lower lip */
    pair(b, p->nose_w + 0.022f, p->nose_y - 0.03f, 0.018f, 0.05f, 0.35f, hollow, 0.6f, BLEND_MULTIPLY);
    float low = face_lip_line(face, 0.0f) - face->gap - face->lip_low;
    draw_glow(b, 0.0f, low - 0.03f, 0.12f, 0.028f, 0.0f, hollow, 0.55f, BLEND_MULTIPLY);
    draw_glow(b, 0.0f, p->nose_y - 0.12f, 0.10f, 0.03f, 0.0f, hollow, 0.35f, BLEND_MULTIPLY);
}

static void paint_creases(const Face *face, Brush *b) {
    const Person *p = face->who;
    float smile = maxf(face->shot->smile, 0.0f), deep = 0.12f + 0.5f * smile + 0.38f * p->age;
    Path path;
    for (int side = -1; side <= 1; side += 2) {
        float s = (float)side, x0 = p->nose_w + 0.03f, y0 = p->nose_y + 0.01f;
        float x1 = face->mouth_w + 0.075f, y1 = face_lip_line(face, face->mouth_w) - 0.01f;
        path_clear(&path);
        path_stroke(&path, s * x0, y0, s * (0.6f * x0 + 0.55f * x1), mixf(y0, y1, 0.35f), s * x1, y1, 0.012f,
                    0.03f);
        draw_path(b, &path);
        draw_soften(b, 0.016f * b->map.xx);
        draw_flat(b, (Rgb){0.60f, 0.47f, 0.45f}, clampf(deep, 0.0f, 1.0f), BLEND_MULTIPLY);
    }
    for (int i = 0; i < 3 && p->age > 0.45f; i++) { /* a forehead that has thought a lot */
        float y = p->eye_y + p->brow_y + 0.13f + 0.085f * (float)i, w = 0.34f - 0.04f * (float)i;
        path_clear(&path);
        path_stroke(&path, -w, y - 0.01f, 0.02f, y + 0.03f, w, y - 0.015f, 0.010f, 0.010f);
        draw_path(b, &path);
        draw_soften(b, 0.008f * b->map.xx);
        draw_flat(b, (Rgb){0.66f, 0.56f, 0.54f},
                  clampf((p->age - 0.4f) * (0.8f + 0.6f * face->shot->brow_raise), 0.0f, 0.8f),
                  BLEND_MULTIPLY);
    }
    for (int side = -1; side <= 1 && p->age > 0.4f; side += 2)
        for (int i = 0; i < 3; i++) { /* crow's feet */
            float s = (float)side, x = p->eye_x + p->eye_w + 0.025f, y = p->eye_y + 0.02f,
                  a = 0.35f - 0.4f * (float)i;
            path_clear(&path);
            path_stroke(&path, s * x, y, s * (x + 0.04f), y + 0.5f * 0.07f * a, s * (x + 0.085f),
                        y + 0.1f * a, 0.009f, 0.003f);
            draw_path(b, &path);
            draw_flat(b, (Rgb){0.66f, 0.55f, 0.53f},
                      clampf((p->age - 0.35f) * (0.7f + 0.8f * smile), 0.0f, 0.8f), BLEND_MULTIPLY);
        }
}

static void paint_marks(const Face *face, Brush *b) {
    const Person *p = face->who;
    Path path;
    Rng r = rng_open(p->texture, RNG_SYNTH_ID, 1, 0);
    for (int i = 0; p->freckles > 0.0f && i < 110; i++) {
        float x = (float)rng_range(&r, -0.5, 0.5), y = (float)rng_range(&r, -0.42, 0.12),
              s = (float)rng_range(&r, 0.007, 0.014);
        float dense = bump(fabsf(x), y, 0.2f, -0.14f, 0.2f, 0.12f);
        if (rng_uniformf(&r) < dense)
            draw_glow(b, x, y, s, s, 0.0f, (Rgb){0.62f, 0.42f, 0.30f}, 0.75f * p->freckles, BLEND_MULTIPLY);
    }
    for (int i = 0; i < 2; i++)
        if (p->mole_r[i] > 0.0f) {
            path_clear(&path);
            path_ellipse(&path, p->mole_x[i], p->mole_y[i], p->mole_r[i], p->mole_r[i], 0.0f);
            draw_path(b, &path);
            draw_soften(b, 0.004f * b->map.xx);
            draw_flat(b, rgb_scale(rgb_times(p->skin, (Rgb){0.5f, 0.35f, 0.3f}), 0.7f), 0.9f, BLEND_OVER);
        }
}

/* ------------------------------------------------------------------ beard */

float beard_cover(const Face *face, Beard kind, float x, float y) {
    const Person *p = face->who;
    float ax = fabsf(x), line = face_lip_line(face, clampf(x, -face->mouth_w, face->mouth_w)),
          mw = face->mouth_w;
    float top = line + face->lip_up + 0.012f, low = line - face->gap - face->lip_low - 0.02f;
    float droop = 0.09f * smoothf(0.35f * mw, 1.25f * mw, ax);
    float lip = smoothf(top - 0.016f - droop, top + 0.012f - droop, y) *
                smoothf(p->nose_y - 0.06f - 1.1f * droop, p->nose_y - 0.105f - droop, y) *
                smoothf(1.35f * mw, 1.08f * mw, ax);
    if (kind == BEARD_MOUSTACHE) return lip;
    float below = smoothf(low + 0.01f, low - 0.025f, y);
    float chin = smoothf(0.24f, 0.17f, ax) * maxf(below, smoothf(mw * 0.98f, mw * 1.12f, ax)) *
                 smoothf(top + 0.05f, top - 0.04f, y);
    if (kind == BEARD_GOATEE) return maxf(lip, chin);
    float cheek = -0.52f + 0.5f * maxf(ax - 0.25f, 0.0f) + 1.4f * powf(maxf(ax - 0.48f, 0.0f), 1.2f);
    float jaw = smoothf(cheek + 0.05f, cheek - 0.07f, y) * maxf(smoothf(mw, mw * 1.15f, ax), below);
    return maxf(maxf(lip, jaw), 0.9f * chin);
}

static void paint_stubble(const Face *face, const Noise *noise, Brush *b) {
    const Person *p = face->who;
    Canvas *c = b->canvas;
    if (p->male < 0.5f) return;
    float shadow = p->beard == BEARD_NONE        ? 0.10f + 0.10f * p->hair_part
                   : p->beard == BEARD_MOUSTACHE ? 0.16f
                                                 : 0.62f;
    Beard kind = p->beard == BEARD_NONE || p->beard == BEARD_MOUSTACHE ? BEARD_STUBBLE : p->beard;
    float scale = (float)c->h / (2.0f * SKIN_TOP), ox = (float)(p->texture & 255u);
    for (int y = (int)((SKIN_TOP + 0.1f) * scale); y < c->h; y++)
        for (int x = 0; x < c->w; x++) {
            float fx = (float)x / scale - SKIN_SIDE, fy = SKIN_TOP - (float)y / scale,
                  cover = beard_cover(face, kind, fx, fy);
            if (cover <= 0.0f) continue;
            float hair = 0.75f + 0.5f * noise_value(noise, fx * 60.0f + ox, fy * 45.0f);
            Rgb *px = c->px + (size_t)y * (size_t)c->w + (size_t)x;
            *px = rgb_mix(*px, rgb_times(rgb_mix(p->beard_colour, p->skin, 0.25f), (Rgb){0.9f, 0.9f, 0.95f}),
                          clampf(shadow * cover * hair, 0.0f, 0.95f));
        }
}

/* ------------------------------------------------------------------ brows and lips */

static void paint_brow(const Face *face, Brush *b, int side) {
    const Person *p = face->who;
    float s = (float)side, raise = 0.035f * face->shot->brow_raise, y0 = p->eye_y + p->brow_y;
    float in = 0.115f + p->brow_gap, out = in + 0.10f + p->brow_w, mid = in + 0.62f * (out - in);
    float frown = -0.025f * maxf(-face->shot->brow_raise, 0.0f);
    float yi = y0 + 0.4f * raise + frown - 0.01f, ym = y0 + raise + p->brow_arch + 0.5f * p->brow_tilt * 0.3f;
    float yo = y0 + raise - 0.03f + p->brow_tilt * 0.3f, h = p->brow_h;
    float x[7] = {s * in,  s * mixf(in, mid, 0.5f), s * mid,          s * out,
                  s * mid, s * mixf(in, mid, 0.5f), s * (in + 0.005f)};
    float y[7] = {yi + 0.35f * h, mixf(yi, ym, 0.62f) + 0.55f * h, ym + 0.5f * h, yo,
                  ym - 0.32f * h, mixf(yi, ym, 0.55f) - 0.5f * h,  yi - 0.5f * h};
    Path path;
    path_clear(&path);
    path_smooth(&path, x, y, 7);
    draw_path(b, &path);
    draw_soften(b, 0.011f * b->map.xx);
    draw_flat(b, p->brow, 0.72f, BLEND_OVER);
    Rng r = rng_open(p->texture, RNG_SYNTH_ID, 2, (uint64_t)(side + 1));
    for (int i = 0; i < 26; i++) { /* hairs lean outward along the brow */
        float t = ((float)i + rng_uniformf(&r)) / 26.0f, bx = mixf(in, out - 0.03f, t);
        float base = t < 0.6f ? mixf(yi, ym, t / 0.6f) : mixf(ym, yo, (t - 0.6f) / 0.4f);
        float lean = mixf(0.2f, 1.1f, t), len = h * mixf(0.9f, 0.6f, t) * (0.8f + 0.4f * rng_uniformf(&r));
        float by = base - 0.45f * h * (1.0f - t) + 0.3f * h * (rng_uniformf(&r) - 0.5f);
        path_clear(&path);
        path_stroke(&path, s * bx, by, s * (bx + 0.3f * len * lean), by + 0.6f * len, s * (bx + len * lean),
                    by + len * (1.0f - 0.6f * t), 0.010f, 0.003f);
        draw_path(b, &path);
        draw_flat(b, rgb_scale(p->brow, 0.75f), 0.6f, BLEND_OVER);
    }
}

static void lip_path(const Face *face, Path *path, bool upper) {
    enum { N = 13 };
    const Person *p = face->who;
    float w = face->mouth_w, x[2 * N - 2], y[2 * N - 2];
    for (int i = 0; i < N; i++) {
        float t = -1.0f + 2.0f * (float)i / (N - 1), at = t * w, a = fabsf(t), line = face_lip_line(face, at);
        float gap = face->gap * (1.0f - t * t), edge;
        if (upper) /* Cupid's bow: two peaks and a notch */
            edge = line +
                   face->lip_up * powf(1.0f - powf(a, 1.6f), 0.8f) *
                       (0.86f + 0.2f * expf(-powf((a - 0.2f) / 0.14f, 2.0f))) -
                   p->lip_bow * expf(-powf(t / 0.12f, 2.0f));
        else
            edge = line - gap - face->lip_low * powf(1.0f - t * t, 0.75f);
        x[i] = at, y[i] = edge;
        if (i > 0 && i < N - 1) x[2 * N - 2 - i] = at, y[2 * N - 2 - i] = upper ? line : line - gap;
    }
    path_clear(path);
    path_smooth(path, x, y, 2 * N - 2);
}

/* What an open mouth shows: teeth above, dark below and toward the corners. */
static void paint_teeth(const Face *face, Brush *b) {
    enum { N = 11 };
    float w = face->mouth_w, line = face_lip_line(face, 0.0f), teeth = minf(face->gap * 0.95f, 0.085f);
    float x[2 * N - 2], y[2 * N - 2];
    Path path;
    for (int i = 0; i < N; i++) {
        float t = -1.0f + 2.0f * (float)i / (N - 1), up = face_lip_line(face, 0.97f * t * w);
        x[i] = 0.97f * t * w, y[i] = up + 0.004f;
        if (i > 0 && i < N - 1)
            x[2 * N - 2 - i] = x[i], y[2 * N - 2 - i] = up - face->gap * (1.0f - t * t) - 0.004f;
    }
    path_clear(&path);
    path_smooth(&path, x, y, 2 * N - 2);
    draw_path(b, &path);
    draw_flat(b, rgb_hex(0x3a1210), 1.0f, BLEND_OVER);
    draw_gradient(b, 0.0f, line + 0.01f, rgb_hex(0xe8e0d0), 0.0f, line - teeth * 1.25f, rgb_hex(0x3a1210),
                  0.92f);
    pair(b, w * 0.92f, face_lip_line(face, w), w * 0.30f, 0.05f, 0.0f, (Rgb){0.35f, 0.22f, 0.2f}, 0.85f,
         BLEND_MULTIPLY);
    for (int i = -3; i <= 3; i++) {
        float tx = 0.045f * (float)i;
        path_clear(&path);
        path_stroke(&path, tx, line, tx, line - 0.5f * teeth, tx, line - teeth * 0.8f, 0.004f, 0.005f);
        draw_path(b, &path);
        draw_flat(b, rgb_hex(0x9a8878), 0.35f, BLEND_OVER);
    }
}

static void paint_mouth(const Face *face, Brush *b) {
    const Person *p = face->who;
    float w = face->mouth_w, line = face_lip_line(face, 0.0f), unit = b->map.xx;
    Path path;
    if (face->gap > 0.003f) paint_teeth(face, b);
    for (int upper = 0; upper < 2; upper++) {
        lip_path(face, &path, upper);
        draw_path(b, &path);
        draw_soften(b, 0.007f * unit);
        draw_flat(b, upper ? rgb_scale(p->lip, 0.82f) : p->lip,
                  0.85f - 0.3f * p->male * (1.0f - 0.4f * p->melanin), BLEND_OVER);
    }
    draw_glow(b, 0.0f, line - face->gap - 0.45f * face->lip_low, 0.09f, 0.016f, 0.0f,
              (Rgb){0.03f, 0.025f, 0.025f}, 0.7f * p->gloss, BLEND_ADD);
    if (face->gap <= 0.02f) { /* the dark line where the lips meet */
        float c = face_lip_line(face, w);
        path_clear(&path);
        path_stroke(&path, -w * 1.03f, c, 0.0f, 2.0f * line - c, w * 1.03f, c, 0.014f, 0.014f);
        draw_path(b, &path);
        draw_soften(b, 0.004f * unit);
        draw_flat(b, rgb_times(p->lip, (Rgb){0.25f, 0.16f, 0.16f}), 0.85f, BLEND_OVER);
    }
    pair(b, w * 1.02f, face_lip_line(face, w), 0.028f, 0.02f, 0.0f, (Rgb){0.45f, 0.33f, 0.32f}, 0.8f,
         BLEND_MULTIPLY);
}

static void paint_nostrils(const Face *face, Brush *b) {
    const Person *p = face->who;
    float y = p->nose_y - 0.088f, x = 0.48f * p->nose_w;
    Rgb hole = rgb_times(p->skin, (Rgb){0.16f, 0.08f, 0.07f});
    pair(b, x, y, 0.028f, 0.013f, 0.25f, hole, 0.85f, BLEND_OVER);
    draw_glow(b, 0.0f, y - 0.025f, p->nose_w, 0.02f, 0.0f, (Rgb){0.66f, 0.55f, 0.53f}, 0.5f, BLEND_MULTIPLY);
}

/* ------------------------------------------------------------------ eyes */

typedef struct Eye {
    float s, x, y, w, up, low;      /* side -1 or 1, middle, half width, half heights above and below */
    float in_x, in_y, out_x, out_y; /* the corners, at the nose and at the temple */
} Eye;

static Eye eye_of(const Face *face, int side) {
    const Person *p = face->who;
    float s = (float)side, x = s * p->eye_x, w = p->eye_w, tilt = p->eye_tilt * w;
    return (Eye){.s = s,
                 .x = x,
                 .y = p->eye_y,
                 .w = w,
                 .up = face->eye_up,
                 .low = face->eye_low,
                 .in_x = x - s * w,
                 .in_y = p->eye_y - tilt - 0.012f,
                 .out_x = x + s * w,
                 .out_y = p->eye_y + tilt};
}

static void paint_stroke(Brush *b, const Path *path, float blur, Rgb colour, float alpha, Blend blend) {
    draw_path(b, path);
    draw_soften(b, blur * b->map.xx);
    draw_flat(b, colour, alpha, blend);
}

/* The ball between the lids. */
static void paint_opening(const Face *face, const Eye *o, Brush *b) {
    const Person *p = face->who;
    Path path;
    path_clear(&path);
    path_move(&path, o->in_x, o->in_y);
    path_cubic(&path, o->in_x + o->s * 0.45f * o->w, o->in_y + 1.25f * o->up + 0.01f,
               o->x + o->s * 0.5f * o->w, o->y + 1.5f * o->up, o->out_x, o->out_y);
    path_cubic(&path, o->x + o->s * 0.6f * o->w, o->y - 1.35f * o->low, o->x - o->s * 0.3f * o->w,
               o->y - 1.35f * o->low - 0.01f, o->in_x, o->in_y);
    draw_path(b, &path);
    draw_flat(b, rgb_mix(rgb_hex(0xbdb3ad), p->skin, 0.12f + 0.34f * p->melanin), 1.0f, BLEND_OVER);
}

/* Limbus, iris, its lighter ring, pupil: as much of their discs as the lids leave; and the lamp in them. */
static void paint_iris(const Face *face, const Eye *o, Brush *b) {
    static const float radius[4] = {1.0f, 0.86f, 0.62f, 0.42f};
    const Person *p = face->who;
    const Shot *shot = face->shot;
    const float iris = 0.062f;
    float x = o->x + shot->gaze_x * 0.042f, y = o->y + 0.006f + shot->gaze_y * 0.02f;
    float top = o->y + 1.02f * o->up + (o->out_y - o->y) * (x - o->x) / o->w, bottom = o->y - 1.02f * o->low;
    const Rgb colour[4] = {rgb_scale(p->iris, 0.35f), p->iris,
                           rgb_scale(rgb_plus(p->iris, (Rgb){0.02f, 0.015f, 0.01f}), 1.25f),
                           rgb_hex(0x060505)};
    Path path;
    for (int ring = 0; ring < 4; ring++) {
        path_clear(&path);
        path_ellipse(&path, x, y, iris * radius[ring], iris * radius[ring], 0.0f);
        for (int i = 0; i < path.points; i++) path.y[i] = clampf(path.y[i], bottom, top);
        draw_path(b, &path);
        draw_flat(b, colour[ring], ring == 2 ? 0.7f : 1.0f, BLEND_OVER);
    }
    float lamp_x = x + 0.5f * iris * sinf(clampf(shot->key_x - shot->yaw, -1.0f, 1.0f));
    float lamp_y = minf(y + 0.5f * iris * sinf(clampf(shot->key_y, 0.2f, 0.9f)), top - 0.012f);
    path_clear(&path);
    path_stroke(&path, o->in_x, o->in_y + 0.004f, o->x, o->y + 2.0f * o->up - 0.018f, o->out_x, o->out_y,
                0.026f, 0.034f);
    paint_stroke(b, &path, 0.012f, (Rgb){0.42f, 0.36f, 0.36f}, 0.8f, BLEND_MULTIPLY); /* shade of the lid */
    draw_glow(b, lamp_x, lamp_y, 0.0085f, 0.0085f, 0.0f, (Rgb){1.6f, 1.6f, 1.6f}, 0.95f, BLEND_OVER);
}

/* The crease of the upper lid, none on some people and deep on others; lashes; the edge of the lower lid. */
static void paint_lids(const Face *face, const Eye *o, Brush *b) {
    const Person *p = face->who;
    float fold = mixf(0.035f, 0.075f, p->lid), lash = mixf(0.026f, 0.013f, p->male);
    Path path;
    path_clear(&path);
    path_stroke(&path, o->in_x + o->s * 0.03f, o->in_y + 0.6f * fold, o->x + o->s * 0.2f * o->w,
                o->y + 1.64f * o->up + 1.5f * fold, o->out_x + o->s * 0.015f, o->out_y + 0.45f * fold, 0.012f,
                0.016f);
    paint_stroke(b, &path, 0.008f, (Rgb){0.50f, 0.38f, 0.36f}, 0.35f + 0.45f * p->lid, BLEND_MULTIPLY);
    draw_glow(b, o->in_x + o->s * 0.012f, o->in_y + 0.004f, 0.016f, 0.011f, 0.0f,
              rgb_times(p->skin, (Rgb){0.9f, 0.55f, 0.52f}), 0.8f, BLEND_OVER);
    path_clear(&path);
    path_stroke(&path, o->in_x, o->in_y, o->x + o->s * 0.05f * o->w, o->y + 2.05f * o->up + 0.006f,
                o->out_x + o->s * 0.02f, o->out_y + 0.006f, 0.4f * lash, 1.1f * lash);
    paint_stroke(b, &path, 0.003f, rgb_mix(rgb_hex(0x120b09), p->brow, 0.25f), 0.92f, BLEND_OVER);
    path_clear(&path);
    path_stroke(&path, o->in_x + o->s * 0.03f, o->in_y - 0.4f * o->low, o->x + o->s * 0.1f * o->w,
                o->y - 1.95f * o->low, o->out_x, o->out_y, 0.007f, 0.012f);
    paint_stroke(b, &path, 0.004f, rgb_times(p->skin, (Rgb){0.35f, 0.24f, 0.22f}), 0.55f, BLEND_OVER);
}

void skin_paint(const Face *face, const Noise *noise, Brush *brush) {
    float scale = (float)brush->canvas->h / (2.0f * SKIN_TOP);
    brush->map = (Map){.xx = scale, .x0 = SKIN_SIDE * scale, .yy = -scale, .y0 = SKIN_TOP * scale};
    paint_ground(face, noise, brush);
    paint_tints(face, brush);
    paint_creases(face, brush);
    paint_marks(face, brush);
    paint_stubble(face, noise, brush);
    paint_mouth(face, brush);
    paint_nostrils(face, brush);
    for (int side = -1; side <= 1; side += 2) {
        Eye eye = eye_of(face, side);
        paint_opening(face, &eye, brush);
        paint_iris(face, &eye, brush);
        paint_lids(face, &eye, brush);
        paint_brow(face, brush, side);
    }
}
