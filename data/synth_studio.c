#include "data/synth_studio.h"

#include "data/synth_wear.h"

#include <string.h>

/* What a shader needs to know. */
typedef struct Scene {
    const Studio *studio;
    Face face;
    HairLook look;
    Rgb strand;  /* hair or beard colour being drawn */
    float level; /* of the shell being drawn */
} Scene;

/* ------------------------------------------------------------------ shaders */

static float shade_solid(const void *what, const Vertex *at, bool back, Rgb *out) {
    (void)what, (void)at, (void)back, (void)out;
    return 1.0f;
}

static Rgb bare_skin(const Scene *s, const Vertex *v) {
    const Person *p = s->face.who;
    float n = noise_cloud(s->studio->noise, v->u * 0.4f + 0.3f, v->v * 0.4f + v->at.z * 0.2f);
    return rgb_scale(p->skin, 1.0f + 0.04f * n);
}

static float shade_head(const void *what, const Vertex *v, bool back, Rgb *out) {
    const Scene *s = what;
    const Person *p = s->face.who;
    if (back) return 0.0f;
    Rgb albedo = bare_skin(s, v);
    if (v->a > 0.0f) albedo = rgb_mix(albedo, skin_at(&s->studio->skin, v->u, v->v), v->a);
    float scalp = p->style == HAIR_BALD || p->style == HAIR_RECEDING ? 0.12f
                  : p->style == HAIR_BUZZ                            ? 0.6f
                                                                     : 0.3f;
    albedo = rgb_mix(albedo, p->hair, scalp * smoothf(p->hairline - 0.05f, p->hairline + 0.14f, v->v));
    float oily = 0.55f + 0.8f * expf(-8.0f * v->u * v->u) * v->a + 0.3f * smoothf(0.3f, 0.6f, v->v);
    float eye_x = fabsf(v->u) - p->eye_x, eye_y = v->v - p->eye_y;
    float eye = smoothf(1.0f, 0.6f,
                        eye_x * eye_x / (p->eye_w * p->eye_w) +
                            eye_y * eye_y / (2.2f * s->face.eye_up * s->face.eye_up));
    float under = smoothf(-0.85f, -1.04f, v->v); /* little sky reaches the underside of the chin */
    *out = light_skin(&s->studio->light, v->at, vec_unit(v->normal), albedo,
                      p->gloss * (oily + 0.5f * eye * v->a), 1.0f - 0.5f * under);
    return 1.0f;
}

static float shade_ear(const void *what, const Vertex *v, bool back, Rgb *out) {
    const Scene *s = what;
    Rgb albedo = rgb_times(bare_skin(s, v), (Rgb){1.0f, 0.84f, 0.80f});
    Vec n = vec_unit(v->normal);
    *out = light_skin(&s->studio->light, v->at, back ? vec_scale(n, -1.0f) : n,
                      rgb_scale(albedo, 1.0f - 0.55f * clampf(v->a, 0.0f, 1.0f)), 0.6f, 0.8f);
    return 1.0f;
}

static float shade_neck(const void *what, const Vertex *v, bool back, Rgb *out) {
    const Scene *s = what;
    if (back) return 0.0f;
    float under = smoothf(-1.35f, -0.95f, v->v);
    *out = light_skin(&s->studio->light, v->at, vec_unit(v->normal),
                      rgb_times(bare_skin(s, v), (Rgb){0.95f, 0.90f, 0.90f}), 0.5f, 1.0f - 0.55f * under);
    return 1.0f;
}

