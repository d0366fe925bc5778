#include "cli/unlearn_verdict.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What a figure means to who has to decide, and what it does not prove. `full`: where its bar ends; 0: no
 * bar. */
typedef struct FigureText {
    const char *group; /* NULL: as the row above */
    Figure figure;
    double full;
    const char *means, *not ;
} FigureText;

static const FigureText main_text[] = {
    {NULL, FIGURE_ua, 100,
     "How many of the forgotten samples the model now gets wrong. Right is what the reference has: one that "
     "never saw them may still get many right.",
     "A model can be taught wrong answers about what it still knows."},
    {NULL, FIGURE_ra, 100,
     "How many of the samples that stay it gets right. A fall is damage done by forgetting.",
     "It was trained on these, so they say nothing of how it does on new ones."},
    {NULL, FIGURE_ta, 100, "How many unseen samples of what stays it gets right: its use.",
     "An average: some groups may do worse than others."},
    {NULL, FIGURE_ka, 100,
     "How many unseen samples of what was forgotten whole it gets right, such as other pictures of that "
     "person.",
     "These were not asked about; few of them make a coarse figure."},
    {NULL, FIGURE_mia, 100,
     "How many of the forgotten samples an attack, which guesses by confidence what a model was trained on, "
     "takes for never seen. Right is what the reference has.",
     "One simple attack over all samples; attacks on single samples find more."},
    {NULL, FIGURE_gap, 0,
     "How far UA, RA, TA and MIA (or losses, in percent of the reference's) are from the reference's, on "
     "average. 0: no difference in them.",
     "Says nothing of what these do not see."},
};

static const FigureText deep_text[] = {
    {"Weights of fewer bits", FIGURE_ua_int8, 100,
     "Forgotten samples judged wrong when weights are rounded to 8 bits, as for use on phones.",
     "Other ways of rounding may act otherwise."},
    {NULL, FIGURE_ra_int8, 100, "Samples that stay, judged right with 8 bits.",
     "The measure for the row above."},
    {NULL, FIGURE_mia_int8, 100, "The membership attack with 8 bits.", "The limits of that attack."},
    {NULL, FIGURE_ua_int4, 100,
     "The first with 4 bits: changes smaller than a rounding step vanish, and what they hid shows.",
     "So coarse that the model itself may break: see the next row."},
    {NULL, FIGURE_ra_int4, 100, "Samples that stay, judged right with 4 bits.",
     "Low: the rows beside it mean little."},
    {NULL, FIGURE_mia_int4, 100, "The membership attack with 4 bits.", "The limits of that attack."},
    {"Features", FIGURE_probe, 100,
     "How well a simple classifier tells the forgotten apart by the model's inner features. Right is what "
     "the reference has, often far above guessing.",
     "Features that tell faces apart in general do so for anybody's."},
    {NULL, FIGURE_chance, 100, "What guessing would reach in that test.",
     "The floor of the row above, no finding."},
};

