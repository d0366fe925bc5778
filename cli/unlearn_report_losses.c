#include "cli/curve.h"
#include "cli/unlearn_verdict.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- histograms of losses ---- */

enum {
    WIDTH = 330,
    HEIGHT = 190,
    LEFT = 10,
    RIGHT = 10,
    TOP = 8,
    BOTTOM = 46,
    BINS = 36,
    GROUPS = 3,   /* forgotten, retained, unseen */
    RUG_MOST = 60 /* forgotten samples that get a mark each */
};
static const double WIDE =
    30; /* losses that spread over more than this factor are drawn by their logarithm */
static const double FLOOR = 1e-5; /* of losses whose logarithm is taken */

typedef struct Group {
    double *loss; /* [n], ascending */
    int64_t n;
    double share[BINS]; /* of n */
} Group;

typedef struct Panel {
    const char *class, *title;
    Group group[GROUPS];
} Panel;

typedef struct Losses {
    Panel panel[REPORT_MODELS];
    int panels;
    double lo, hi; /* of the axis, as `at` has it */
    bool log;
    double peak[GROUPS]; /* the highest bin of a group in any panel */
} Losses;

static const struct {
    const char *class, *name;
} group_row[GROUPS] = {{"retain", "retained"}, {"unseen", "unseen"}, {"forget", "forgotten"}};