static float shade_body(const void *what, const Vertex *v, bool back, Rgb *out) {
    const Scene *s = what;
    const Shot *shot = s->face.shot;
    Vec n = vec_unit(v->normal);
    if (back) return 0.0f;
    float below = v->a > -0.2f ? v->v - body_neckline(&s->face, v->u) : -1.0f;
    if (below > 0.0f) {
        *out = light_skin(&s->studio->light, v->at, n, bare_skin(s, v), 0.6f, 0.9f);
        return 1.0f;
    }
    /* folds bend the light; the hem of the neckline is a little darker below and lighter on its edge */
    const Noise *noise = s->studio->noise;
    float fold = noise_cloud(noise, v->u * 0.22f + (float)(shot->texture & 63u) / 64.0f, v->v * 0.16f);
    float next =
        noise_cloud(noise, v->u * 0.22f + 0.012f + (float)(shot->texture & 63u) / 64.0f, v->v * 0.16f);
    n = vec_unit(vec_plus(n, (Vec){2.2f * (next - fold), 0.0f, 0.0f}));
    Rgb albedo = cloth_colour(shot, noise, v->u, v->v);
    float hem = smoothf(-0.075f, -0.06f, below), seam = expf(-powf((below + 0.07f) / 0.012f, 2.0f));
    if (shot->wear == WEAR_SHIRT || shot->wear == WEAR_HOOD)
        albedo = rgb_mix(albedo, rgb_scale(shot->cloth_a, 1.15f), hem);
    *out = rgb_scale(light_cloth(&s->studio->light, v->at, n, albedo),
                     (1.0f - 0.35f * seam) * (1.0f + 0.12f * hem));
    return 1.0f;
}

static float shade_hair(const void *what, const Vertex *v, bool back, Rgb *out) {
    const Scene *s = what;
    float tone, alpha = hair_strand(&s->look, v->u, v->v, v->a, s->level, &tone);
    if (alpha <= 0.004f) return 0.0f;
    Vec n = vec_unit(v->normal);
    if (back) n = vec_scale(n, -1.0f);
    float depth = mixf(0.42f, 1.0f, s->level) * (back ? 0.4f : 1.0f);
    Rgb albedo = rgb_scale(s->strand, clampf(tone, 0.3f, 1.8f) * depth);
    *out = light_hair(&s->studio->light, n, v->flow, albedo, 0.25f * (tone - 1.0f),
                      s->look.shine * s->level * (back ? 0.2f : tone), v->b);
    return alpha;
}

static float shade_hair_lamp(const void *what, const Vertex *v, bool back, Rgb *out) {
    (void)what, (void)back, (void)out;
    return v->a > 0.0f ? 1.0f : 0.0f;
}

static float shade_wire(const void *what, const Vertex *v, bool back, Rgb *out) {
    const Scene *s = what;
    (void)back;
    *out = light_plastic(&s->studio->light, v->at, vec_unit(v->normal), s->face.who->frame, 0.5f);
    return 1.0f;
}

static float shade_lens(const void *what, const Vertex *v, bool back, Rgb *out) {
    const Scene *s = what;
    const Light *light = &s->studio->light;
    (void)back;
    Vec n = vec_unit(v->normal);
    float d = vec_dot(n, light->to_eye);
    Vec mirror = vec_minus(vec_scale(n, 2.0f * d), light->to_eye);
    float lamp = powf(maxf(vec_dot(mirror, light->to_key), 0.0f), 60.0f), sky = smoothf(0.1f, 0.5f, mirror.y);
    *out = rgb_plus(rgb_scale(light->sky, 0.4f + sky), rgb_scale(light->key, 2.0f * lamp));
    return clampf(0.03f + 0.06f * sky + 0.4f * lamp, 0.0f, 0.49f); /* below one half: leaves no depth */
}

/* ------------------------------------------------------------------ the stage */

static Turn whole_turn(const Shot *shot, float share) {
    return turn_of(share * shot->yaw, share * shot->pitch, share * shot->roll, (Vec){0.0f, -0.85f, -0.25f},
                   (Vec){0});
}

