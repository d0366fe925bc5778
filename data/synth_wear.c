#include "data/synth_wear.h"

#include "data/synth_skin.h"

#define PI 3.14159265f

/* ------------------------------------------------------------------ glasses */

/* The outline of a lens around its middle, at angle a; x is away from the nose. */
static Vec rim_point(const Face *face, float side, float a) {
    const Person *p = face->who;
    static const float half_w[] = {0.0f, 0.20f, 0.215f, 0.225f, 0.215f},
                       half_h[] = {0.0f, 0.185f, 0.15f, 0.135f, 0.145f};
    static const float square[] = {1.0f, 1.0f, 0.55f, 0.62f, 0.75f};
    int kind = (int)p->glasses;
    float c = cosf(a), s = sinf(a), k = square[kind];
    float x = half_w[kind] * copysignf(powf(fabsf(c), k), c),
          y = half_h[kind] * copysignf(powf(fabsf(s), k), s);
    if (kind == GLASSES_WIDE) x *= 1.0f + 0.06f * s, y += 0.015f * c;
    if (kind == GLASSES_CAT) y += 0.07f * maxf(c, 0.0f) * maxf(s + 0.2f, 0.0f);
    float at = p->eye_x + 0.012f + x;
    return (Vec){side * at, p->eye_y - 0.02f + y, 0.845f - 0.30f * at * at + (p->depth - 1.0f) * 0.3f};
}

/* A tube of radius r along n points; the sheet's rows are the points, spread over them. */
static void tube(Sheet *wire, const Vec *path, int n, bool closed, float r) {
    for (int i = 0; i < wire->rows; i++) {
        float t = (float)i / (float)(wire->rows - 1) * (float)(closed ? n : n - 1);
        int a = (int)t % n, b = closed ? (a + 1) % n : a + 1 < n ? a + 1 : a;
        Vec at = vec_plus(path[a], vec_scale(vec_minus(path[b], path[a]), t - floorf(t)));
        Vec ahead = closed || a + 1 < n ? vec_minus(path[b], path[a]) : vec_minus(path[a], path[a - 1]);
        Vec along = vec_unit(ahead),
            up = fabsf(along.z) > 0.8f ? (Vec){0.0f, 1.0f, 0.0f} : (Vec){0.0f, 0.0f, 1.0f};
        Vec side = vec_unit(vec_cross(along, up)), out = vec_cross(side, along);
        for (int j = 0; j < wire->cols; j++) {
            float q = 2.0f * PI * (float)j / (float)wire->cols;
            Vec n3 = vec_plus(vec_scale(side, cosf(q)), vec_scale(out, sinf(q)));
            wire->v[i * wire->cols + j] = (Vertex){.at = vec_plus(at, vec_scale(n3, r)), .normal = n3};
        }
    }
}

void glasses_part(const Face *face, int part, Sheet *wire) {
    const Person *p = face->who;
    float side = part & 1 ? 1.0f : -1.0f;
    Vec path[32];
    if (part < 2) {
        for (int i = 0; i < 32; i++) path[i] = rim_point(face, side, 2.0f * PI * (float)i / 32.0f);
        tube(wire, path, 32, true, p->frame_r);
    } else if (part == 2) {
        Vec a = rim_point(face, -1.0f, PI - 0.45f), b = rim_point(face, 1.0f, PI - 0.45f);
        for (int i = 0; i < 5; i++) {
            float t = (float)i / 4.0f, arc = 4.0f * t * (1.0f - t);
            path[i] =
                vec_plus(vec_plus(a, vec_scale(vec_minus(b, a), t)), (Vec){0.0f, 0.02f * arc, 0.03f * arc});
        }
        tube(wire, path, 5, false, p->frame_r);
    } else {
        Ring ring = head_ring(face, head_ring_at(face, 0.05f));
        Vec hinge = rim_point(face, side, 0.35f);
        path[0] = hinge;
        path[1] = (Vec){side * maxf(ring.w + 0.01f, fabsf(hinge.x) + 0.02f), hinge.y, hinge.z - 0.10f};
        path[2] = (Vec){side * (ring.w + 0.03f), 0.06f, ring.zm - 0.05f};
        path[3] = (Vec){side * (ring.w + 0.01f), 0.0f, ring.zm - 0.18f};
        tube(wire, path, 4, false, p->frame_r);
    }
}

