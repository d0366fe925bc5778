#include "data/synth_light.h"

bool light_new(Light *light, int side, Error *e) {
    *light = (Light){.lamp = {.w = side, .h = side}};
    size_t size = (size_t)side * (size_t)side * sizeof(float);
    light->lamp.depth = mem_get(size);
    return light->lamp.depth ? true : error_memory(e, size);
}

void light_free(Light *light) {
    mem_free(light->lamp.depth);
    *light = (Light){0};
}

void light_aim(Light *light, Vec to_key, Vec middle, float radius) {
    View *v = &light->lamp;
    light->to_key = v->toward = vec_unit(to_key);
    v->right = vec_unit(vec_cross((Vec){0.0f, 1.0f, 0.0f}, v->toward));
    v->up = vec_cross(v->toward, v->right);
    v->distance = 0.0f;
    v->scale = 0.5f * (float)v->w / radius;
    v->cx = 0.5f * (float)v->w - v->scale * vec_dot(middle, v->right);
    v->cy = 0.5f * (float)v->h + v->scale * vec_dot(middle, v->up);
    view_clear(v);
}

float light_reach(const Light *light, Vec at, Vec normal) {
    const View *v = &light->lamp;
    Vec p = view_project(v, vec_plus(at, vec_scale(normal, 0.03f)));
    float lit = 0.0f, step = light->soft;
    for (int j = -1; j <= 1; j++)
        for (int i = -1; i <= 1; i++) {
            /* every other tap is turned by a pixel-dependent amount of the lattice, which hides the steps */
            int x = (int)(p.x + step * (float)i), y = (int)(p.y + step * (float)j);
            if (x < 0 || y < 0 || x >= v->w || y >= v->h) {
                lit += 1.0f;
                continue;
            }
            float hidden = v->depth[(size_t)y * (size_t)v->w + (size_t)x] - p.z;
            lit += smoothf(0.07f, 0.03f, hidden);
        }
    return lit / 9.0f;
}

Rgb light_ambient(const Light *light, Vec normal) {
    return rgb_mix(light->ground, light->sky, 0.5f + 0.5f * normal.y);
}

static float glint(const Light *light, Vec normal, float power) {
    Vec half = vec_unit(vec_plus(light->to_key, light->to_eye));
    return powf(fmaxf(vec_dot(normal, half), 0.0f), power);
}

static float rim(const Light *light, Vec normal) {
    float facing = clampf(vec_dot(normal, light->to_eye), 0.0f, 1.0f), k = 1.0f - facing;
    return k * k * k * k;
}

Rgb light_skin(const Light *light, Vec at, Vec normal, Rgb albedo, float gloss, float open) {
    float d = vec_dot(normal, light->to_key), reach = light_reach(light, at, normal);
    Rgb lit = {fmaxf((d + 0.28f) / 1.28f, 0.0f), fmaxf((d + 0.13f) / 1.13f, 0.0f),
               fmaxf((d + 0.10f) / 1.10f, 0.0f)};
    lit = rgb_times(lit, (Rgb){mixf(0.10f, 1.0f, reach), mixf(0.03f, 1.0f, reach), mixf(0.02f, 1.0f, reach)});
    Rgb ambient = rgb_scale(light_ambient(light, normal), open);
    Rgb colour = rgb_times(albedo, rgb_plus(rgb_times(light->key, lit), ambient));
    float spec = reach * fmaxf(d, 0.0f) * gloss *
                 (0.030f * glint(light, normal, 12.0f) + 0.045f * glint(light, normal, 50.0f));
    colour = rgb_plus(colour, rgb_scale(light->key, spec));
    return rgb_plus(colour, rgb_scale(light->sky, 0.07f * rim(light, normal) * open));
}

Rgb light_cloth(const Light *light, Vec at, Vec normal, Rgb albedo) {
    float d = fmaxf((vec_dot(normal, light->to_key) + 0.1f) / 1.1f, 0.0f) * light_reach(light, at, normal);
    Rgb colour = rgb_times(albedo, rgb_plus(rgb_scale(light->key, d), light_ambient(light, normal)));
    return rgb_plus(colour, rgb_scale(rgb_times(albedo, light->sky), 0.5f * rim(light, normal)));
}

Rgb light_plastic(const Light *light, Vec at, Vec normal, Rgb albedo, float shine) {
    float d = fmaxf(vec_dot(normal, light->to_key), 0.0f) * light_reach(light, at, normal);
    Rgb colour = rgb_times(albedo, rgb_plus(rgb_scale(light->key, d), light_ambient(light, normal)));
    return rgb_plus(colour, rgb_scale(light->key, shine * glint(light, normal, 40.0f)));
}

static float strand(Vec flow, Vec half, float power) {
    float c = vec_dot(flow, half), s = sqrtf(fmaxf(1.0f - c * c, 0.0f));
    return powf(s, power);
}

Rgb light_hair(const Light *light, Vec at, Vec normal, Vec flow, Rgb albedo, float shift, float shine) {
    Vec along = vec_unit(vec_plus(flow, vec_scale(normal, shift))),
        half = vec_unit(vec_plus(light->to_key, light->to_eye));
    float d = vec_dot(normal, light->to_key), c = vec_dot(along, light->to_key),
          reach = light_reach(light, at, normal);
    float wrap = clampf((d + 0.35f) / 1.35f, 0.0f, 1.0f);
    float diffuse = wrap * (0.35f + 0.65f * sqrtf(fmaxf(1.0f - c * c, 0.0f))) * reach;
    Rgb colour = rgb_times(albedo, rgb_plus(rgb_scale(light->key, diffuse), light_ambient(light, normal)));
    float lit = reach * clampf(d + 0.3f, 0.0f, 1.0f) * shine;
    Rgb first = {0.035f, 0.035f, 0.036f},
        second = rgb_plus(rgb_scale(albedo, 0.8f), (Rgb){0.010f, 0.008f, 0.006f});
    Rgb glow =
        rgb_plus(rgb_scale(first, strand(along, half, 90.0f)), rgb_scale(second, strand(along, half, 16.0f)));
    return rgb_plus(colour, rgb_scale(rgb_times(light->key, glow), lit));
}
