/* The prompts of HQ-SAM's training, and where its masks are compared. */
#include "segment/prompts.h"

#include <math.h>
#include <string.h>

enum {
    INSIDE = 129, /* and more, in the reference */
    FINE = 4,     /* a mask prompt's pixel is so many of the image's */
    COARSE = 8    /* how much smaller the mask is whose border is told from the mask's */
};

static int64_t objects_of(const Segment *m) {
    return m->order.count[HQ_BOX] + m->order.count[HQ_POINTS] + m->order.count[HQ_MASK];
}

/* Where the objects of a kind begin. */
static const int32_t *objects_at(const Segment *m, HqKind kind) {
    const int32_t *at = m->order.object;
    for (int k = 0; k < (int)kind; k++) at += m->order.count[k];
    return at;
}

static int64_t area_of(const uint8_t *mask, int64_t pixels) {
    int64_t area = 0;
    for (int64_t i = 0; i < pixels; i++) area += mask[i] >= INSIDE;
    return area;
}

/* The reference leaves points out for a whole batch in which one mask has too few; here for that mask alone,
 * so that the choice does not depend on how a batch is shared. */
static HqKind kind_draw(const Step *s, const Segment *m, int64_t o) {
    int64_t area = area_of(prompt_mask(s, m, o), m->sam.side * m->sam.side);
    const double part[HQ_KINDS] = {[HQ_BOX] = area > 0 ? m->set.hq_box : 0,
                                   [HQ_POINTS] = area >= m->set.clicks ? m->set.hq_points : 0,
                                   [HQ_MASK] = m->set.hq_mask};
    Rng r = prompt_rng(s, o, PROMPT_KIND);
    double at = rng_uniform(&r) * (part[HQ_BOX] + part[HQ_POINTS] + part[HQ_MASK]);
    for (int k = 0; k < HQ_KINDS; k++) {
        if (at < part[k]) return (HqKind)k;
        at -= part[k];
    }
    return HQ_MASK;
}

void prompts_hq_order(const Step *s, Segment *m, int64_t images, int64_t each) {
    HqOrder *order = &m->order;
    int64_t n = images * each;
    memset(order->count, 0, sizeof order->count);
    if (s->dry) {
        for (int k = 0; k < HQ_KINDS; k++) order->count[k] = (n + k) / HQ_KINDS;
        return;
    }
    if (order->room < (size_t)n) {
        order->object = mem_resize(order->object, 2 * (size_t)n * sizeof *order->object);
        if (!order->object) die("out of memory for the order of %lld masks", (long long)n);
        order->room = (size_t)n;
    }
    int32_t *kind = order->object + n; /* the memory's second half */
    for (int64_t o = 0; o < n; o++) kind[o] = (int32_t)kind_draw(s, m, o);
    int64_t at = 0;
    for (int k = 0; k < HQ_KINDS; k++)
        for (int64_t o = 0; o < n; o++) {
            if (kind[o] != k) continue;
            order->object[at++] = (int32_t)o;
            order->count[k]++;
        }
}

static void of_fill(const Step *s, const int32_t *object, Tensor *of) {
    for (int64_t i = 0; i < of->dim[1]; i++) tensor_i32(of)[i] = (int32_t)(object[i] / s->batch->each);
}

/* host: of, point, label */
static void box_fill(const Step *s, const void *self, Tensor *const *host) {
    const Segment *m = self;
    const int32_t *object = objects_at(m, HQ_BOX);
    of_fill(s, object, host[0]);
    for (int64_t i = 0; i < host[0]->dim[1]; i++) {
        PromptBox b = prompt_box(prompt_mask(s, m, object[i]), m->sam.side, INSIDE);
        prompt_point(host[1], host[2], 2 * i, (double)b.x0, (double)b.y0, 2, m->sam.side);
        prompt_point(host[1], host[2], 2 * i + 1, (double)b.x1, (double)b.y1, 3, m->sam.side);
    }
}

