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
    light->half = vec_unit(vec_plus(light->to_key, light->to_eye));
    view_clear(v);
}

float light_reach(const Light *light, Vec at, Vec normal) {
    static const float tap[6][2] = {{0.3f, 0.1f},  {-0.2f, -0.3f}, {1.0f, -0.4f},
                                    {-0.3f, 1.0f}, {-1.0f, 0.4f},  {0.4f, -1.0f}};
    const View *v = &light->lamp;
    Vec p = view_project(v, vec_plus(at, vec_scale(normal, 0.03f)));
    float lit = 0.0f, step = light->soft;
    for (int i = 0; i < COUNT(tap); i++) {
        int x = (int)(p.x + step * tap[i][0]), y = (int)(p.y + step * tap[i][1]);
        bool outside = x < 0 || y < 0 || x >= v->w || y >= v->h;
        float hidden = outside ? 0.0f : v->depth[(size_t)y * (size_t)v->w + (size_t)x] - p.z;
        lit += smoothf(0.07f, 0.03f, hidden);
    }
    return lit / (float)COUNT(tap);
}

Rgb light_ambient(const Light *light, Vec normal) {
    return rgb_mix(light->ground, light->sky, 0.5f + 0.5f * normal.y);
}

/* x to the power 2^n: highlights need no other powers. */
static float squared(float x, int n) {
    while (n-- > 0) x *= x;
    return x;
}

static float glint(const Light *light, Vec normal, int n) {
    return squared(maxf(vec_dot(normal, light->half), 0.0f), n);
}

static float rim(const Light *light, Vec normal) {
    float facing = clampf(vec_dot(normal, light->to_eye), 0.0f, 1.0f), k = 1.0f - facing;
    return k * k * k * k;
}

Rgb light_skin(const Light *light, Vec at, Vec normal, Rgb albedo, float gloss, float open) {
    float d = vec_dot(normal, light->to_key), reach = light_reach(light, at, normal);
    Rgb lit = {maxf((d + 0.28f) / 1.28f, 0.0f), maxf((d + 0.13f) / 1.13f, 0.0f),
               maxf((d + 0.10f) / 1.10f, 0.0f)};
    lit = rgb_times(lit, (Rgb){mixf(0.10f, 1.0f, reach), mixf(0.03f, 1.0f, reach), mixf(0.02f, 1.0f, reach)});
    Rgb ambient = rgb_scale(light_ambient(light, normal), open);
    Rgb colour = rgb_times(albedo, rgb_plus(rgb_times(light->key, lit), ambient));
    float spec =
        reach * maxf(d, 0.0f) * gloss * (0.030f * glint(light, normal, 4) + 0.045f * glint(light, normal, 6));
    colour = rgb_plus(colour, rgb_scale(light->key, spec));
    return rgb_plus(colour, rgb_scale(light->sky, 0.07f * rim(light, normal) * open));
}

Rgb light_cloth(const Light *light, Vec at, Vec normal, Rgb albedo) {
    float d = maxf((vec_dot(normal, light->to_key) + 0.1f) / 1.1f, 0.0f) * light_reach(light, at, normal);
    Rgb colour = rgb_times(albedo, rgb_plus(rgb_scale(light->key, d), light_ambient(light, normal)));
    return rgb_plus(colour, rgb_scale(rgb_times(albedo, light->sky), 0.5f * rim(light, normal)));
}

Rgb light_plastic(const Light *light, Vec at, Vec normal, Rgb albedo, float shine) {
    float d = maxf(vec_dot(normal, light->to_key), 0.0f) * light_reach(light, at, normal);
    Rgb colour = rgb_times(albedo, rgb_plus(rgb_scale(light->key, d), light_ambient(light, normal)));
    return rgb_plus(colour, rgb_scale(light->key, shine * glint(light, normal, 5)));
}

Rgb light_hair(const Light *light, Vec normal, Vec flow, Rgb albedo, float shift, float shine, float reach) {
    Vec along = vec_unit(vec_plus(flow, vec_scale(normal, shift)));
    float d = vec_dot(normal, light->to_key), c = vec_dot(along, light->to_key),
          h = vec_dot(along, light->half);
    float wrap = clampf((d + 0.35f) / 1.35f, 0.0f, 1.0f);
    float diffuse = wrap * (0.35f + 0.65f * sqrtf(maxf(1.0f - c * c, 0.0f))) * reach;
    Rgb colour = rgb_times(albedo, rgb_plus(rgb_scale(light->key, diffuse), light_ambient(light, normal)));
    float lit = reach * clampf(d + 0.3f, 0.0f, 1.0f) * shine;
    float wide = squared(maxf(1.0f - h * h, 0.0f), 3),
          narrow = squared(wide, 3); /* sine to the 16th, 128th */
    Rgb second = rgb_plus(rgb_scale(albedo, 0.8f * wide), (Rgb){0.010f * wide, 0.008f * wide, 0.006f * wide});
    Rgb glow = {second.r + 0.04f * narrow, second.g + 0.04f * narrow, second.b + 0.04f * narrow};
    return rgb_plus(colour, rgb_scale(rgb_times(light->key, glow), lit));
}
