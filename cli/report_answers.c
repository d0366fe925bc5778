#include "cli/report.h"

#include <stdio.h>
#include <string.h>

enum {
    WRONG_MOST = 24,
    RIGHT_MOST = 12,
    PAIRS_MOST = 6,
    CLASSES_MOST = 20,
    MATRIX_MOST = 40,       /* more classes than this are no picture any more */
    MATRIX_SIDE = 320,      /* of the drawing */
    THUMB_WHOLE = 48 * 1024 /* files up to this size go in as they are */
};

/* ---- the confusion matrix ---- */

static int64_t pair_count(const Answers *a, int label, int predicted) {
    if (label == predicted) return a->class[label].right;
    for (int64_t i = 0; i < a->pairs; i++)
        if (a->pair[i].label_class == label && a->pair[i].predicted_class == predicted)
            return a->pair[i].count;
    return 0;
}

static void put_matrix(Html *h, const Answers *a) {
    double cell = (double)MATRIX_SIDE / a->classes;
    int title = html_id(h);
    html_put(
        h,
        "<figure class=\"card\"><figcaption><h3>Confusion matrix</h3></figcaption><svg "
        "class=\"matrix\" viewBox=\"0 0 %d %d\" role=\"img\" aria-labelledby=\"t%d\"><desc id=\"t%d\">A row "
        "for each true class, a column for each predicted one: %lld of %lld images lie on the "
        "diagonal</desc>\n<rect class=\"plate\" x=\"24\" width=\"%d\" height=\"%d\"/>\n",
        MATRIX_SIDE + 24, MATRIX_SIDE + 24, title, title, (long long)a->right, (long long)a->known,
        MATRIX_SIDE, MATRIX_SIDE);
    for (int row = 0; row < a->classes; row++)
        for (int column = 0; column < a->classes; column++) {
            int64_t n = pair_count(a, row, column);
            if (!n) continue;
            double share = (double)n / (double)a->class[row].count;
            html_put(h,
                     "<rect class=\"%s\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" "
                     "fill-opacity=\"%.2f\"><title>",
                     row == column ? "good" : "bad", 24 + column * cell + 0.5, row * cell + 0.5, cell - 1,
                     cell - 1, 0.25 + 0.75 * share);
            html_text(h, a->class[row].name);
            if (row != column) {
                html_put(h, " taken for ");
                html_text(h, a->class[column].name);
            } else
                html_put(h, " recognised");
            html_put(h, ": %lld of %lld</title></rect>\n", (long long)n, (long long)a->class[row].count);
        }
    html_put(
        h,
        "<text class=\"tick\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">predicted</text><text class=\"tick\" "
        "transform=\"translate(14 %d) rotate(-90)\" text-anchor=\"middle\">true</text></svg></figure>\n",
        24 + MATRIX_SIDE / 2, MATRIX_SIDE + 18, MATRIX_SIDE / 2);
}

/* ---- lists ---- */

static void put_pairs(Html *h, const Answers *a) {
    int64_t n = a->pairs < PAIRS_MOST ? a->pairs : PAIRS_MOST;
    if (!n) return;
    html_put(h, "<div class=\"card\"><h3>Most confused</h3><div class=\"scroll\"><table "
                "class=\"plain\"><thead><tr><th scope=\"col\">True</th><th scope=\"col\">Taken for</th><th "
                "scope=\"col\">Images</th></tr></thead><tbody>\n");
    for (int64_t i = 0; i < n; i++) {
        html_put(h, "<tr><td>");
        html_text(h, a->class[a->pair[i].label_class].name);
        html_put(h, "</td><td>");
        html_text(h, a->class[a->pair[i].predicted_class].name);
        html_put(h, "</td><td>%lld of %lld</td></tr>\n", (long long)a->pair[i].count,
                 (long long)a->class[a->pair[i].label_class].count);
    }
    html_put(h, "</tbody></table></div>");
    if (a->pairs > n) html_put(h, "<p class=\"small\">And %lld more pairs.</p>", (long long)(a->pairs - n));
    html_put(h, "</div>\n");
}

static double class_share(const AnswerClass *c) {
    return 100.0 * (double)c->right / (double)c->count;
}

/* The next class to list, worst first, of equals in the order of names; -1: none is left. */
static int class_after(const Answers *a, int last) {
    int best = -1;
    for (int i = 0; i < a->classes; i++) {
        if (!a->class[i].count) continue;
        double share = class_share(&a->class[i]), before = last < 0 ? -1 : class_share(&a->class[last]);
        if (share < before || (share == before && i <= last)) continue;
        if (best < 0 || share < class_share(&a->class[best])) best = i;
    }
    return best;
}