/* n different numbers below `area`. */
static void ranks_draw(Rng *r, int64_t *rank, int64_t n, int64_t area) {
    for (int64_t k = 0; k < n; k++) {
        bool taken = true;
        while (taken) {
            rank[k] = (int64_t)rng_below(r, (uint64_t)area);
            taken = false;
            for (int64_t j = 0; j < k && !taken; j++) taken = rank[j] == rank[k];
        }
    }
}

/* Points inside, none twice, and padding. */
static void points_fill(const Step *s, const void *self, Tensor *const *host) {
    const Segment *m = self;
    const int32_t *object = objects_at(m, HQ_POINTS);
    int64_t n = m->set.clicks, side = m->sam.side, rank[SEGMENT_CLICKS];
    of_fill(s, object, host[0]);
    for (int64_t i = 0; i < host[0]->dim[1]; i++) {
        const uint8_t *mask = prompt_mask(s, m, object[i]);
        Rng r = prompt_rng(s, object[i], PROMPT_HQ);
        ranks_draw(&r, rank, n, area_of(mask, side * side));
        int64_t seen = 0;
        for (int64_t at = 0; at < side * side; at++) {
            if (mask[at] < INSIDE) continue;
            for (int64_t k = 0; k < n; k++)
                if (rank[k] == seen)
                    prompt_point(host[1], host[2], i * (n + 1) + k, (double)(at % side), (double)(at / side),
                                 1, side);
            seen++;
        }
        prompt_point(host[1], host[2], i * (n + 1) + n, 0, 0, -1, side);
    }
}

/* The mean of the four pixels in the middle of each block: what torch's bilinear interpolation takes when it
 * shrinks by an even number. */
static void shrink_bytes(const uint8_t *mask, int64_t side, int64_t block, real *out) {
    int64_t to = side / block;
    for (int64_t y = 0; y < to; y++)
        for (int64_t x = 0; x < to; x++) {
            const uint8_t *p = mask + (y * block + block / 2 - 1) * side + x * block + block / 2 - 1;
            out[y * to + x] = (real)(p[0] + p[1] + p[side] + p[side + 1]) / (4 * 255);
        }
}

static void shrink_reals(const real *from, int64_t side, int64_t block, real *out) {
    int64_t to = side / block;
    for (int64_t y = 0; y < to; y++)
        for (int64_t x = 0; x < to; x++) {
            const real *p = from + (y * block + block / 2 - 1) * side + x * block + block / 2 - 1;
            out[y * to + x] = (p[0] + p[1] + p[side] + p[side + 1]) / 4;
        }
}

/* Where pixel i of the larger picture lies in the smaller: between at and at + 1, `part` of the way. */
static int64_t between(int64_t i, int64_t size, real *part, int64_t *next) {
    real v = ((real)i + (real)0.5) / COARSE - (real)0.5;
    if (v < 0) v = 0;
    int64_t at = (int64_t)v;
    *part = v - (real)at;
    *next = at + 1 < size ? at + 1 : at;
    return at;
}

/* What the mask would be if it had been shrunk and enlarged again, at pixel (y, x). */
static real coarse_at(const real *small, int64_t size, int64_t y, int64_t x) {
    real py, px;
    int64_t y1, x1, y0 = between(y, size, &py, &y1), x0 = between(x, size, &px, &x1);
    real above = small[y0 * size + x0] * (1 - px) + small[y0 * size + x1] * px;
    real below = small[y1 * size + x0] * (1 - px) + small[y1 * size + x1] * px;
    return above * (1 - py) + below * py;
}

