#include "cli/curve.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WIDTH = 480,
    HEIGHT = 264,
    LEFT = 56,
    RIGHT = 14,
    TOP = 10,
    BOTTOM = 42,
    BUCKETS = 420, /* about one a pixel: more rows are drawn as their range and mean */
    HOVERS = 84,   /* places that have a title of their own */
    DOTS = 60      /* a line of no more values than this has a dot on each */
};

/* The rows that fall on one pixel column. */
typedef struct Bucket {
    double x, low, high, mean;
} Bucket;

typedef struct Plot {
    double x0, x1, y0, y1;
} Plot;

static double place_x(const Plot *p, double x) {
    return LEFT + (x - p->x0) / (p->x1 - p->x0) * (WIDTH - LEFT - RIGHT);
}

/* Held inside the frame: what is beyond the range runs along its edge. */
static double place_y(const Plot *p, double y) {
    double t = fmin(1, fmax(0, (y - p->y0) / (p->y1 - p->y0)));
    return HEIGHT - BOTTOM - t * (HEIGHT - TOP - BOTTOM);
}

/* ---- rows to columns ---- */

static int buckets_fill(const CurveLine *l, Bucket *out) {
    int64_t each = (l->count + BUCKETS - 1) / BUCKETS;
    int n = 0;
    for (int64_t i = 0; i < l->count; i += each) {
        Bucket b = {0, DBL_MAX, -DBL_MAX, 0};
        int64_t end = i + each < l->count ? i + each : l->count, seen = 0;
        for (int64_t k = i; k < end; k++) {
            if (!isfinite(l->y[k])) continue;
            b.x += l->x[k];
            b.mean += l->y[k];
            b.low = fmin(b.low, l->y[k]);
            b.high = fmax(b.high, l->y[k]);
            seen++;
        }
        if (!seen) continue;
        b.x /= (double)seen;
        b.mean /= (double)seen;
        out[n++] = b;
    }
    return n;
}

/* A mean over neighbours on both sides, weighted down to nothing at the window's ends: no lag. */
static void buckets_smooth(const Bucket *b, int n, double *out) {
    int reach = n / 16 + 1;
    for (int i = 0; i < n; i++) {
        double sum = 0, weight = 0;
        for (int k = i - reach; k <= i + reach; k++) {
            if (k < 0 || k >= n) continue;
            double w = 1 - abs(k - i) / (reach + 1.0);
            sum += w * b[k].mean;
            weight += w;
        }
        out[i] = sum / weight;
    }
}