static const FigureText other_text[] = {
    {"Membership: was it trained on them?", FIGURE_mia_correctness, 100,
     "The attack above, by whether the answer is right.", "Blind to how sure the model is."},
    {NULL, FIGURE_mia_entropy, 100, "The same by how undecided the model is, whatever the right answer.",
     "A model can be made undecided about what it knows."},
    {NULL, FIGURE_mia_modified, 100, "The same by how undecided it is, counted against the right answer.",
     "Still one threshold for all samples."},
    {NULL, FIGURE_mia_probability, 100, "The same by everything the model answers.",
     "With many classes and few samples the attack itself learns badly."},
    {NULL, FIGURE_auc, 1,
     "How well losses tell forgotten from unseen samples. 0.5: not at all; above: they look seen; far below: "
     "conspicuously bad.",
     "An average over samples: single ones can stand out while it is 0.5."},
    {NULL, FIGURE_tpr, 100,
     "How many of the forgotten are found when one innocent sample in 100 may be accused.",
     "Needs hundreds of samples to mean much."},
    {NULL, FIGURE_loss_attack, 100,
     "How often a trained attack tells a forgotten from an unseen sample by loss. 50: guessing.",
     "Only the loss is looked at."},
    {NULL, FIGURE_lira_auc, 1,
     "The same by an attack on each sample with models of its own: the strongest here. 0.5: nothing found.",
     "As strong as the number of its models; judges the recipe's method and settings, not this very model."},
    {NULL, FIGURE_lira_tpr, 100, "How many it finds when one in 100 may be accused wrongly.",
     "The same limits."},
    {"Below the surface: is it only hidden?", FIGURE_relearn, 0,
     "Updates on retained samples alone until the forgotten are known nearly as before. Much sooner than the "
     "reference: hidden, not gone.",
     "Not coming back within the updates tried is no proof that more would not do."},
    {NULL, FIGURE_relearn_few, 0, "The same, trained on a few of the forgotten samples themselves.",
     "A good model learns a few samples fast, known or not: compare with the reference."},
    {NULL, FIGURE_zrf, 1,
     "How like an untrained model it answers on the forgotten. Right is what the reference has, not 1.",
     "Random answers on purpose give a high value and can give the samples away."},
    {"Distance: how near is it to the reference?", FIGURE_moved, 0,
     "How far the weights have moved, in percent of their length.",
     "Little movement suggests hiding; much of it does not prove forgetting."},
    {NULL, FIGURE_ks, 1,
     "Forget quality: how likely the differences of both models' confidence on the forgotten are chance. "
     "Below 0.05: they differ.",
     "With few samples nearly everything looks alike."},
    {NULL, FIGURE_js, 1, "How far apart the two models' confidences on the forgotten are spread. 0: alike.",
     "Counts samples into bins; coarse when they are few."},
    {NULL, FIGURE_activation, 0,
     "How far apart the two models' answers on each forgotten sample are, on average. 0: equal.",
     "Two retrained models differ from each other as well."},
    {NULL, FIGURE_aus, 0,
     "One number for both aims: 1 where use stayed and the forgotten are judged as they should be.",
     "Takes it that a forgotten class should score 0, whatever a retrained model does."},
    {NULL, FIGURE_tow, 1, "One number for closeness: 1 where all three accuracies are the reference's.",
     "Accuracies alone: nothing of attacks or of what is hidden."},
    {"Cost", FIGURE_seconds, 0, "What making the model took.", "On this machine."},
    {NULL, FIGURE_rte, 0, "The same in percent of what retraining took.",
     "Both times must come from one machine."},
    {NULL, FIGURE_work, 0, "Samples that went through the model, in percent of those that retraining takes.",
     "Counts work, whatever it costs on a machine."},
};

_Static_assert(COUNT(main_text) + COUNT(deep_text) + COUNT(other_text) == FIGURES,
               "every figure is explained, once");

/* ---- names ---- */

static const struct {
    Figure figure;
    const char *points, *loss, *means_points, *means_loss;
} renamed[] = {
    {FIGURE_ua, "Missed on forgotten", "Loss, forgotten",
     "What is missing to a perfect score on the forgotten samples. Right is what the reference has.",
     "The model's loss on the forgotten samples. Right is what the reference has."},
    {FIGURE_ra, "Score, retained", "Loss, retained", "The score on samples that stay. A fall is damage.",
     "The loss on samples that stay. A rise is damage."},
    {FIGURE_ta, "Score, unseen", "Loss, unseen", "The score on unseen samples: its use.",
     "The loss on unseen samples: its use."},
    {FIGURE_ka, "Score, kin", "Loss, kin", "The score on unseen samples of what was forgotten whole.",
     "The loss on unseen samples of what was forgotten whole."},
    {FIGURE_ua_int8, "Missed, 8 bits", "Loss on forgotten, 8 bits",
     "The same with weights rounded to 8 bits.", "The same with weights rounded to 8 bits."},
    {FIGURE_ra_int8, "Score, 8 bits", "Loss on retained, 8 bits", "The score on what stays, with 8 bits.",
     "The loss on what stays, with 8 bits."},
    {FIGURE_ua_int4, "Missed, 4 bits", "Loss on forgotten, 4 bits",
     "With 4 bits: changes smaller than a rounding step vanish, and what they hid shows.",
     "With 4 bits: changes smaller than a rounding step vanish, and what they hid shows."},
    {FIGURE_ra_int4, "Score, 4 bits", "Loss on retained, 4 bits", "The score on what stays, with 4 bits.",
     "The loss on what stays, with 4 bits."},
};

/* A score by another name where it is not a share of samples; -1: it is no score. */
static int renamed_at(Figure f) {
    for (int i = 0; i < COUNT(renamed); i++)
        if (renamed[i].figure == f) return i;
    return -1;
}

static bool is_loss(Figure f, const AuditSet *s) {
    return score_kind(s) == SCORE_LOSS && renamed_at(f) >= 0;
}

