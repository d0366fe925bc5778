#include "unlearn/lbfgs.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { PAIRS = 10, TRIES = 60 };

typedef struct Search {
    LbfgsFunction *f;
    void *self;
    int64_t n;
    double *x, *g;         /* [n] here */
    double *x_new, *g_new; /* [n] where the line search stands */
    double *d;             /* [n] direction */
    double *s, *y;         /* [PAIRS, n] past differences of x and g, a ring */
    double rho[PAIRS];     /* 1 / s.y */
    int pairs;             /* ever made */
    double value, value_new;
} Search;

static double dot(const double *a, const double *b, int64_t n) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static double largest(const double *a, int64_t n) {
    double top = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(a[i])) return INFINITY;
        top = fmax(top, fabs(a[i]));
    }
    return top;
}

/* a += k b */
static void add(double *a, double k, const double *b, int64_t n) {
    for (int64_t i = 0; i < n; i++) a[i] += k * b[i];
}

static void scale(double *a, double k, int64_t n) {
    for (int64_t i = 0; i < n; i++) a[i] *= k;
}

/* d = -H g by the two loops over the pairs. */
static void direction_set(Search *c) {
    double alpha[PAIRS];
    int first = c->pairs > PAIRS ? c->pairs - PAIRS : 0;
    memcpy(c->d, c->g, (size_t)c->n * sizeof *c->d);
    for (int k = c->pairs - 1; k >= first; k--) {
        int at = k % PAIRS;
        alpha[at] = c->rho[at] * dot(c->s + at * c->n, c->d, c->n);
        add(c->d, -alpha[at], c->y + at * c->n, c->n);
    }
    if (c->pairs > 0) { /* H starts as a multiple of 1, with the last pair's curvature */
        int at = (c->pairs - 1) % PAIRS;
        const double *y = c->y + at * c->n;
        scale(c->d, 1 / (c->rho[at] * dot(y, y, c->n)), c->n);
    }
    for (int k = first; k < c->pairs; k++) {
        int at = k % PAIRS;
        double beta = c->rho[at] * dot(c->y + at * c->n, c->d, c->n);
        add(c->d, alpha[at] - beta, c->s + at * c->n, c->n);
    }
    scale(c->d, -1, c->n);
}

/* Fills x_new, g_new and value_new with a point along d that is low and flat enough. */
static bool line_search(Search *c) {
    double fall = dot(c->g, c->d, c->n), lo = 0, hi = INFINITY;
    double t = c->pairs > 0 ? 1 : fmin(1, 1 / sqrt(dot(c->g, c->g, c->n)));
    double slack = 4 * DBL_EPSILON * fabs(c->value); /* what rounding alone makes of f */
    if (!(fall < 0)) return false;
    for (int i = 0; i < TRIES; i++) {
        memcpy(c->x_new, c->x, (size_t)c->n * sizeof *c->x);
        add(c->x_new, t, c->d, c->n);
        c->value_new = c->f(c->self, c->x_new, c->g_new);
        if (!(c->value_new <= c->value + 1e-4 * t * fall + slack))
            hi = t;
        else if (dot(c->g_new, c->d, c->n) < 0.9 * fall)
            lo = t;
        else
            return true;
        t = isinf(hi) ? 2 * lo : 0.5 * (lo + hi);
    }
    return false;
}

/* Moves to the new point and remembers the pair, if the curvature along it is positive. */
static void step_take(Search *c) {
    int at = c->pairs % PAIRS;
    double *s = c->s + at * c->n, *y = c->y + at * c->n, *t;
    for (int64_t i = 0; i < c->n; i++) {
        s[i] = c->x_new[i] - c->x[i];
        y[i] = c->g_new[i] - c->g[i];
    }
    double sy = dot(s, y, c->n);
    if (sy > DBL_EPSILON * dot(y, y, c->n)) {
        c->rho[at] = 1 / sy;
        c->pairs++;
    }
    t = c->x, c->x = c->x_new, c->x_new = t;
    t = c->g, c->g = c->g_new, c->g_new = t;
    c->value = c->value_new;
}

static bool descend(LbfgsNote *out, Search *c, double tolerance, int steps, Error *e) {
    c->value = c->f(c->self, c->x, c->g);
    *out = (LbfgsNote){.value = c->value, .slope = largest(c->g, c->n)};
    if (!isfinite(c->value) || !isfinite(out->slope))
        return error_set(e, ERROR_NUMERIC, "minimum: the function is not finite at the start");
    while (out->slope > tolerance && out->steps < steps) {
        direction_set(c);
        if (!line_search(c)) {
            if (c->pairs == 0) break;
            c->pairs = 0; /* once more, straight down */
            continue;
        }
        step_take(c);
        out->steps++;
        out->slope = largest(c->g, c->n);
    }
    out->value = c->value;
    out->converged = out->slope <= tolerance;
    return true;
}

bool lbfgs_minimise(LbfgsNote *out, double *x, int64_t n, LbfgsFunction *f, void *self, double tolerance,
                    int steps, Error *e) {
    if (n < 1) return error_set(e, ERROR_VALUE, "minimum: a function of nothing");
    size_t size = (size_t)n * sizeof(double);
    double *room = mem_zero((size_t)n * (5 + 2 * PAIRS), sizeof *room);
    if (!room) return error_memory(e, size * (5 + 2 * PAIRS));
    Search c = {.f = f,
                .self = self,
                .n = n,
                .x = room,
                .g = room + n,
                .x_new = room + 2 * n,
                .g_new = room + 3 * n,
                .d = room + 4 * n,
                .s = room + 5 * n,
                .y = room + (5 + PAIRS) * n};
    memcpy(c.x, x, size);
    bool ok = descend(out, &c, tolerance, steps, e);
    if (ok) memcpy(x, c.x, size);
    mem_free(room);
    return ok;
}
