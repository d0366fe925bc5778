#include "data/mix.h"

#include <math.h>

bool mix_wanted(const DataSettings *set) {
    return (set->mixup > 0.0 || set->cutmix > 0.0) && set->mix_prob > 0.0;
}

static int limit(int v, int size) {
    return v < 0 ? 0 : v > size ? size : v;
}

static void draw_box(Mix *m, Rng *r, int size) {
    int side = (int)(size * sqrt(1.0 - m->lambda));
    int y = (int)rng_below(r, (uint64_t)size), x = (int)rng_below(r, (uint64_t)size);
    m->top = limit(y - side / 2, size);
    m->bottom = limit(y + side / 2, size);
    m->left = limit(x - side / 2, size);
    m->right = limit(x + side / 2, size);
    double area = (double)(m->bottom - m->top) * (m->right - m->left);
    m->lambda = 1.0 - area / ((double)size * size); /* clipping at the border changes the share */
}

Mix mix_draw(const DataSettings *set, uint64_t seed, uint32_t epoch, int64_t first, int size) {
    Mix m = {.lambda = 1.0};
    Rng r = rng_open(seed, RNG_MIX, epoch, (uint64_t)first);
    if (!mix_wanted(set) || rng_uniform(&r) >= set->mix_prob) return m;
    bool both = set->mixup > 0.0 && set->cutmix > 0.0;
    m.cut = both ? rng_uniform(&r) < set->mix_switch : set->cutmix > 0.0;
    double alpha = m.cut ? set->cutmix : set->mixup;
    m.lambda = rng_beta(&r, alpha, alpha);
    if (m.cut) draw_box(&m, &r, size);
    return m;
}

static void blend(float *a, float *b, size_t n, float lambda) {
    for (size_t i = 0; i < n; i++) {
        float x = a[i], y = b[i];
        a[i] = x * lambda + y * (1.0f - lambda);
        b[i] = y * lambda + x * (1.0f - lambda);
    }
}

static void exchange(const Mix *m, float *a, float *b, int size) {
    for (int c = 0; c < 3; c++)
        for (int y = m->top; y < m->bottom; y++)
            for (int x = m->left; x < m->right; x++) {
                size_t at = ((size_t)c * (size_t)size + (size_t)y) * (size_t)size + (size_t)x;
                float t = a[at];
                a[at] = b[at];
                b[at] = t;
            }
}

void mix_images(const Mix *m, float *image, int n, int size) {
    size_t each = (size_t)3 * (size_t)size * (size_t)size;
    if (m->lambda == 1.0) return;
    for (int i = 0; i < n / 2; i++) {
        float *a = image + (size_t)i * each, *b = image + (size_t)(n - 1 - i) * each;
        if (m->cut) {
            exchange(m, a, b, size);
        } else {
            blend(a, b, each, (float)m->lambda);
        }
    }
}

void mix_targets(const Mix *m, double smoothing, const int32_t *label, float *target, int n, int classes) {
    float off = (float)(smoothing / classes), on = (float)(1.0 - smoothing) + off, lambda = (float)m->lambda;
    for (int i = 0; i < n; i++) {
        int mine = label[i], other = label[n - 1 - i];
        float *row = target + (size_t)i * (size_t)classes;
        for (int k = 0; k < classes; k++)
            row[k] = (k == mine ? on : off) * lambda + (k == other ? on : off) * (1.0f - lambda);
    }
}