static void name_put(Html *h, const FigureText *t, const AuditSet *s) {
    int at = renamed_at(t->figure);
    ScoreKind kind = score_kind(s);
    bool own = at < 0 || kind == SCORE_RIGHT;
    const char *name = own                  ? figure_row[t->figure].name
                       : kind == SCORE_LOSS ? renamed[at].loss
                                            : renamed[at].points;
    const char *means = own                  ? t->means
                        : kind == SCORE_LOSS ? renamed[at].means_loss
                                             : renamed[at].means_points;
    html_put(h, "<th scope=\"row\"><b>");
    html_text(h, name);
    html_put(h, "</b><small>");
    html_text(h, means);
    html_put(h, " <em>");
    html_text(h, t->not );
    html_put(h, "</em></small></th>");
}

/* ---- numbers ---- */

/* Without exponents, whatever the size. */
static const char *plain(char out[HTML_NUMBER], double value) {
    if (value != 0 && fabs(value) < 0.0001) {
        snprintf(out, HTML_NUMBER, "%s0.0001", value < 0 ? "above -" : "below ");
    } else if (fabs(value) >= 1000) {
        html_number(out, value);
    } else {
        int digits = fabs(value) >= 100 ? 0 : fabs(value) >= 10 ? 1 : fabs(value) >= 1 ? 2 : 3;
        snprintf(out, HTML_NUMBER, "%.*f", fabs(value) < 0.1 && value != 0 ? 4 : digits, value);
    }
    return out;
}

const char *report_figure(char out[HTML_NUMBER], Figure f, const AuditSet *s, double value) {
    const char *unit = figure_row[f].unit;
    if (!isfinite(value)) return strcpy(out, "–");
    if (is_loss(f, s)) return plain(out, value);
    if (f == FIGURE_seconds)
        return value < 10 ? snprintf(out, HTML_NUMBER, "%.1f s", value), out : html_seconds(out, value);
    if (!strcmp(unit, "%")) return html_percent(out, value);
    if (!strcmp(unit, "updates")) return snprintf(out, HTML_NUMBER, "%.0f", value), out;
    return plain(out, value);
}

/* ---- cells ---- */

/* The figures of a model, its audits, and what it is called. */
typedef struct Column {
    const char *name, *label;
    const Interval *mean;
    const Audit *list;
    int n;
} Column;

static int columns_make(Column out[3], const AuditSet *s) {
    int n = 0;
    out[n++] = (Column){"before", "before", s->before_mean, &s->before, 1};
    if (s->afters) out[n++] = (Column){"after", "after", s->after_mean, s->after, s->afters};
    if (s->references)
        out[n++] = (Column){"reference", "reference", s->reference_mean, s->reference, s->references};
    return n;
}

static double part_of(double value, double full) {
    return 100 * fmin(1, fmax(0, value / full));
}

static void meter_put(Html *h, const Column *c, const Interval *i, double full) {
    html_put(h, "<span class=\"meter %s\"><i style=\"width:%.1f%%\"></i>", c->name, part_of(i->value, full));
    if (isfinite(i->lo) && isfinite(i->hi))
        html_put(h, "<u style=\"left:%.1f%%;width:%.1f%%\"></u>", part_of(i->lo, full),
                 part_of(i->hi, full) - part_of(i->lo, full));
    html_put(h, "</span>");
}

/* An interval of a share ends where shares end, whatever Student says. */
static void range_put(Html *h, Figure f, const AuditSet *s, const Interval *i) {
    char lo[HTML_NUMBER], hi[HTML_NUMBER];
    if (!isfinite(i->lo) || !isfinite(i->hi)) return;
    bool bounded = !strcmp(figure_row[f].unit, "%") && !is_loss(f, s) && i->value >= 0 && i->value <= 100;
    report_figure(lo, f, s, bounded ? fmax(0, i->lo) : i->lo);
    report_figure(hi, f, s, bounded ? fmin(100, i->hi) : i->hi);
    size_t n = strlen(lo), m = strlen(hi);
    bool percent = n > 2 && m > 2 && !strcmp(lo + n - 2, " %") && !strcmp(hi + m - 2, " %");
    if (percent) lo[n - 2] = '\0';
    html_put(h, "<small>%s to %s</small>", lo, hi);
}

/* Where it did not come back, the number is how long was tried. */
static const char *beyond(Figure f, const Column *c) {
    if (f != FIGURE_relearn && f != FIGURE_relearn_few) return "";
    Comeback back = comeback_of(c->list, c->n, f == FIGURE_relearn_few);
    return back.tried && !back.all ? "more than " : "";
}

