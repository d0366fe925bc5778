#include "cli/unlearn_report.h"

#include "core/json.h"
#include "data/jpeg.h"
#include "data/png.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PNG_MOST = 1 << 17, JPEG_QUALITY = 90 }; /* pixels up to which a picture goes in without loss */
static const double STRIP = 2.2; /* wider than this it is a strip: strips stand below each other */

static const struct {
    const char *class, *name;
} model_row[REPORT_MODELS] = {{"before", "before"}, {"after", "after"}, {"reference", "reference"}};

static bool picture_put(Html *h, const Picture *p, const char *alt, Error *e) {
    const Image im = {.width = p->width, .height = p->height, .channels = 3, .pixel = p->pixel};
    bool whole = (int64_t)p->width * p->height <= PNG_MOST;
    Bytes file = {0};
    bool fine = whole ? image_png_encode(&file, &im, e) : image_jpeg_encode(&file, &im, JPEG_QUALITY, e);
    if (fine) {
        html_put(h, "<img width=\"%d\" height=\"%d\" alt=\"", p->width, p->height);
        html_text(h, alt);
        html_put(h, "\" src=\"");
        html_data(h, whole ? "image/png" : "image/jpeg", file.data, file.size);
        html_put(h, "\">");
    }
    bytes_free(&file);
    return fine;
}

/* ---- what classifiers say ---- */

static int64_t observed_find(const Observed *o, int64_t id) {
    for (int64_t i = 0; i < o->n; i++)
        if (o->id[i] == id) return i;
    return -1;
}

static void class_put(Html *h, const UnlearnReport *r, int64_t k) {
    if (k >= 0 && k < r->names && r->class_name)
        html_text(h, r->class_name[k]);
    else
        html_put(h, "class %" PRId64, k);
}

static void answer_put(Html *h, const UnlearnReport *r, const Audit *a, int64_t id, const char *who) {
    const Observed *o = &a->forget;
    int64_t at = observed_find(o, id);
    char text[HTML_NUMBER];
    if (at < 0 || !o->classes) return;
    const double *p = o->prob + at * o->classes;
    int best = 0;
    for (int k = 1; k < o->classes; k++)
        if (p[k] > p[best]) best = k;
    html_put(h, "<div class=\"%s\"><dt>%s</dt><dd><b>", best == o->label[at] ? "right" : "wrong", who);
    class_put(h, r, best);
    html_put(h, "</b><span>%s</span></dd></div>\n", html_percent(text, round(100 * p[best])));
}

static bool seen_put(Html *h, const UnlearnReport *r, const ReportSample *s, Error *e) {
    const AuditSet *a = r->audits;
    int64_t at = observed_find(&a->before.forget, s->id);
    html_put(h, "<figure class=\"card\">");
    if (!picture_put(h, &s->image, s->name, e)) return false;
    html_put(h, "<figcaption><code>");
    html_text(h, s->name);
    html_put(h, "</code>");
    if (at >= 0 && a->before.forget.label[at] >= 0) {
        html_put(h, "<span class=\"small\">it is ");
        class_put(h, r, a->before.forget.label[at]);
        html_put(h, "</span>");
    }
    html_put(h, "<dl>\n");
    answer_put(h, r, &a->before, s->id, "before");
    if (a->afters) answer_put(h, r, &a->after[0], s->id, "after");
    if (a->references) answer_put(h, r, &a->reference[0], s->id, "reference");
    html_put(h, "</dl></figcaption></figure>\n");
    return true;
}

static bool all_seen_put(Html *h, const UnlearnReport *r, Error *e) {
    html_put(h, "<p class=\"lead\">What each model takes them for, and how sure it is. Bold: "
                "right.</p>\n<div class=\"people\">\n");
    for (int i = 0; i < r->pictures->count; i++)
        if (!seen_put(h, r, &r->pictures->sample[i], e)) return false;
    html_put(h, "</div>\n");
    return true;
}

/* ---- what tasks draw ---- */

/* The numbers of a note, "psnr 21.3, masks 4"; nothing where it is none. */
static void note_put(Html *h, const char *note) {
    char text[TASK_NOTE + 8], word[HTML_NUMBER];
    JsonFile *f = NULL;
    Error ignored;
    snprintf(text, sizeof text, "{%s}", note);
    if (!json_open(&f, "note", text, strlen(text), &ignored)) return;
    for (Json j = json_first(json_root(f)); json_exists(j); j = json_next(j)) {
        double value;
        if (json_type(j) != JSON_NUMBER || !json_number(j, -1e15, 1e15, &value, &ignored)) continue;
        html_put(h, ", ");
        html_text(h, json_key(j));
        html_put(h, " %s", html_number(word, value));
    }
    json_close(f);
}

static bool is_strip(const ReportSample *s) {
    const Picture *p = &s->drawn[REPORT_BEFORE];
    return p->height > 0 && p->width > STRIP * p->height;
}

static bool drawn_put(Html *h, const ReportSample *s, Error *e) {
    html_put(h, "<figure class=\"card drawn\"><figcaption><code>");
    html_text(h, s->name);
    html_put(h, "</code></figcaption><div class=\"panels%s\">\n", is_strip(s) ? " wide" : "");
    for (int k = 0; k < REPORT_MODELS; k++) {
        if (!s->drawn[k].pixel) continue;
        char alt[sizeof s->name + 32];
        html_put(h, "<div class=\"%s\"><p><b>%s</b>", model_row[k].class, model_row[k].name);
        if (s->note) note_put(h, s->note[k]);
        html_put(h, "</p>");
        snprintf(alt, sizeof alt, "%s, %s", s->name, model_row[k].name);
        if (!picture_put(h, &s->drawn[k], alt, e)) return false;
        html_put(h, "</div>\n");
    }
    html_put(h, "</div></figure>\n");
    return true;
}

static bool all_drawn_put(Html *h, const UnlearnReport *r, Error *e) {
    bool mae = r->task && !strcmp(r->task, "mae");
    html_put(h, "<p class=\"lead\">What each model makes of them.%s</p>\n",
             mae ? " From left to right: the picture, what of it the model is shown, what it fills in, and "
                   "both together."
                 : "");
    html_put(h, "<div class=\"%s\">\n", is_strip(&r->pictures->sample[0]) ? "grid" : "stack");
    for (int i = 0; i < r->pictures->count; i++)
        if (!drawn_put(h, &r->pictures->sample[i], e)) return false;
    html_put(h, "</div>\n");
    return true;
}

bool report_pictures(Html *h, const UnlearnReport *r, Error *e) {
    if (!r->pictures || !r->pictures->count) return true;
    bool drawn = false, fine = true;
    for (int i = 0; i < r->pictures->count; i++)
        for (int k = 0; k < REPORT_MODELS; k++) drawn |= r->pictures->sample[i].drawn[k].pixel != NULL;
    html_put(h, "<section><h2>Forgotten pictures</h2>\n");
    fine = drawn ? all_drawn_put(h, r, e) : all_seen_put(h, r, e);
    if (r->count[SET_FORGET] > r->pictures->count)
        html_put(h, "<p class=\"small\">%d of %" PRId64 ", evenly spread.</p>\n", r->pictures->count,
                 r->count[SET_FORGET]);
    html_put(h, "</section>\n");
    return fine;
}
