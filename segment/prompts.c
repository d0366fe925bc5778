#include "segment/prompts.h"

#include <math.h>
#include <string.h>

enum { INSIDE = 128 }; /* and more: batch.h */
static const real BAR = 1e6F;

const uint8_t *prompt_mask(const Step *s, const Segment *m, int64_t o) {
    return s->batch->mask + o * m->sam.side * m->sam.side;
}

const uint8_t *prompt_goal(const Step *s, const Segment *m, int64_t o) {
    const uint8_t *mask = s->batch->goal_mask ? s->batch->goal_mask : s->batch->mask;
    return mask + o * m->sam.side * m->sam.side;
}

Rng prompt_rng(const Step *s, int64_t o, PromptPurpose purpose) {
    int64_t each = s->batch->each;
    return rng_sub(rng_open(s->seed, RNG_PROMPT, s->batch->epoch, (uint64_t)s->batch->id[o / each]),
                   (uint32_t)(o % each * PROMPT_PURPOSES + purpose));
}

PromptBox prompt_box(const uint8_t *mask, int64_t side, int inside) {
    PromptBox b = {.x0 = side, .y0 = side};
    for (int64_t y = 0; y < side; y++) {
        int64_t before = b.area;
        for (int64_t x = 0; x < side; x++) {
            if (mask[y * side + x] < inside) continue;
            b.area++;
            if (x < b.x0) b.x0 = x;
            if (x > b.x1) b.x1 = x;
        }
        if (b.area == before) continue;
        if (before == 0) b.y0 = y;
        b.y1 = y;
    }
    return b;
}

void prompt_point(Tensor *point, Tensor *label, int64_t at, double x, double y, int32_t kind, int64_t side) {
    real *p = tensor_real(point) + 3 * at;
    bool padding = kind < 0;
    p[0] = padding ? 0 : (real)((x + 0.5) / (double)side);
    p[1] = padding ? 0 : (real)((y + 0.5) / (double)side);
    p[2] = padding ? 0 : 1;
    tensor_i32(label)[at] = kind;
}

static double clamped(double v, double lo, double hi) {
    return v < lo ? lo : v > hi ? hi : v;
}

/* A corner's coordinate: as it is, with noise in proportion to the side it belongs to. */
static double noisy(const Segment *m, Rng *r, int64_t at, int64_t from, int64_t to) {
    double most = m->set.box_noise_max;
    double noise = clamped(rng_normal(r) * m->set.box_noise * (double)(to - from + 1), -most, most);
    return clamped((double)at + noise, 0, (double)(m->sam.side - 1));
}

/* Pixel number n of those inside, by rows. */
static int64_t inside_find(const uint8_t *mask, int64_t n) {
    int64_t at = -1;
    do n -= mask[++at] >= INSIDE;
    while (n >= 0);
    return at;
}

/* The two tokens of object o's first prompt. Returns whether it is a box. */
static bool head_fill(const Segment *m, Rng *r, const uint8_t *mask, PromptBox b, Tensor *const *host,
                      int64_t o) {
    int64_t side = m->sam.side;
    Tensor *point = host[FIRST_POINT], *label = host[FIRST_LABEL];
    bool box = rng_uniform(r) < m->set.box_share;
    for (int64_t k = 0; k < 2; k++) prompt_point(point, label, 2 * o + k, 0, 0, -1, side);
    if (b.area == 0) return box;
    if (box) {
        double x0 = noisy(m, r, b.x0, b.x0, b.x1), y0 = noisy(m, r, b.y0, b.y0, b.y1);
        double x1 = noisy(m, r, b.x1, b.x0, b.x1), y1 = noisy(m, r, b.y1, b.y0, b.y1);
        prompt_point(point, label, 2 * o, x0, y0, 2, side);
        prompt_point(point, label, 2 * o + 1, x1, y1, 3, side);
    } else {
        int64_t at = inside_find(mask, (int64_t)rng_below(r, (uint64_t)b.area));
        prompt_point(point, label, 2 * o, (double)(at % side), (double)(at / side), 1, side);
    }
    return box;
}

/* Inside where at least half of the block is, soft borders counted as what they are: a block is seldom in
 * doubt then, so that masks do not grow by those that are. */
static void target_fill(const uint8_t *mask, int64_t side, real *out, int64_t to) {
    int64_t block = side / to, half = 255 * block * block;
    for (int64_t y = 0; y < to; y++)
        for (int64_t x = 0; x < to; x++) {
            int64_t inside = 0;
            for (int64_t i = 0; i < block * block; i++)
                inside += mask[(y * block + i / block) * side + x * block + i % block];
            out[y * to + x] = 2 * inside >= half ? 1 : 0;
        }
}

static void first_fill(const Step *s, const void *self, Tensor *const *host) {
    const Segment *m = self;
    int64_t n = host[FIRST_WEIGHT]->dim[0], side = m->loss_side, draws = host[FIRST_DRAW]->dim[0];
    for (int64_t o = 0; o < n; o++) {
        Rng r = prompt_rng(s, o, PROMPT_FIRST);
        const uint8_t *mask = prompt_mask(s, m, o);
        PromptBox b = prompt_box(mask, m->sam.side, INSIDE);
        bool box = head_fill(m, &r, mask, b, host, o);
        for (int64_t k = 0; k < 4; k++) {
            bool answers = box ? k == 0 : k > 0;
            tensor_real(host[FIRST_BAR])[4 * o + k] = answers ? 0 : BAR;
            tensor_real(host[FIRST_SHARE])[4 * o + k] = !answers ? 0 : box ? 1 : (real)1 / 3;
        }
        for (int64_t k = 0; k < draws; k++) tensor_real(host[FIRST_DRAW])[k * n + o] = rng_uniformf(&r);
        tensor_real(host[FIRST_WEIGHT])[o] = b.area > 0;
        target_fill(prompt_goal(s, m, o), m->sam.side, tensor_real(host[FIRST_TARGET]) + o * side * side,
                    side);
        tensor_i32(host[FIRST_OF])[o] = (int32_t)(o / s->batch->each);
    }
}

void prompts_first(Step *s, const Segment *m, int64_t images, int64_t each, Tensor *out[FIRST_GIVEN]) {
    int64_t n = images * each, draws = m->set.rounds > 1 ? m->set.rounds - 1 : 1;
    const Tensor like[FIRST_GIVEN] = {
        [FIRST_POINT] = {.dtype = DT_F32, .ndim = 3, .dim = {n, 2, 3}},
        [FIRST_LABEL] = {.dtype = DT_I32, .ndim = 2, .dim = {n, 2}},
        [FIRST_DRAW] = {.dtype = DT_F32, .ndim = 2, .dim = {draws, n}},
        [FIRST_BAR] = {.dtype = DT_F32, .ndim = 2, .dim = {n, 4}},
        [FIRST_SHARE] = {.dtype = DT_F32, .ndim = 2, .dim = {n, 4}},
        [FIRST_WEIGHT] = {.dtype = DT_F32, .ndim = 1, .dim = {n}},
        [FIRST_TARGET] = {.dtype = DT_F32, .ndim = 3, .dim = {n, m->loss_side, m->loss_side}},
        [FIRST_OF] = {.dtype = DT_I32, .ndim = 2, .dim = {1, n}},
    };
    step_given(s, FIRST_GIVEN, out, like, first_fill, m);
}