static void cell_put(Html *h, const FigureText *t, const AuditSet *s, const Column *c, double full) {
    const Interval *i = &c->mean[t->figure];
    char value[HTML_NUMBER];
    if (!isfinite(i->value)) {
        html_put(h, "<td class=\"bare\" data-of=\"%s\">–</td>", c->label);
        return;
    }
    html_put(h, "<td data-of=\"%s\"><b>%s%s</b>", c->label, beyond(t->figure, c),
             report_figure(value, t->figure, s, i->value));
    if (full > 0) meter_put(h, c, i, full);
    range_put(h, t->figure, s, i);
    html_put(h, "</td>");
}

/* Losses, and what else has no end of its own, end at the largest. */
static double full_of(const FigureText *t, const AuditSet *s, const Column *c, int n) {
    double most = 0;
    if (!is_loss(t->figure, s)) return t->full;
    for (int k = 0; k < n; k++)
        if (isfinite(c[k].mean[t->figure].value)) most = fmax(most, c[k].mean[t->figure].value);
    return most * 1.1;
}

static bool measured(const FigureText *t, const Column *c, int n) {
    bool some = false;
    for (int k = 0; k < n; k++) some |= isfinite(c[k].mean[t->figure].value);
    return some;
}

static void row_put(Html *h, const FigureText *t, const AuditSet *s, const Column *c, int n) {
    double full = full_of(t, s, c, n);
    html_put(h, "<tr>");
    name_put(h, t, s);
    for (int k = 0; k < n; k++) cell_put(h, t, s, &c[k], full);
    html_put(h, "</tr>\n");
}

/* ---- tables ---- */

static void table_put(Html *h, const FigureText *t, int rows, const AuditSet *s) {
    Column c[3];
    int n = columns_make(c, s);
    const char *group = NULL, *shown = NULL;
    html_put(h, "<table class=\"figures%s\"><thead><tr><th scope=\"col\">Figure</th>", n < 3 ? " two" : "");
    for (int k = 0; k < n; k++) html_put(h, "<th scope=\"col\">%s</th>", c[k].label);
    html_put(h, "</tr></thead>\n<tbody>\n");
    for (int i = 0; i < rows; i++) {
        if (t[i].group) group = t[i].group;
        if (!measured(&t[i], c, n)) continue;
        if (group != shown)
            html_put(h, "<tr class=\"group\"><th colspan=\"%d\" scope=\"colgroup\">%s</th></tr>\n", n + 1,
                     group);
        shown = group;
        row_put(h, &t[i], s, c, n);
    }
    html_put(h, "</tbody></table>\n");
}

static void seeds_put(Html *h, const AuditSet *s) {
    if (s->afters > 1 || s->references > 1)
        html_put(h,
                 "<p class=\"small\">Means over %d models after and %d for reference, one a seed; below them "
                 "the range that holds the true mean in 95 of 100 such experiments (Student).</p>\n",
                 s->afters, s->references);
    else if (isfinite(s->before_mean[FIGURE_ra].lo))
        html_put(h, "<p class=\"small\">Below a share of samples: the range that so few samples leave open, "
                    "with 95 %% confidence (Wilson). The mark on a bar shows it.</p>\n");
}

void report_main_figures(Html *h, const UnlearnReport *r) {
    html_put(h,
             "<section><h2>%s</h2>\n<p class=\"lead\">%s Slanted: what a figure does not prove.</p>\n<div "
             "class=\"card\">\n",
             r->audits->references ? "Before, after, and as if never seen" : "Before and after",
             r->audits->references
                 ? "The reference was trained without the samples. What counts is how near the model after "
                   "comes to it, not how bad it looks by itself."
                 : "Without a reference, these figures show what has changed, not whether it is enough.");
    table_put(h, main_text, COUNT(main_text), r->audits);
    seeds_put(h, r->audits);
    html_put(h, "</div></section>\n");
}

void report_deep_figures(Html *h, const UnlearnReport *r) {
    Column c[3];
    int n = columns_make(c, r->audits);
    bool some = false;
    for (int i = 0; i < COUNT(deep_text); i++) some |= measured(&deep_text[i], c, n);
    if (!some) return;
    html_put(h, "<section><h2>Below the surface</h2>\n<p class=\"lead\">Two more ways in which something "
                "hidden shows: rounding the weights, which wipes out small changes, and looking at the "
                "features inside the model.</p>\n<div class=\"card\">\n");
    table_put(h, deep_text, COUNT(deep_text), r->audits);
    html_put(h, "</div></section>\n");
}

void report_other_figures(Html *h, const UnlearnReport *r) {
    html_put(h, "<section><h2>All other figures</h2>\n<p class=\"lead\">What each one means, and, slanted, "
                "what it does not prove.</p>\n<div class=\"card\">\n");
    table_put(h, other_text, COUNT(other_text), r->audits);
    html_put(h, "</div></section>\n");
}