/* Everything that throws a shadow, as the lamp sees it. */
static void cast_shadows(Studio *st, Scene *scene, const Turn *turn) {
    View *lamp = &st->light.lamp;
    const Shot *shot = scene->face.shot;
    float k = cosf(shot->key_y);
    light_aim(&st->light, (Vec){k * sinf(shot->key_x), sinf(shot->key_y), k * cosf(shot->key_x)},
              (Vec){0.0f, -0.3f, 0.0f}, 1.9f);
    view_draw(lamp, &st->head, 2, SIDE_FRONT, shade_solid, scene);
    view_draw(lamp, &st->body, 1, SIDE_FRONT, shade_solid, scene);
    for (int side = 0; side < 2 && !hair_hides_ears(scene->face.who); side++)
        view_draw(lamp, &st->ear[side], 1, SIDE_BOTH, shade_solid, scene);
    scene->level = 0.6f;
    hair_shell(&st->hair_base, scene->level, &st->hair);
    sheet_turn(&st->hair, turn);
    view_draw(lamp, &st->hair, 1, SIDE_BOTH, shade_hair_lamp, scene);
}

/* What the lamp sees of each vertex, for sheets whose shadow need not be sharper than their quads. */
static void reach_vertices(const Light *light, Sheet *sheet) {
    for (int i = 0; i < sheet->rows * sheet->cols; i++) {
        bool seen = sheet->v[i].normal.z > -0.3f && sheet->v[i].a > sheet->floor;
        sheet->v[i].b = seen ? light_reach(light, sheet->v[i].at, sheet->v[i].normal) : 0.3f;
    }
}

/* One transparent sheet of hair; the sheet is given in the head's own space. */
static void shoot_shell(Studio *st, Scene *scene, Sheet *shell, const Turn *turn, View *view, Side side) {
    sheet_turn(shell, turn);
    reach_vertices(&st->light, shell);
    view_draw(view, shell, 1, side, shade_hair, scene);
}

/* The inner side of long hair is seen only behind the neck, in the dark: one shell is enough there. */
static void shoot_hair_back(Studio *st, Scene *scene, const Turn *turn) {
    if (!hair_hides_ears(scene->face.who)) return;
    scene->level = 0.5f;
    hair_shell(&st->hair_base, scene->level, &st->hair);
    shoot_shell(st, scene, &st->hair, turn, &st->camera, SIDE_BACK);
}

/* All of the hair in front, and the beard, from the outermost shell in. */
static void shoot_hair(Studio *st, Scene *scene, const Turn *turn) {
    View view = st->camera;
    view.colour = st->layer.px;
    view.veil = st->veil.v;
    view_veil(&view);
    for (int i = HAIR_SHELLS; i > 0; i--) {
        scene->level = (float)i / HAIR_SHELLS;
        hair_shell(&st->hair_base, scene->level, &st->hair);
        shoot_shell(st, scene, &st->hair, turn, &view, SIDE_FRONT);
    }
    scene->look = beard_look(st->noise);
    scene->strand = scene->face.who->beard_colour;
    bool beard = beard_length(scene->face.who) > 0.0f;
    if (beard) beard_base(&scene->face, &st->beard_base);
    for (int i = BEARD_SHELLS; i > 0 && beard; i--) {
        scene->level = (float)i / BEARD_SHELLS;
        beard_shell(&st->beard_base, scene->level, &st->beard);
        shoot_shell(st, scene, &st->beard, turn, &view, SIDE_FRONT);
    }
    view_unveil(&view, st->large.px);
}

static void shoot_glasses(Studio *st, Scene *scene, const Turn *turn) {
    if (scene->face.who->glasses == GLASSES_NONE) return;
    for (int side = 0; side < 2; side++) {
        Sheet *lens = &st->ear[side]; /* the ears are already on the film */
        glasses_lens(&scene->face, side ? 1 : -1, lens);
        sheet_turn(lens, turn);
        view_draw(&st->camera, lens, 1, SIDE_BOTH, shade_lens, scene);
    }
    for (int part = GLASSES_PARTS - 1; part >= 0; part--) {
        glasses_part(&scene->face, part, &st->wire);
        sheet_turn(&st->wire, turn);
        view_draw(&st->camera, &st->wire, 1, SIDE_BOTH, shade_wire, scene);
    }
}

static void aim_camera(Studio *st, const Shot *shot) {
    View *v = &st->camera;
    float side = (float)v->w;
    v->scale = side / 3.0f * shot->zoom;
    v->cx = side * (0.5f + shot->shift_x);
    v->cy = side * (0.5f + shot->shift_y) - 0.16f * v->scale;
    view_clear(v);
}