void glasses_lens(const Face *face, int side, Sheet *lens) {
    Vec middle = {0};
    for (int k = 0; k < 16; k++)
        middle = vec_plus(
            middle, vec_scale(rim_point(face, (float)side, 2.0f * PI * (float)k / 16.0f), 1.0f / 16.0f));
    for (int i = 0; i < lens->rows; i++) {
        float t = 1.0f - (float)i / (float)(lens->rows - 1);
        for (int j = 0; j < lens->cols; j++) {
            Vec rim = rim_point(face, (float)side, -(float)side * 2.0f * PI * (float)j / (float)lens->cols);
            Vec at = vec_plus(middle, vec_scale(vec_minus(rim, middle), t));
            at.z += 0.012f * (1.0f - t * t);
            lens->v[i * lens->cols + j] = (Vertex){.at = at};
        }
    }
    sheet_normals(lens);
    for (int i = 0; i < lens->rows * lens->cols; i++)
        if (lens->v[i].normal.z < 0.0f) lens->v[i].normal = vec_scale(lens->v[i].normal, -1.0f);
}

/* ------------------------------------------------------------------ beard */

float beard_length(const Person *who) {
    switch (who->beard) {
    case BEARD_MOUSTACHE:
        return 0.035f;
    case BEARD_GOATEE:
        return 0.05f;
    case BEARD_SHORT:
        return 0.035f;
    case BEARD_FULL:
        return 0.10f + 0.09f * who->hair_length;
    default:
        return 0.0f;
    }
}

HairLook beard_look(const Noise *noise) {
    return (HairLook){
        .noise = noise, .fray = 0.05f, .fine = 24.0f, .stretch = 0.35f, .thin = 0.4f, .shine = 0.35f};
}

void beard_base(const Face *face, Sheet *base) {
    const Person *p = face->who;
    float top = head_ring_at(face, -0.02f), length = beard_length(p), ox = (float)(p->texture & 127u);
    for (int j = 0; j < base->cols; j++) {
        Meridian m = head_meridian(mixf(-1.75f, 1.75f, (float)j / (float)(base->cols - 1)));
        for (int i = 0; i < base->rows; i++) {
            Ring ring = head_ring(face, mixf(top, RING_LAST - 0.6f, (float)i / (float)(base->rows - 1)));
            Vec at = ring_point(&ring, &m);
            float cover = beard_cover(face, p->beard, at.x, at.y),
                  thick = mixf(0.12f, 1.0f, smoothf(-0.32f, -0.72f, at.y));
            at.z += smoothf(0.0f, 0.35f, m.c) * face_relief(face, at.x, at.y);
            base->v[i * base->cols + j] = (Vertex){.at = at,
                                                   .u = at.x * 1.2f + m.phi * 0.3f + ox,
                                                   .v = at.y,
                                                   .a = 0.3f * (cover - 0.42f),
                                                   .b = length * cover * thick};
        }
    }
    sheet_normals(base);
    for (int i = 0; i < base->rows * base->cols; i++) {
        Vertex *v = base->v + i;
        Vec down = {0.35f * v->at.x, -1.0f, 0.1f};
        v->flow = vec_unit(vec_minus(down, vec_scale(v->normal, vec_dot(down, v->normal))));
    }
}

/* It hangs: at the chin out is also down. The offset keeps it clear of the face, whose sheet is finer. */
void beard_shell(const Sheet *base, float level, Sheet *shell) {
    for (int i = 0; i < base->rows * base->cols; i++) {
        const Vertex *b = base->v + i;
        float low = smoothf(-0.6f, -1.0f, b->at.y);
        Vec out = vec_unit(vec_plus(b->normal, (Vec){0.0f, -0.9f * low, 0.0f}));
        shell->v[i] = *b;
        shell->v[i].at = vec_plus(b->at, vec_scale(out, 0.028f + level * b->b * (1.0f + 0.8f * low)));
    }
    sheet_normals(shell);
}

/* ------------------------------------------------------------------ cloth */

Rgb cloth_colour(const Shot *shot, const Noise *noise, float u, float y) {
    float s = shot->cloth_scale, weave = 1.0f + 0.10f * noise_value(noise, u * 45.0f, y * 55.0f) +
                                         0.05f * noise_cloud(noise, u * 0.3f, y * 0.3f);
    float t = 0.0f;
    if (shot->cloth == CLOTH_STRIPES) t = smoothf(0.45f, 0.55f, fabsf(2.0f * (y / s - floorf(y / s)) - 1.0f));
    if (shot->cloth == CLOTH_CHECKS) {
        float a = fabsf(2.0f * (y / s - floorf(y / s)) - 1.0f),
              b = fabsf(2.0f * (u / s - floorf(u / s)) - 1.0f);
        t = 0.5f * (smoothf(0.5f, 0.6f, a) + smoothf(0.5f, 0.6f, b));
    }
    if (shot->cloth == CLOTH_HEATHER)
        t = clampf(0.3f + 0.3f * noise_value(noise, u * 70.0f, y * 25.0f), 0.0f, 1.0f);
    return rgb_scale(rgb_mix(shot->cloth_a, shot->cloth_b, t), weave);
}