static const Observed *observed(const Audit *a, int group) {
    return group == 0 ? &a->retain : group == 1 ? &a->test : &a->forget;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* All losses of a group, over the seeds. */
static bool group_fill(Group *g, const Audit *list, int count, int which, Error *e) {
    int64_t room = 0;
    for (int i = 0; i < count; i++) room += observed(&list[i], which)->n;
    if (room == 0) return true;
    if (!(g->loss = mem_get((size_t)room * sizeof *g->loss)))
        return error_memory(e, (size_t)room * sizeof *g->loss);
    for (int i = 0; i < count; i++) {
        const Observed *o = observed(&list[i], which);
        for (int64_t k = 0; k < o->n; k++)
            if (isfinite(o->loss[k])) g->loss[g->n++] = o->loss[k];
    }
    qsort(g->loss, (size_t)g->n, sizeof *g->loss, ascending);
    return true;
}

static bool panel_add(Losses *l, const char *class, const char *title, const Audit *list, int count,
                      Error *e) {
    if (!count) return true;
    Panel *p = &l->panel[l->panels++];
    p->class = class;
    p->title = title;
    for (int g = 0; g < GROUPS; g++)
        if (!group_fill(&p->group[g], list, count, g, e)) return false;
    return true;
}

static double at(const Losses *l, double loss) {
    return l->log ? log10(fmax(loss, FLOOR)) : loss;
}

static double quantile(const Group *g, double q) {
    return g->loss[(int64_t)(q * (double)(g->n - 1))];
}

/* From the least to the greatest; the highest hundredth of a large group may run out of the axis. */
static void range_find(Losses *l) {
    double lo = INFINITY, hi = -INFINITY, low = INFINITY;
    for (int p = 0; p < l->panels; p++)
        for (int g = 0; g < GROUPS; g++) {
            const Group *x = &l->panel[p].group[g];
            if (!x->n) continue;
            lo = fmin(lo, x->loss[0]);
            low = fmin(low, quantile(x, 0.5));
            hi = fmax(hi, quantile(x, 0.99));
        }
    l->log = lo >= 0 && hi > WIDE * fmax(low, FLOOR);
    l->lo = at(l, lo);
    l->hi = at(l, hi);
    if (!(l->hi > l->lo)) l->hi = l->lo + 1;
    double pad = 0.03 * (l->hi - l->lo);
    l->hi += pad;
    l->lo -= l->lo >= 0 && !l->log ? fmin(pad, l->lo) : pad;
}

static int bin_of(const Losses *l, double loss) {
    double t = (at(l, loss) - l->lo) / (l->hi - l->lo) * BINS;
    return t < 0 ? 0 : t >= BINS ? BINS - 1 : (int)t;
}

static void bins_fill(Losses *l) {
    for (int p = 0; p < l->panels; p++)
        for (int g = 0; g < GROUPS; g++) {
            Group *x = &l->panel[p].group[g];
            for (int64_t i = 0; i < x->n; i++) x->share[bin_of(l, x->loss[i])] += 1 / (double)x->n;
            for (int b = 0; b < BINS; b++) l->peak[g] = fmax(l->peak[g], x->share[b]);
        }
}

static bool losses_make(Losses *l, const AuditSet *s, Error *e) {
    if (!panel_add(l, "before", "Before", &s->before, 1, e) ||
        !panel_add(l, "after", "After", s->after, s->afters, e) ||
        !panel_add(l, "reference", "Reference", s->reference, s->references, e))
        return false;
    range_find(l);
    bins_fill(l);
    return true;
}

static void losses_free(Losses *l) {
    for (int p = 0; p < REPORT_MODELS; p++)
        for (int g = 0; g < GROUPS; g++) mem_free(l->panel[p].group[g].loss);
}

/* ---- drawing ---- */

static double place(const Losses *l, double x) {
    return LEFT + fmin(1, fmax(0, (x - l->lo) / (l->hi - l->lo))) * (WIDTH - LEFT - RIGHT);
}

/* Along the tops of the bins. The line is left out where there is nothing; the area comes down to the axis.
 */
static void outline_put(Html *h, const Losses *l, const Group *g, int which) {
    const double base = HEIGHT - BOTTOM, wide = (double)(WIDTH - LEFT - RIGHT) / BINS;
    for (int pass = 0; pass < 2; pass++) {
        html_put(h, "<path class=\"%s\" d=\"", pass ? "edge" : "fill");
        for (int b = 0; b < BINS; b++) {
            double left = LEFT + wide * b, before = b ? g->share[b - 1] : 0;
            if (!(g->share[b] > 0)) continue;
            if (!(before > 0)) html_put(h, "M%.1f %.1f", left, base);
            html_put(h, "V%.1fH%.1f", base - g->share[b] / l->peak[which] * (base - TOP), left + wide);
            if (b + 1 == BINS || !(g->share[b + 1] > 0)) html_put(h, "V%.1f%s", base, pass ? "" : "Z");
        }
        html_put(h, "\"/>\n");
    }
}

static void rug_put(Html *h, const Losses *l, const Group *g) {
    if (g->n > RUG_MOST) return;
    html_put(h, "<path class=\"rug\" d=\"");
    for (int64_t i = 0; i < g->n; i++)
        html_put(h, "M%.1f %dv8", place(l, at(l, g->loss[i])), HEIGHT - BOTTOM + 3);
    html_put(h, "\"/>\n");
}

static void tick_put(Html *h, const Losses *l, double value) {
    char text[HTML_NUMBER];
    snprintf(text, sizeof text, "%.10g", value);
    double x = place(l, at(l, value));
    html_put(h,
             "<path class=\"mark\" d=\"M%.1f %dv4\"/><text class=\"tick\" x=\"%.1f\" y=\"%d\" "
             "text-anchor=\"middle\">%s</text>\n",
             x, HEIGHT - BOTTOM + 13, x, HEIGHT - BOTTOM + 29, value < 0.001 && value > 0 ? "0.0001" : text);
}

static void ticks_put(Html *h, const Losses *l) {
    if (l->log) {
        for (int k = -4; k <= 6; k++)
            if (k >= l->lo && k <= l->hi) tick_put(h, l, pow(10, k));
        return;
    }
    double raw = (l->hi - l->lo) / 5, power = pow(10, floor(log10(raw))), lead = raw / power;
    double step = power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
    for (int64_t i = (int64_t)ceil(l->lo / step); (double)i * step <= l->hi; i++)
        tick_put(h, l, (double)i * step);
}

static const char *median(char out[HTML_NUMBER], const Group *g) {
    double m = g->n ? quantile(g, 0.5) : NAN;
    if (isnan(m)) return strcpy(out, "–");
    if (m < 0.001) return strcpy(out, "below 0.001");
    snprintf(out, HTML_NUMBER, "%.3f", m);
    return out;
}

static void panel_put(Html *h, const Losses *l, const Panel *p) {
    char m[GROUPS][HTML_NUMBER];
    int id = html_id(h);
    for (int g = 0; g < GROUPS; g++) median(m[g], &p->group[g]);
    html_put(h,
             "<figure class=\"card\"><figcaption><h3>%s</h3></figcaption><svg class=\"hist\" viewBox=\"0 0 "
             "%d %d\" role=\"img\" aria-labelledby=\"t%d\"><desc id=\"t%d\">Losses: half of the forgotten "
             "samples lie below %s, of the retained below %s, of the unseen below %s</desc>\n",
             p->title, WIDTH, HEIGHT, id, id, m[2], m[0], m[1]);
    for (int g = 0; g < GROUPS; g++) {
        if (!p->group[g].n || !(l->peak[g] > 0)) continue;
        html_put(h, "<g class=\"%s\">", group_row[g].class);
        outline_put(h, l, &p->group[g], g);
        if (g == GROUPS - 1) rug_put(h, l, &p->group[g]);
        html_put(h, "</g>\n");
    }
    html_put(h, "<path class=\"axis\" d=\"M%d %dH%d\"/>\n", LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT);
    ticks_put(h, l);
    html_put(h, "<text class=\"tick\" x=\"%d\" y=\"%d\" text-anchor=\"end\">loss%s</text></svg>\n",
             WIDTH - RIGHT, HEIGHT - 2, l->log ? ", by its logarithm" : "");
    html_put(h, "<p class=\"small\">Half of them lie below:");
    for (int g = GROUPS - 1, some = 0; g >= 0; g--)
        if (p->group[g].n) html_put(h, "%s %s %s", some++ ? "," : "", group_row[g].name, m[g]);
    html_put(h, "</p></figure>\n");
}

bool report_losses(Html *h, const UnlearnReport *r, Error *e) {
    Losses l = {0};
    bool fine = losses_make(&l, r->audits, e), some = false;
    for (int p = 0; p < l.panels; p++)
        for (int g = 0; g < GROUPS; g++) some |= l.panel[p].group[g].n > 0;
    if (fine && some) {
        html_put(h, "<section><h2>Losses, sample by sample</h2>\n<p class=\"lead\">A loss is how far a model "
                    "is from the right answer: left is known, right is not. Where something is forgotten, "
                    "the forgotten samples lie after as they lie for the reference; a heap of their own "
                    "anywhere else gives them away.</p>\n<div class=\"legend\">");
        for (int g = GROUPS - 1; g >= 0; g--) {
            if (!l.panel[0].group[g].n) continue;
            html_put(h, "<span class=\"%s\">%s (%" PRId64 ")</span>", group_row[g].class, group_row[g].name,
                     l.panel[0].group[g].n);
        }
        html_put(h, "</div>\n<div class=\"three\">\n");
        for (int p = 0; p < l.panels; p++) panel_put(h, &l, &l.panel[p]);
        html_put(h,
                 "</div>\n<p class=\"small\">The same axis in all drawings. Heights are shares of a set, "
                 "each set at a scale of its own, the same in all drawings.%s</p></section>\n",
                 l.panel[0].group[GROUPS - 1].n <= RUG_MOST
                     ? " A mark below the axis is one forgotten sample."
                     : "");
    }
    losses_free(&l);
    return fine;
}

/* ---- relearning ---- */

static CurveLine line_of(const Audit *list, int n, bool few, const char *name) {
    Comeback c = comeback_of(list, n, few);
    if (!c.tried) return (CurveLine){.name = name};
    const AuditCurve *x = few ? &list[c.best].few : &list[c.best].retained;
    return (CurveLine){.name = name, .x = x->step, .y = x->score, .count = x->n, .style = CURVE_DOTS};
}

static void relearning_put(Html *h, const AuditSet *s, bool few, const char *title) {
    double ua = s->before.figure[FIGURE_ua].value, level = s->before.share ? 100 - ua : ua, end = 1;
    CurveLine line[3] = {line_of(s->after, s->afters, few, "after"),
                         line_of(s->reference, s->references, few, "reference")};
    for (int i = 0; i < 2; i++)
        if (line[i].count) end = fmax(end, line[i].x[line[i].count - 1]);
    const double x[2] = {0, end}, y[2] = {level, level};
    line[2] =
        (CurveLine){.name = "before", .x = x, .y = y, .count = isnan(level) ? 0 : 2, .style = CURVE_LINE};
    if (!line[0].count && !line[1].count) return;
    curve_draw(h, &(Curve){.title = title,
                           .x_label = "update",
                           .line = line,
                           .lines = 3,
                           .from_zero = s->before.share,
                           .top = s->before.share ? 104 : 0,
                           .percent = s->before.share});
}

void report_relearning(Html *h, const UnlearnReport *r) {
    const AuditSet *s = r->audits;
    ScoreKind kind = score_kind(s);
    Comeback any = comeback_of(s->after, s->afters, false);
    if (!any.tried) return;
    html_put(h,
             "<section><h2>Does it come back?</h2>\n<p class=\"lead\">What is only hidden returns after a "
             "little more training, even on other samples (arXiv 2505.22310). Drawn is %s; a line ends where "
             "they are known nearly as well as before. A reference that stays %s while the model comes %s is "
             "the sign of hiding.</p>\n<div class=\"grid models\">\n",
             kind == SCORE_RIGHT    ? "how many of the forgotten samples are judged right"
             : kind == SCORE_POINTS ? "the score on the forgotten samples"
                                    : "the loss on the forgotten samples",
             kind == SCORE_LOSS ? "up" : "down", kind == SCORE_LOSS ? "down" : "up");
    relearning_put(h, s, false, "Trained further on retained samples");
    relearning_put(h, s, true, "Trained on a few of the forgotten");
    html_put(h, "</div>\n");
    if (s->afters > 1 || s->references > 1)
        html_put(h, "<p class=\"small\">Of several seeds the one that came back soonest.</p>\n");
    html_put(h, "</section>\n");
}