static void double_backdrop(Studio *st) {
    for (int y = 0; y < st->large.h; y++) {
        Rgb *to = st->large.px + (size_t)y * (size_t)st->large.w;
        const Rgb *from = st->picture.px + (size_t)(y / 2) * (size_t)st->picture.w;
        for (int x = 0; x < st->large.w; x++) to[x] = from[x / 2];
    }
}

/* Mean luminance of the middle half. */
static float mean_light(const Canvas *c) {
    float sum = 0.0f;
    int n = 0;
    for (int y = c->h / 4; y < 3 * c->h / 4; y++)
        for (int x = c->w / 4; x < 3 * c->w / 4; x++, n++) {
            Rgb p = c->px[(size_t)y * (size_t)c->w + (size_t)x];
            sum += 0.21f * p.r + 0.72f * p.g + 0.07f * p.b;
        }
    return sum / (float)n;
}

/* The camera: exposure, colour cast, focus, noise that grows with the signal. */
static bool develop(Studio *st, const Shot *shot, Error *e) {
    Canvas *c = &st->picture;
    canvas_halve(&st->large, c);
    if (!canvas_blur(c, shot->blur * (float)c->w / 128.0f, e)) return false;
    /* exposed for the middle of the picture, but not all the way: dark stays darker than bright */
    float gain = exp2f(shot->exposure) * powf(0.24f / maxf(mean_light(c), 0.02f), 0.5f);
    Rng r = rng_open(shot->texture, RNG_SYNTH, 3, 0);
    uint32_t start = rng_u32(&r);
    const float *white = st->noise->white;
    for (int i = 0; i < c->w * c->h; i++) {
        Rgb *p = c->px + i;
        /* Three uniforms make a bell; the tile is walked in strides that do not repeat within a picture. */
        uint32_t at = start + (uint32_t)i * 7u;
        const uint32_t mask = NOISE_SIDE * NOISE_SIDE - 1;
        float a = white[at & mask], b = white[(at * 5u + 3u) & mask], d = white[(at * 9u + 11u) & mask];
        float n[3] = {a + b, b + d, d - a};
        float *channel[3] = {&p->r, &p->g, &p->b}, cast[3] = {shot->white.r, shot->white.g, shot->white.b};
        for (int k = 0; k < 3; k++) {
            float x = *channel[k] * gain * cast[k];
            *channel[k] = maxf(x + shot->grain * n[k] * sqrtf(maxf(x, 0.0f) + 0.02f), 0.0f);
        }
    }
    return true;
}

bool studio_shoot(Studio *st, const Person *who, const Shot *shot, Error *e) {
    Scene scene = {
        .studio = st, .face = face_of(who, shot), .look = hair_look(who, st->noise), .strand = who->hair};
    Turn turn = whole_turn(shot, 1.0f), neck = whole_turn(shot, 0.45f), body = whole_turn(shot, 0.25f);
    if (!backdrop_paint(shot, st->noise, &st->back, e)) return false;
    double_backdrop(st);
    aim_camera(st, shot);
    st->light.key = shot->key, st->light.sky = shot->sky, st->light.ground = shot->ground,
    st->light.soft = shot->soft;
    st->light.to_eye = (Vec){0.0f, 0.0f, 1.0f};

    skin_paint(&scene.face, st->noise, &st->paint);
    head_shape(&scene.face, &st->head);
    sheet_turn(&st->head, &turn);
    for (int side = 0; side < 2; side++) {
        ear_shape(&scene.face, &st->ear[side], side ? 1.0f : -1.0f);
        sheet_turn(&st->ear[side], &turn);
    }
    neck_shape(&scene.face, &st->neck);
    sheet_turn(&st->neck, &neck);
    body_shape(&scene.face, &st->body);
    sheet_turn(&st->body, &body);
    hair_base(&scene.face, st->noise, &st->hair_base);
    cast_shadows(st, &scene, &turn);

    /* What is solid first, in any order: the depth buffer saves shading what will be hidden. */
    View *v = &st->camera;
    view_draw(v, &st->head, 1, SIDE_FRONT, shade_head, &scene);
    view_draw(v, &st->body, 1, SIDE_FRONT, shade_body, &scene);
    view_draw(v, &st->neck, 1, SIDE_FRONT, shade_neck, &scene);
    for (int side = 0; side < 2 && !hair_hides_ears(who); side++)
        view_draw(v, &st->ear[side], 1, SIDE_BOTH, shade_ear, &scene);
    if (hair_bun(&scene.face, &st->bun)) {
        scene.level = 1.0f;
        shoot_shell(st, &scene, &st->bun, &turn, v, SIDE_FRONT);
    }
    shoot_hair_back(st, &scene, &turn);
    shoot_glasses(st, &scene, &turn);
    shoot_hair(st, &scene, &turn);
    return develop(st, shot, e);
}