/* host: of, mask. Where the mask has detail, noise decides. Values 0 and 255, though logits are meant. */
static void mask_fill(const Step *s, const void *self, Tensor *const *host) {
    const Segment *m = self;
    const int32_t *object = objects_at(m, HQ_MASK);
    int64_t low = m->low, size = low / COARSE;
    of_fill(s, object, host[0]);
    for (int64_t i = 0; i < host[0]->dim[1]; i++) {
        real *out = tensor_real(host[1]) + i * low * low;
        Rng r = prompt_rng(s, object[i], PROMPT_HQ);
        shrink_bytes(prompt_mask(s, m, object[i]), m->sam.side, FINE, out);
        shrink_reals(out, low, COARSE, m->small);
        for (int64_t at = 0; at < low * low; at++) {
            bool detail = fabsf(out[at] - coarse_at(m->small, size, at / low, at % low)) >= 0.01F;
            real v = detail ? out[at] + (real)rng_normal(&r) : out[at];
            out[at] = v > (real)0.5 ? 255 : 0;
        }
    }
}

SamPrompt prompts_hq(Step *s, const Segment *m, HqKind kind, Tensor **of) {
    int64_t n = m->order.count[kind], points = kind == HQ_BOX ? 2 : m->set.clicks + 1;
    Tensor *t[3], like[3] = {{.dtype = DT_I32, .ndim = 2, .dim = {1, n}},
                             {.dtype = DT_F32, .ndim = 3, .dim = {n, points, 3}},
                             {.dtype = DT_I32, .ndim = 2, .dim = {n, points}}};
    if (kind == HQ_MASK) {
        like[1] = (Tensor){.dtype = DT_F32, .ndim = 4, .dim = {n, 1, m->low, m->low}};
        step_given(s, 2, t, like, mask_fill, m);
        *of = t[0];
        return (SamPrompt){.mask = t[1]};
    }
    step_given(s, 3, t, like, kind == HQ_BOX ? box_fill : points_fill, m);
    *of = t[0];
    return (SamPrompt){.point = t[1], .label = t[2]};
}

int64_t prompts_hq_uncertain(const Segment *m) {
    return (int64_t)(m->set.uncertain * (double)m->set.points);
}

static void places_fill(const Step *s, const void *self, Tensor *const *host) {
    const Segment *m = self;
    int64_t pixels = m->sam.side * m->sam.side, n = host[PLACES_DRAWN]->dim[0],
            drawn = 2 * host[PLACES_DRAWN]->dim[1], any = 2 * host[PLACES_ANY]->dim[1];
    for (int64_t i = 0; i < n; i++) {
        int64_t o = m->order.object[i];
        const uint8_t *mask = prompt_goal(s, m, o);
        Rng r = prompt_rng(s, o, PROMPT_PLACES);
        for (int64_t k = 0; k < drawn; k++) tensor_real(host[PLACES_DRAWN])[i * drawn + k] = rng_uniformf(&r);
        for (int64_t k = 0; k < any; k++) tensor_real(host[PLACES_ANY])[i * any + k] = rng_uniformf(&r);
        real *target = tensor_real(host[PLACES_TARGET]) + i * pixels;
        for (int64_t k = 0; k < pixels; k++) target[k] = (real)mask[k] / 255;
        tensor_real(host[PLACES_WEIGHT])[i] = area_of(mask, pixels) > 0;
    }
}

void prompts_hq_places(Step *s, const Segment *m, Tensor *out[PLACES_GIVEN]) {
    int64_t n = objects_of(m), points = m->set.points, drawn = (int64_t)(m->set.oversample * (double)points),
            any = points - prompts_hq_uncertain(m);
    const Tensor like[PLACES_GIVEN] = {
        [PLACES_DRAWN] = {.dtype = DT_F32, .ndim = 3, .dim = {n, drawn, 2}},
        [PLACES_ANY] = {.dtype = DT_F32, .ndim = 3, .dim = {n, any > 0 ? any : 1, 2}},
        [PLACES_TARGET] = {.dtype = DT_F32, .ndim = 4, .dim = {n, 1, m->sam.side, m->sam.side}},
        [PLACES_WEIGHT] = {.dtype = DT_F32, .ndim = 1, .dim = {n}},
    };
    step_given(s, PLACES_GIVEN, out, like, places_fill, m);
    if (any == 0) out[PLACES_ANY] = NULL;
}