static void put_classes(Html *h, const Answers *a) {
    char text[HTML_NUMBER];
    int shown = 0, known = 0, last = -1;
    for (int i = 0; i < a->classes; i++) known += a->class[i].count > 0;
    html_put(h, "<div class=\"card\"><h3>Accuracy by class</h3><ul class=\"bars\">\n");
    while (shown < CLASSES_MOST && (last = class_after(a, last)) >= 0) {
        const AnswerClass *c = &a->class[last];
        html_put(h, "<li><span>");
        html_text(h, c->name);
        html_put(h,
                 "</span><span class=\"bar\"><i style=\"width:%.1f%%\"></i></span><span class=\"end\">%s "
                 "<small>of %lld</small></span></li>\n",
                 class_share(c), html_percent(text, class_share(c)), (long long)c->count);
        shown++;
    }
    html_put(h, "</ul>");
    if (known > shown)
        html_put(h, "<p class=\"small\">The worst %d of %d classes; the others are at %s or above.</p>",
                 shown, known, html_percent(text, class_share(&a->class[last])));
    html_put(h, "</div>\n");
}

/* ---- examples ---- */

/* A picture of the class that is right: what the wrong one was taken for. */
static const Answer *example_of(const Answers *a, int class) {
    for (int64_t i = 0; i < a->count; i++)
        if (a->list[i].label_class == class && a->list[i].right) return &a->list[i];
    return NULL;
}

static void put_example(Html *h, const Answers *a, const Answer *one, int *missing) {
    char alt[1024], text[HTML_NUMBER];
    Error ignored;
    const Answer *other = one->right ? NULL : example_of(a, one->predicted_class);
    size_t start = h->text.size;
    html_put(h, "<figure class=\"%s\"><div>", one->right ? "right" : "wrong");
    if (one->right)
        snprintf(alt, sizeof alt, "%.400s, recognised", one->label);
    else
        snprintf(alt, sizeof alt, "%.400s, taken for %.400s", one->label, one->predicted);
    if (!html_image(h, one->path, alt, THUMB_WHOLE, &ignored)) {
        if (!h->failed) h->text.size = start;
        ++*missing;
        return;
    }
    if (other) {
        snprintf(alt, sizeof alt, "%.400s, for comparison", other->label);
        html_image(h, other->path, alt, THUMB_WHOLE, &ignored); /* one picture is better than none */
    }
    html_put(h, "</div><figcaption><b>");
    html_text(h, one->label);
    html_put(h, "</b>");
    if (!one->right) {
        html_put(h, "<span>taken for <b>");
        html_text(h, one->predicted);
        html_put(h, "</b></span>");
    }
    html_put(h, "<span class=\"small\">%s sure</span></figcaption></figure>\n",
             html_percent(text, 100 * one->probability));
}

static bool put_examples(Html *h, const Answers *a, bool right, int *missing, Error *e) {
    int64_t *chosen;
    int n;
    if (!(right ? answers_right(a, RIGHT_MOST, &chosen, &n, e)
                : answers_wrong(a, WRONG_MOST, &chosen, &n, e)))
        return false;
    if (n > 0) {
        html_put(h, right ? "<h3>Recognised</h3>\n" : "<h3>Mistaken</h3>\n");
        if (!right)
            html_put(h,
                     "<p>The most confident mistakes first; beside each an image of the class it was taken "
                     "for.</p>\n");
        html_put(h, "<div class=\"thumbs %s\">\n", right ? "" : "pairs");
        for (int i = 0; i < n; i++) put_example(h, a, &a->list[chosen[i]], missing);
        html_put(h, "</div>\n");
    }
    mem_free(chosen);
    return true;
}

bool report_answers(Html *h, const Answers *a, int *missing, Error *e) {
    char all[HTML_NUMBER], right[HTML_NUMBER], share[HTML_NUMBER];
    html_put(h, "<section><h2>What it recognises</h2>\n");
    if (!a->known) {
        html_put(h, "<p>%s images; the true class of none is known.</p></section>\n",
                 html_number(all, (double)a->count));
        return true;
    }
    html_put(h, "<p>%s of %s images are recognised: %s.", html_number(right, (double)a->right),
             html_number(all, (double)a->known),
             html_percent(share, 100.0 * (double)a->right / (double)a->known));
    if (a->known < a->count)
        html_put(h, " The true class of %s more is not known.",
                 html_number(all, (double)(a->count - a->known)));
    html_put(h, "</p>\n<div class=\"grid\">\n");
    bool matrix = a->classes <= MATRIX_MOST;
    if (matrix || a->pairs) {
        html_put(h, "<div class=\"stack\">\n");
        if (matrix) put_matrix(h, a);
        put_pairs(h, a);
        html_put(h, "</div>\n");
    }
    put_classes(h, a);
    html_put(h, "</div>\n");
    if (!put_examples(h, a, false, missing, e) || !put_examples(h, a, true, missing, e)) return false;
    html_put(h, "</section>\n");
    return true;
}