/* ------------------------------------------------------------------ room */

static bool sheets_new(Studio *st, int size, Error *e) {
    int d = size > 160 ? 3 : 2; /* detail: quads of about two pixels on the face */
    const struct {
        Sheet *sheet;
        int rows, cols;
        bool wrap;
    } want[] = {{&st->head, 32 * d + 1, 36 * d, true},
                {&st->ear[0], 12, 24, true},
                {&st->ear[1], 12, 24, true},
                {&st->neck, 12, 32, true},
                {&st->body, 8 * d, 20 * d, true},
                {&st->hair_base, 18 * d + 1, 26 * d, true},
                {&st->hair, 18 * d + 1, 26 * d, true},
                {&st->bun, 12, 20, true},
                {&st->beard_base, 14 * d, 14 * d, false},
                {&st->beard, 14 * d, 14 * d, false},
                {&st->wire, 16 * d, 5, true}};
    for (int i = 0; i < COUNT(want); i++)
        if (!sheet_new(want[i].sheet, want[i].rows, want[i].cols, want[i].wrap, e)) return false;
    st->hair.floor = st->beard.floor = -0.2f; /* no strand strays farther from its outline */
    return true;
}

bool studio_new(Studio *st, int size, const Noise *noise, Error *e) {
    memset(st, 0, sizeof *st);
    if (size < 32 || size > 1024 || size % 2 != 0)
        return error_set(e, ERROR_VALUE, "size: %d must be even, from 32 to 1024", size);
    st->noise = noise;
    int big = 2 * size;
    bool ok = canvas_new(&st->picture, size, size, e) && canvas_new(&st->large, big, big, e) &&
              canvas_new(&st->layer, big, big, e) && plane_new(&st->veil, big, big, e) &&
              plane_new(&st->depth, big, big, e) && canvas_new(&st->skin, big * 8 / 10, big, e) &&
              brush_new(&st->paint, &st->skin, e) && brush_new(&st->back, &st->picture, e) &&
              light_new(&st->light, size + size / 4, e) && sheets_new(st, size, e);
    st->camera = (View){.w = big,
                        .h = big,
                        .depth = st->depth.v,
                        .colour = st->large.px,
                        .right = {1.0f, 0.0f, 0.0f},
                        .up = {0.0f, 1.0f, 0.0f},
                        .toward = {0.0f, 0.0f, 1.0f},
                        .distance = 7.0f};
    if (!ok) studio_free(st);
    return ok;
}

void studio_free(Studio *st) {
    Sheet *sheets[] = {&st->head, &st->ear[0], &st->ear[1],     &st->neck,  &st->body, &st->hair_base,
                       &st->hair, &st->bun,    &st->beard_base, &st->beard, &st->wire};
    for (int i = 0; i < COUNT(sheets); i++) sheet_free(sheets[i]);
    canvas_free(&st->picture);
    canvas_free(&st->large);
    canvas_free(&st->layer);
    canvas_free(&st->skin);
    plane_free(&st->veil);
    plane_free(&st->depth);
    brush_free(&st->paint);
    brush_free(&st->back);
    light_free(&st->light);
}