static int value_order(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The largest value that shapes the y axis: the few highest of many do not squeeze all others flat. */
static double buckets_top(const Bucket *b, int n, double low) {
    enum { MANY = 40 };
    double v[BUCKETS];
    for (int i = 0; i < n; i++) v[i] = b[i].high;
    qsort(v, (size_t)n, sizeof *v, value_order);
    double most = v[n - 1], usual = n < MANY ? most : v[(int)(0.97 * (n - 1))];
    return most - low > 2 * (usual - low) && usual > low ? low + 1.4 * (usual - low) : most;
}

/* ---- axes ---- */

/* 1, 2 or 5 times a power of ten, so that about `n` steps cover the range. */
static double tick_step(double range, int n) {
    double raw = range / n, power = pow(10, floor(log10(raw))), lead = raw / power;
    return power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
}

/* Ticks stand at whole multiples of the step; one at the very end counts, whatever rounding says. */
static int64_t first_tick(double from, double step) {
    return (int64_t)ceil(from / step - 1e-6);
}

static int64_t last_tick(double to, double step) {
    return (int64_t)floor(to / step + 1e-6);
}

static const char *tick_text(char out[32], double value, double step, bool percent) {
    if (fabs(value) < step * 1e-6) value = 0;
    snprintf(out, 32, percent ? "%.6g %%" : fabs(value) >= 1e5 ? "%.3g" : "%.6g", value);
    return out;
}

static void draw_axes(Html *h, const Curve *c, const Plot *p) {
    char text[32];
    double step = tick_step(p->y1 - p->y0, 6);
    for (int64_t i = first_tick(p->y0, step); i <= last_tick(p->y1, step); i++) {
        double v = (double)i * step, y = place_y(p, v);
        html_put(h,
                 "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text class=\"tick\" x=\"%d\" y=\"%.1f\" "
                 "text-anchor=\"end\">%s</text>\n",
                 LEFT, y, WIDTH - RIGHT, LEFT - 8, y + 4, tick_text(text, v, step, c->percent));
    }
    step = tick_step(p->x1 - p->x0, 6);
    for (int64_t i = first_tick(p->x0, step); i <= last_tick(p->x1, step); i++) {
        double v = (double)i * step, x = place_x(p, v);
        html_put(h,
                 "<path class=\"mark\" d=\"M%.1f %dv4\"/><text class=\"tick\" x=\"%.1f\" y=\"%d\" "
                 "text-anchor=\"middle\">%s</text>\n",
                 x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 18, tick_text(text, v, step, false));
    }
    html_put(h, "<path class=\"axis\" d=\"M%d %dH%d\"/>\n", LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT);
    html_put(h, "<text class=\"tick\" x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", WIDTH - RIGHT,
             HEIGHT - 6, c->x_label);
}

/* ---- lines ---- */

static void draw_raw(Html *h, const Plot *p, const Bucket *b, int n) {
    html_put(h, "<path class=\"raw\" d=\"");
    for (int i = 0; i < n; i++) {
        double x = place_x(p, b[i].x);
        html_put(h, "%c%.1f %.1f", i ? 'L' : 'M', x, place_y(p, b[i].low));
        if (b[i].high > b[i].low) html_put(h, "V%.1f", place_y(p, b[i].high));
    }
    html_put(h, "\"/>\n");
}

static void draw_line(Html *h, const Plot *p, const Bucket *b, const double *y, int n) {
    html_put(h, "<path class=\"line\" d=\"");
    for (int i = 0; i < n; i++)
        html_put(h, "%c%.1f %.1f", i ? 'L' : 'M', place_x(p, b[i].x), place_y(p, y[i]));
    html_put(h, "\"/>\n");
}

/* Strips that show a dot and a title while the pointer is on them. */
static void draw_hovers(Html *h, const Curve *c, const Plot *p, const char *name, const Bucket *b,
                        const double *y, int n) {
    int every = (n + HOVERS - 1) / HOVERS;
    char at[HTML_NUMBER], value[HTML_NUMBER];
    double left = LEFT;
    for (int i = 0; i < n; i += every) {
        int next = i + every;
        double x = place_x(p, b[i].x);
        double right = next < n ? (x + place_x(p, b[next].x)) / 2 : WIDTH - RIGHT;
        html_put(h,
                 "<g class=\"hover\"><rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"/><circle "
                 "cx=\"%.1f\" cy=\"%.1f\" r=\"4\"/><title>%s %s: ",
                 left, TOP, fmax(0, right - left), HEIGHT - TOP - BOTTOM, x, place_y(p, y[i]), c->x_label,
                 html_number(at, b[i].x));
        html_text(h, name);
        html_put(h, " %s</title></g>\n", c->percent ? html_percent(value, y[i]) : html_number(value, y[i]));
        left = right;
    }
}

static void draw_dots(Html *h, const Curve *c, const Plot *p, const char *name, const Bucket *b, int n) {
    char at[HTML_NUMBER], value[HTML_NUMBER];
    for (int i = 0; i < n; i++) {
        html_put(h,
                 "<circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.2\"><title>%s %s: ", place_x(p, b[i].x),
                 place_y(p, b[i].mean), c->x_label, html_number(at, b[i].x));
        html_text(h, name);
        html_put(h, " %s</title></circle>\n",
                 c->percent ? html_percent(value, b[i].mean) : html_number(value, b[i].mean));
    }
}

/* ---- the whole ---- */

static Plot plot_of(const Curve *c, Bucket (*b)[BUCKETS], const int *n) {
    Plot p = {DBL_MAX, -DBL_MAX, DBL_MAX, -DBL_MAX};
    for (int i = 0; i < c->lines; i++)
        for (int k = 0; k < n[i]; k++) {
            p.x0 = fmin(p.x0, b[i][k].x);
            p.x1 = fmax(p.x1, b[i][k].x);
            p.y0 = fmin(p.y0, b[i][k].low);
        }
    if (c->from_zero) p.y0 = fmin(0, p.y0);
    for (int i = 0; i < c->lines; i++)
        if (n[i]) p.y1 = fmax(p.y1, buckets_top(b[i], n[i], p.y0));
    if (c->top > 0) p.y1 = c->top;
    if (!(p.y1 > p.y0)) p.y1 = p.y0 + fmax(fabs(p.y0) * 0.1, 1e-9);
    if (!(p.x1 > p.x0)) p.x1 = p.x0 + 1;
    double pad = 0.05 * (p.y1 - p.y0);
    if (!c->from_zero) p.y0 -= p.y0 >= 0 ? fmin(pad, p.y0) : pad;
    if (c->top <= 0) p.y1 += pad;
    return p;
}

/* What the drawing shows, in words: for who cannot see it. */
static void describe(Html *h, const Curve *c, Bucket (*b)[BUCKETS], const int *n) {
    char first[HTML_NUMBER], last[HTML_NUMBER];
    const char *(*write)(char *, double) = c->percent ? html_percent : html_number;
    for (int i = 0; i < c->lines; i++) {
        if (!n[i]) continue;
        html_put(h, "%s", i ? "; " : "");
        html_text(h, c->line[i].name);
        html_put(h, " from %s to %s", write(first, b[i][0].mean), write(last, b[i][n[i] - 1].mean));
    }
}

static void legend(Html *h, const Curve *c, const int *n) {
    int shown = 0;
    for (int i = 0; i < c->lines; i++) shown += n[i] > 0;
    html_put(h, "<figcaption><h3>%s</h3>", c->title);
    for (int i = 0; i < c->lines && shown > 1; i++) { /* a single line is what the title says */
        if (!n[i]) continue;
        html_put(h, "<span class=\"key c%d\">", i);
        html_text(h, c->line[i].name);
        html_put(h, "</span>");
    }
    html_put(h, "</figcaption>\n");
}

void curve_draw(Html *h, const Curve *c) {
    enum { MOST = 5 };
    Bucket b[MOST][BUCKETS];
    double y[BUCKETS];
    int n[MOST] = {0}, any = 0, title = html_id(h);
    if (c->lines > MOST) die("curve_draw: %d lines, at most %d", c->lines, MOST);
    for (int i = 0; i < c->lines; i++) any += n[i] = buckets_fill(&c->line[i], b[i]);
    if (!any) return;
    Plot p = plot_of(c, b, n);
    html_put(h, "<figure class=\"card\">");
    legend(h, c, n);
    html_put(h,
             "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-labelledby=\"t%d\"><desc id=\"t%d\">%s over %s: ",
             WIDTH, HEIGHT, title, title, c->title, c->x_label);
    describe(h, c, b, n);
    html_put(h, "</desc>\n");
    draw_axes(h, c, &p);
    for (int i = 0; i < c->lines; i++) {
        if (!n[i]) continue;
        bool dots = c->line[i].style == CURVE_DOTS && n[i] <= DOTS;
        html_put(h, "<g class=\"c%d\">\n", i);
        if (c->line[i].style == CURVE_NOISY) {
            draw_raw(h, &p, b[i], n[i]);
            buckets_smooth(b[i], n[i], y);
        } else
            for (int k = 0; k < n[i]; k++) y[k] = b[i][k].mean;
        draw_line(h, &p, b[i], y, n[i]);
        if (dots)
            draw_dots(h, c, &p, c->line[i].name, b[i], n[i]);
        else
            draw_hovers(h, c, &p, c->line[i].name, b[i], y, n[i]);
        html_put(h, "</g>\n");
    }
    html_put(h, "</svg></figure>\n");
}
