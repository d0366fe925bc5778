/* RandAugment (Cubuk et al. 2020) as timm 0.3.2 has it under "rand-m9-mstd0.5-inc1". */
#include "data/affine.h"
#include "data/augment.h"
#include "data/tone.h"

enum { LEVELS = 10 }; /* magnitudes run from 0 to 10 */

typedef struct Pair {
    Image *im, *other; /* the result, and room for the next */
    const uint8_t *fill;
} Pair;

static double sign(Rng *r, double v) {
    return rng_uniform(r) > 0.5 ? -v : v;
}

static bool transform(Pair *p, const double m[6], Error *e) {
    if (!affine_run(p->other, p->im, m, p->fill, e)) return false;
    Image t = *p->im;
    *p->im = *p->other;
    *p->other = t;
    return true;
}

/* Each takes the magnitude as a share of the largest, 0 to 1. */
static bool run_autocontrast(Pair *p, Rng *r, double m, Error *e) {
    (void)r, (void)m, (void)e;
    tone_autocontrast(p->im);
    return true;
}

static bool run_equalize(Pair *p, Rng *r, double m, Error *e) {
    (void)r, (void)m, (void)e;
    tone_equalize(p->im);
    return true;
}

static bool run_invert(Pair *p, Rng *r, double m, Error *e) {
    (void)r, (void)m, (void)e;
    tone_invert(p->im);
    return true;
}

static bool run_rotate(Pair *p, Rng *r, double m, Error *e) {
    double degrees = sign(r, m * 30.0), matrix[6];
    if (degrees == 0.0) return true;
    affine_rotation(matrix, degrees, p->im->width, p->im->height);
    return transform(p, matrix, e);
}

static bool run_posterize(Pair *p, Rng *r, double m, Error *e) {
    (void)r, (void)e;
    tone_posterize(p->im, 4 - (int)(m * 4.0));
    return true;
}

static bool run_solarize(Pair *p, Rng *r, double m, Error *e) {
    (void)r, (void)e;
    tone_solarize(p->im, 256 - (int)(m * 256.0));
    return true;
}

static bool run_solarize_add(Pair *p, Rng *r, double m, Error *e) {
    (void)r, (void)e;
    tone_solarize_add(p->im, (int)(m * 110.0));
    return true;
}

static double factor(Rng *r, double m) {
    return 1.0 + sign(r, m * 0.9);
}

static bool run_saturation(Pair *p, Rng *r, double m, Error *e) {
    (void)e;
    tone_saturation(p->im, factor(r, m));
    return true;
}

static bool run_contrast(Pair *p, Rng *r, double m, Error *e) {
    (void)e;
    tone_contrast(p->im, factor(r, m));
    return true;
}

static bool run_brightness(Pair *p, Rng *r, double m, Error *e) {
    (void)e;
    tone_brightness(p->im, factor(r, m));
    return true;
}

static bool run_sharpness(Pair *p, Rng *r, double m, Error *e) {
    return tone_sharpness(p->im, factor(r, m), p->other, e);
}

static bool run_shear_x(Pair *p, Rng *r, double m, Error *e) {
    return transform(p, (const double[6]){1, sign(r, m * 0.3), 0, 0, 1, 0}, e);
}

static bool run_shear_y(Pair *p, Rng *r, double m, Error *e) {
    return transform(p, (const double[6]){1, 0, 0, sign(r, m * 0.3), 1, 0}, e);
}

static bool run_shift_x(Pair *p, Rng *r, double m, Error *e) {
    return transform(p, (const double[6]){1, 0, sign(r, m * 0.45) * p->im->width, 0, 1, 0}, e);
}

static bool run_shift_y(Pair *p, Rng *r, double m, Error *e) {
    return transform(p, (const double[6]){1, 0, 0, 0, 1, sign(r, m * 0.45) * p->im->height}, e);
}

static bool (*const operation[])(Pair *, Rng *, double, Error *) = {
    run_autocontrast, run_equalize,     run_invert,     run_rotate,   run_posterize,
    run_solarize,     run_solarize_add, run_saturation, run_contrast, run_brightness,
    run_sharpness,    run_shear_x,      run_shear_y,    run_shift_x,  run_shift_y,
};

bool augment_randaugment(Rng *r, const DataSettings *set, const uint8_t fill[3], Image *im, Image *other,
                         Error *e) {
    Pair p = {im, other, fill};
    for (int64_t i = 0; i < set->randaugment_ops; i++) {
        uint64_t which = rng_below(r, COUNT(operation));
        if (rng_uniform(r) > 0.5) continue;
        double level = set->randaugment + set->randaugment_std * rng_normal(r);
        level = level < 0.0 ? 0.0 : level > LEVELS ? LEVELS : level;
        if (!operation[which](&p, r, level / LEVELS, e)) return false;
    }
    return true;
}
