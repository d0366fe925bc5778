#include "cli/report.h"
#include "cli/unlearn_verdict.h"

#include "core/file.h"

/* How to treat it. */
static void put_notice(Html *h, const UnlearnReport *r) {
    if (!r->asks)
        html_put(
            h,
            "<div class=\"notice\" role=\"note\"><p>This page names nobody and shows nobody: it may go with "
            "the model. Figures of very few samples still say something of them.</p></div>\n");
    else
        html_put(h,
                 "<div class=\"notice\" role=\"note\"><p><b>This page is itself personal data.</b> %s Keep "
                 "it where "
                 "only those can see it who must, as long as you have to show what was done, then destroy "
                 "it.</p></div>\n",
                 r->pictures && r->pictures->count ? "It shows pictures that were to be forgotten."
                                                   : "It was written without pictures, but it names the "
                                                     "request and says things of few samples.");
}

static void put_title(Html *h, const UnlearnReport *r, const Verdict *v) {
    html_put(h, "<header class=\"deletion\">\n<p class=\"over\">Report on a deletion%s<b>",
             r->asks ? ": " : "");
    for (int i = 0; i < r->asks; i++) {
        html_put(h, "%s", i ? ", " : "");
        html_text(h, r->asked[i]);
    }
    html_put(h, "</b>");
    if (r->when) {
        html_put(h, " · ");
        html_text(h, r->when);
    }
    html_put(h, "</p>\n<h1>");
    html_text(h, v->headline);
    html_put(h, "</h1>\n</header>\n");
    put_notice(h, r);
}

static void put_findings(Html *h, const UnlearnReport *r, const Verdict *v) {
    static const char *const class[TONES] = {
        [TONE_LIKE] = "like", [TONE_UNSURE] = "unsure", [TONE_AGAINST] = "against", [TONE_OPEN] = "open"};
    if (!r->audits->references && !report_exact(r))
        html_put(h, "<p class=\"alone\"><b>No reference was given.</b> Most figures can only be judged "
                    "beside those of a model that was trained without the samples: make one by <code>lethe "
                    "unlearn --method retrain</code>, and give it by <code>--reference</code>.</p>\n");
    html_put(h, "<div class=\"card\"><ul class=\"findings\">\n");
    for (int i = 0; i < v->count; i++) {
        const Finding *f = &v->finding[i];
        html_put(h, "<li><div><h3>%s</h3><span class=\"pill %s\">%s</span></div><p>", f->subject,
                 class[f->tone], f -> label);
        html_text(h, f->text);
        html_put(h, "</p></li>\n");
    }
    html_put(h, "</ul></div>\n");
}

bool unlearn_report_put(Html *h, const UnlearnReport *r, Error *e) {
    Verdict v;
    verdict_make(&v, r);
    report_begin(h, "Lethe: what was forgotten", "<meta name=\"robots\" content=\"noindex\">\n",
                 unlearn_report_style);
    put_title(h, r, &v);
    put_findings(h, r, &v);
    report_claim(h, r);
    report_main_figures(h, r);
    if (!report_losses(h, r, e)) return false;
    report_relearning(h, r);
    if (!report_pictures(h, r, e)) return false;
    report_deep_figures(h, r);
    report_other_figures(h, r);
    report_limits(h, r);
    report_facts(h, r);
    html_put(h, "</main>\n<footer>lethe %s</footer>\n</body>\n</html>\n", LETHE_VERSION);
    return html_fine(h, e);
}

bool unlearn_report_write(const char *path, const UnlearnReport *r, Error *e) {
    Html h = {0};
    bool (*write)(const char *, const void *, size_t, Error *) =
        r->asks ? file_replace_private : file_write; /* asks: it says who */
    bool fine = unlearn_report_put(&h, r, e) && write(path, h.text.data, h.text.size, e);
    html_free(&h);
    return fine;
}
