/* The report of a deletion, from audits made by hand: the words follow from the figures and claim no more,
 * pages are well formed and complete in themselves, text from outside stays text, what was not measured is a
 * dash. */
#include "cli/unlearn_verdict.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/markup.h"

static const char hostile[] = "</dd><script>alert(1)</script><img src=x onerror='y'>\"&";

/* ---- audits ---- */

enum { SAMPLES = 6, CLASSES = 3 };

static void *room(size_t count, size_t size) {
    void *p = mem_zero(count, size);
    assert_non_null(p);
    return p;
}

/* Six samples of a three-class model, each with the loss of its place. */
static void observe_by_hand(Observed *o, double loss, double sure) {
    *o = (Observed){.n = SAMPLES, .classes = CLASSES};
    o->id = room(SAMPLES, sizeof *o->id);
    o->label = room(SAMPLES, sizeof *o->label);
    o->loss = room(SAMPLES, sizeof *o->loss);
    o->prob = room((size_t)SAMPLES * CLASSES, sizeof *o->prob);
    for (int i = 0; i < SAMPLES; i++) {
        o->id[i] = 10 + i;
        o->loss[i] = loss * (1 + i);
        o->prob[i * CLASSES] = sure;
        o->prob[i * CLASSES + 1] = 1 - sure;
    }
}

static void curve_by_hand(AuditCurve *c, int looks, double first, double step, bool reached) {
    *c = (AuditCurve){.n = looks, .reached = reached};
    for (int i = 0; i < looks; i++) {
        c->step[i] = 5 * i;
        c->score[i] = first + step * i;
    }
}

static void audit_by_hand(Audit *a, double ua, double ra, double ta, double mia) {
    for (int f = 0; f < FIGURES; f++) a->figure[f] = (Interval){NAN, NAN, NAN};
    a->score = "top1";
    a->share = true;
    a->figure[FIGURE_ua] = (Interval){ua, NAN, NAN};
    a->figure[FIGURE_ra] = (Interval){ra, fmax(0, ra - 1), fmin(100, ra + 1)};
    a->figure[FIGURE_ta] = (Interval){ta, fmax(0, ta - 1), fmin(100, ta + 1)};
    a->figure[FIGURE_mia] = (Interval){mia, NAN, NAN};
}

static void means(AuditSet *s) {
    memcpy(s->before_mean, s->before.figure, sizeof s->before_mean);
    memcpy(s->after_mean, s->after[0].figure, sizeof s->after_mean);
    memcpy(s->reference_mean, s->reference[0].figure, sizeof s->reference_mean);
}

/* Forgotten as if never seen, by what it answers. */
static AuditSet *audits_open(bool reference) {
    AuditSet *s = room(1, sizeof *s);
    audit_by_hand(&s->before, 0, 99.25, 91, 1);
    audit_by_hand(&s->after[0], 100, 98.5, 90, 97.5);
    observe_by_hand(&s->before.forget, 0.01, 0.9);
    observe_by_hand(&s->before.retain, 0.02, 0.9);
    observe_by_hand(&s->before.test, 0.3, 0.9);
    observe_by_hand(&s->after[0].forget, 2, 0.25);
    s->afters = 1;
    if (reference) {
        audit_by_hand(&s->reference[0], 100, 99.25, 91, 97.5);
        observe_by_hand(&s->reference[0].forget, 2.1, 0.2);
        s->references = 1;
    }
    means(s);
    return s;
}

static void audits_close(AuditSet *s) {
    audit_set_close(s);
    mem_free(s);
}

static const AuditSettings settings = {.relearn_steps = 20, .relearn_every = 5};
static char *const asked[] = {"identity=s07", (char *)hostile};
static char *const class_name[] = {"s07", (char *)hostile};

static UnlearnReport report_of(const AuditSet *s) {
    return (UnlearnReport){.audits = s,
                           .audit = &settings,
                           .method = method_find("salun"),
                           .asked = asked,
                           .asks = COUNT(asked),
                           .trained = 280,
                           .count = {[SET_FORGET] = SAMPLES, [SET_RETAIN] = 274, [SET_TEST] = 60},
                           .task = "classify",
                           .class_name = class_name,
                           .names = COUNT(class_name)};
}

/* The page as text; mem_free. */
static char *page_of(const UnlearnReport *r) {
    Html h = {0};
    Error e;
    if (!unlearn_report_put(&h, r, &e)) fail_msg("%s", e.text);
    char *text = room(h.text.size + 1, 1);
    memcpy(text, h.text.data, h.text.size);
    html_free(&h);
    return text;
}

static void check_page(const char *text, int *images) {
    int headings;
    check_markup(text, images, &headings);
    assert_int_equal(headings, 1);
    static const char *const never[] = {"<script", "http:", "https:", "url(", "onerror='",
                                        "src=\"/", "nan",   "inf\"",  ">inf", " inf"};
    for (int i = 0; i < COUNT(never); i++)
        if (strstr(text, never[i])) fail_msg("the page holds \"%s\"", never[i]);
}

static void has(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("\"%s\" is not there", part);
}

/* ---- words ---- */

typedef struct Case {
    double before, after, reference;
    const char *part; /* of the headline */
    Tone tone;
} Case;

static void test_forgotten(void **state) {
    (void)state;
    static const Case cases[] = {
        {0, 100, 100, "as a model that never saw them does (100\xC2\xA0% wrong against 100\xC2\xA0%)",
         TONE_LIKE},
        {0, 40, 100,
         "still knows more of them than one that never saw them (40\xC2\xA0% wrong against 100\xC2\xA0%)",
         TONE_AGAINST},
        {0, 100, 30,
         "does worse on them than one that never saw them (100\xC2\xA0% wrong against 30\xC2\xA0%)",
         TONE_AGAINST},
        {0, 66, 70, "so few samples, or seeds, cannot tell whether", TONE_UNSURE},
        {5, 5, 6, "says little", TONE_OPEN},
        {0, 60, NAN, "judges 60\xC2\xA0% of them wrong (before: 0\xC2\xA0%), which cannot be judged",
         TONE_OPEN},
        {0, 0, NAN, "still judges them as it did before", TONE_AGAINST},
        {0, NAN, 100, "was not measured", TONE_LIKE},
    };
    for (int i = 0; i < COUNT(cases); i++) {
        AuditSet *s = audits_open(!isnan(cases[i].reference));
        Verdict v;
        s->before_mean[FIGURE_ua].value = cases[i].before;
        s->after_mean[FIGURE_ua].value = cases[i].after;
        s->reference_mean[FIGURE_ua].value = cases[i].reference;
        const UnlearnReport r = report_of(s);
        verdict_make(&v, &r);
        has(v.headline, cases[i].part);
        has(v.headline, "6 of 280 samples were to be forgotten, by SalUn: ");
        if (!isnan(cases[i].after)) assert_int_equal(v.finding[0].tone, cases[i].tone);
        audits_close(s);
    }
}

/* Samples so few that the intervals meet are no ground to tell figures apart. */
static void test_intervals(void **state) {
    (void)state;
    AuditSet *s = audits_open(true);
    Verdict v;
    s->after_mean[FIGURE_ua] = (Interval){70, 40, 90};
    s->reference_mean[FIGURE_ua] = (Interval){100, 65, 100};
    UnlearnReport r = report_of(s);
    verdict_make(&v, &r);
    assert_int_equal(v.finding[0].tone, TONE_UNSURE);
    s->after_mean[FIGURE_ua] = (Interval){50, 45, 55};
    verdict_make(&v, &r);
    assert_int_equal(v.finding[0].tone, TONE_AGAINST);
    audits_close(s);
}

static const Finding *finding_of(const Verdict *v, const char *subject) {
    for (int i = 0; i < v->count; i++)
        if (!strcmp(v->finding[i].subject, subject)) return &v->finding[i];
    fail_msg("nothing is said of \"%s\"", subject);
    return NULL;
}

static void test_relearning(void **state) {
    (void)state;
    AuditSet *s = audits_open(true);
    Verdict v;
    const UnlearnReport r = report_of(s);
    curve_by_hand(&s->after[0].retained, 2, 0, 96, true);
    curve_by_hand(&s->reference[0].retained, 5, 0, 1, false);
    verdict_make(&v, &r);
    assert_int_equal(finding_of(&v, "Relearning from others")->tone, TONE_AGAINST);
    has(v.headline, "but relearning on retained samples alone brings them back within 5 updates");
    /* a look later or sooner is no difference */
    curve_by_hand(&s->reference[0].retained, 3, 0, 48, true);
    verdict_make(&v, &r);
    assert_int_equal(finding_of(&v, "Relearning from others")->tone, TONE_LIKE);
    /* neither is back, but one is far ahead: with six samples from 0 to all of them */
    curve_by_hand(&s->after[0].retained, 5, 0, 25, false);
    curve_by_hand(&s->reference[0].retained, 5, 0, 0, false);
    verdict_make(&v, &r);
    assert_int_equal(finding_of(&v, "Relearning from others")->tone, TONE_AGAINST);
    has(v.headline, "faster than they are learnt anew");
    /* who knows them at the start says nothing */
    curve_by_hand(&s->after[0].retained, 1, 97, 0, true);
    curve_by_hand(&s->reference[0].retained, 1, 97, 0, true);
    verdict_make(&v, &r);
    assert_int_equal(finding_of(&v, "Relearning from others")->tone, TONE_OPEN);
    /* who knows them at the start, where the reference does not, has forgotten nothing: nothing comes back */
    curve_by_hand(&s->reference[0].retained, 5, 0, 0, false);
    verdict_make(&v, &r);
    assert_int_equal(finding_of(&v, "Relearning from others")->tone, TONE_AGAINST);
    has(v.headline, "they are known nearly as well as before without any relearning");
    assert_null(strstr(v.headline, "back within"));
    audits_close(s);
    s = audits_open(false);
    const UnlearnReport alone = report_of(s);
    curve_by_hand(&s->after[0].retained, 2, 0, 96, true);
    verdict_make(&v, &alone);
    has(v.headline, "shows that they come back within 5 updates");
    assert_int_equal(finding_of(&v, "Relearning from others")->tone, TONE_OPEN);
    audits_close(s);
}

static void test_comeback(void **state) {
    (void)state;
    Audit list[3];
    memset(list, 0, sizeof list);
    Comeback c = comeback_of(list, 3, false);
    assert_false(c.tried || c.some || c.all);
    curve_by_hand(&list[0].retained, 5, 0, 1, false);
    curve_by_hand(&list[1].retained, 3, 0, 1, true);
    curve_by_hand(&list[2].retained, 4, 0, 1, true);
    c = comeback_of(list, 3, false);
    assert_true(c.tried && c.some && !c.all && c.soonest == 10 && c.best == 1);
    c = comeback_of(list, 1, false);
    assert_true(c.tried && !c.some && !c.all && c.soonest == 20);
    c = comeback_of(list + 1, 2, false);
    assert_true(c.all && c.soonest == 10);
    assert_false(comeback_of(list, 3, true).tried);
}

static void test_what_else_speaks(void **state) {
    (void)state;
    AuditSet *s = audits_open(true);
    Verdict v;
    UnlearnReport r = report_of(s);
    verdict_make(&v, &r);
    has(v.headline, "nothing else that was measured tells the two apart.");
    s->after_mean[FIGURE_ra] = (Interval){60, 55, 65};
    s->after_mean[FIGURE_ua_int8] = (Interval){100, NAN, NAN};
    s->after_mean[FIGURE_ua_int4] = (Interval){50, NAN, NAN};
    verdict_make(&v, &r);
    has(v.headline,
        "it has lost much of what it was to keep (retained samples 60\xC2\xA0% right, before 99.2\xC2\xA0%)");
    has(v.headline, "and part of it is back with weights of 4 bits (50\xC2\xA0% wrong)");
    assert_null(strstr(v.headline, "nothing else"));
    assert_int_equal(v.tone, TONE_AGAINST);
    /* what retraining costs, too, is no damage */
    s->reference_mean[FIGURE_ra] = (Interval){59, 54, 64};
    verdict_make(&v, &r);
    assert_int_equal(finding_of(&v, "What was to be kept")->tone, TONE_LIKE);
    s->after_mean[FIGURE_auc] = s->reference_mean[FIGURE_auc] = s->before_mean[FIGURE_auc] =
        (Interval){0.5, NAN, NAN};
    s->after_mean[FIGURE_ks] = (Interval){0.00001, NAN, NAN};
    verdict_make(&v, &r);
    assert_int_equal(finding_of(&v, "Losses")->tone, TONE_AGAINST);
    has(finding_of(&v, "Losses")->text, "p below 0.0001");
    s->after_mean[FIGURE_lira_auc] = (Interval){0.52, NAN, NAN};
    verdict_make(&v, &r);
    assert_int_equal(finding_of(&v, "Attack on each sample")->tone, TONE_LIKE);
    s->after_mean[FIGURE_lira_auc] = (Interval){0.8, NAN, NAN};
    verdict_make(&v, &r);
    assert_int_equal(finding_of(&v, "Attack on each sample")->tone, TONE_AGAINST);
    audits_close(s);
}

static void test_losses_for_scores(void **state) {
    (void)state;
    AuditSet *s = audits_open(true);
    Verdict v;
    UnlearnReport r = report_of(s);
    s->before.share = false;
    s->before_mean[FIGURE_ua].value = 0.5;
    s->after_mean[FIGURE_ua].value = 0.58;
    s->reference_mean[FIGURE_ua].value = 0.6;
    verdict_make(&v, &r);
    has(v.headline, "as a model that never saw them does (a loss of 0.58 against 0.6)");
    s->after_mean[FIGURE_ua].value = 0.52;
    verdict_make(&v, &r);
    has(v.headline, "still knows more");
    char *text = page_of(&r);
    int images;
    check_page(text, &images);
    has(text, "Loss, forgotten");
    assert_null(strstr(text, "0.52 %"));
    mem_free(text);
    audits_close(s);
}

/* Fewer bits bring back what was forgotten, if anything was, and more of it than the last digit. */
static void test_bits(void **state) {
    (void)state;
    static const struct {
        bool share;
        double before, after, bits, reference;
        const char *label; /* NULL: nothing is said */
    } cases[] = {
        {false, 0.8455, 0.8458, 0.8456, 0.9, NULL},        /* nothing was forgotten */
        {false, 0.80, 0.846, 0.8459, 0.9, "nothing back"}, /* shown alike */
        {false, 0.80, 0.846, 0.83, 0.9, "comes back"},     /* a third of the way back */
        {false, 0.80, 0.846, 0.84, 0.9, "nothing back"},   /* an eighth */
        {false, 0.1, 0.103, 0.1, 0.5, NULL},               /* hardly any of the way to the reference */
        {false, 0.1, 0.103, 0.1, NAN, NULL},               /* or to unseen samples */
        {false, 0.1, 0.3, 0.15, NAN, "comes back"},
        {false, 0.3, 0.2, 0.1, 0.5, NULL}, /* known better than before */
        {true, 10, 11, 4, 60, NULL},
        {true, 10, 60, 58, 60, "nothing back"},
        {true, 10, 60, 40, 60, "comes back"},
        {true, 40, 20, 4, 60, NULL},
    };
    for (int i = 0; i < COUNT(cases); i++) {
        AuditSet *s = audits_open(!isnan(cases[i].reference));
        Verdict v;
        const Finding *f = NULL;
        s->before.share = cases[i].share;
        s->before_mean[FIGURE_ua].value = cases[i].before;
        s->before_mean[FIGURE_ta].value = cases[i].share ? 90 : 0.5;
        s->after_mean[FIGURE_ua].value = cases[i].after;
        s->after_mean[FIGURE_ua_int8].value = s->after_mean[FIGURE_ua_int4].value = cases[i].bits;
        s->reference_mean[FIGURE_ua].value = cases[i].reference;
        const UnlearnReport r = report_of(s);
        verdict_make(&v, &r);
        for (int k = 0; k < v.count; k++)
            if (!strcmp(v.finding[k].subject, "Weights of fewer bits")) f = &v.finding[k];
        if (f ? !cases[i].label || strcmp(f->label, cases[i].label) != 0 : cases[i].label != NULL)
            fail_msg("case %d: %s", i, f ? f->text : "nothing is said");
        audits_close(s);
    }
}

static void test_exact(void **state) {
    (void)state;
    AuditSet *s = audits_open(false);
    Verdict v;
    UnlearnReport r = report_of(s);
    r.method = method_find("retrain");
    verdict_make(&v, &r);
    has(v.headline, "the model was trained without them");
    assert_null(strstr(v.headline, "cannot be judged"));
    char *text = page_of(&r);
    has(text, "What is claimed: Exact");
    assert_null(strstr(text, "No reference was given"));
    mem_free(text);

    /* from weights that knew them it is not, and the page says nowhere that it is */
    r.began_with = 3;
    verdict_make(&v, &r);
    assert_null(strstr(v.headline, "without them"));
    has(v.headline, "cannot be judged");
    text = page_of(&r);
    has(text, "What is claimed: Heuristic");
    has(text, "had been trained with 3 of the forgotten ones");
    has(text, "No reference was given");
    static const char *const never[] = {"What is claimed: Exact", "had no part in it",
                                        "was trained without them", "never seen</span>",
                                        "leaves little to doubt"};
    for (int i = 0; i < COUNT(never); i++)
        if (strstr(text, never[i])) fail_msg("the page holds \"%s\"", never[i]);
    mem_free(text);
    audits_close(s);
}

/* ---- numbers ---- */

static void test_numbers(void **state) {
    (void)state;
    AuditSet *s = audits_open(true);
    static const struct {
        Figure f;
        double value;
        const char *text;
    } cases[] = {
        {FIGURE_ua, 97.5, "97.5 %"},
        {FIGURE_ua, 100, "100 %"},
        {FIGURE_auc, 0.5, "0.500"},
        {FIGURE_ks, 1e-9, "below 0.0001"},
        {FIGURE_ks, 0, "0.000"},
        {FIGURE_seconds, 3.25, "3.2 s"},
        {FIGURE_seconds, 125, "2 min 05 s"},
        {FIGURE_relearn, 25, "25"},
        {FIGURE_moved, NAN, "–"},
        {FIGURE_tow, INFINITY, "–"},
        {FIGURE_activation, 1e7, "10,000,000"},
        {FIGURE_js, 0.0625, "0.0625"},
        {FIGURE_aus, -0.25, "-0.250"},
    };
    char out[HTML_NUMBER];
    for (int i = 0; i < COUNT(cases); i++)
        assert_string_equal(report_figure(out, cases[i].f, s, cases[i].value), cases[i].text);
    audits_close(s);
}

/* ---- pages ---- */

static void paint(Picture *p, int width, int height) {
    *p = (Picture){.width = width, .height = height, .pixel = room((size_t)width * (size_t)height, 3)};
}

static ReportPictures *pictures_open(bool drawn) {
    ReportPictures *p = room(1, sizeof *p);
    p->count = 2;
    for (int i = 0; i < p->count; i++) {
        ReportSample *s = &p->sample[i];
        s->id = 10 + i;
        snprintf(s->name, sizeof s->name, "%s", hostile);
        if (!drawn) {
            paint(&s->image, 8, 8);
            continue;
        }
        s->note = room(REPORT_MODELS, TASK_NOTE);
        for (int k = 0; k < REPORT_MODELS; k++) {
            paint(&s->drawn[k], 40, 8);
            snprintf(s->note[k], TASK_NOTE, "\"psnr\": 21.5, \"<b>\": 2, \"list\": [1]");
        }
    }
    return p;
}

static void test_page(void **state) {
    (void)state;
    static const ReportRemain remain[] = {{hostile, "the weights before"}};
    static const char recipe[] = "{\"unlearn\": {\"salun\": {\"epochs\": 2, \"lr\": 1e-05, "
                                 "\"</pre><script>\": \"</pre>\"}}, \"audit\": {\"probe\": true}}";
    AuditSet *s = audits_open(true);
    ReportPictures *p = pictures_open(false);
    UnlearnReport r = report_of(s);
    curve_by_hand(&s->after[0].retained, 3, 0, 48, true);
    curve_by_hand(&s->reference[0].few, 5, 0, 1, false);
    s->after_mean[FIGURE_relearn] = (Interval){10, NAN, NAN};
    s->reference_mean[FIGURE_relearn_few] = (Interval){20, NAN, NAN};
    s->after_mean[FIGURE_ks] = (Interval){1e-7, NAN, NAN};
    r.pictures = p;
    r.remain = remain;
    r.remains = COUNT(remain);
    r.recipe = recipe;
    r.when = "2026-08-20 14:05 UTC";
    r.unlearn_seconds = 3;
    char *text = page_of(&r);
    int images;
    check_page(text, &images);
    assert_int_equal(images, 2);
    static const char *const there[] = {"This page is itself personal data",
                                        "It shows pictures",
                                        "98.5 %",
                                        "97.5 %",
                                        "Fan et al. 2024",
                                        "Heuristic",
                                        "What this does not prove",
                                        "What still holds the old state",
                                        "more than 20",
                                        "below 0.0001",
                                        "2026-08-20",
                                        "274 retained, of 280",
                                        "0.00001000",
                                        "Trained further on retained samples",
                                        "it is s07",
                                        ">90 %<",
                                        "&#60;script&#62;"};
    for (int i = 0; i < COUNT(there); i++) has(text, there[i]);
    mem_free(text);
    pictures_close(p);
    mem_free(p);
    audits_close(s);
}

static void test_drawn(void **state) {
    (void)state;
    AuditSet *s = audits_open(true);
    ReportPictures *p = pictures_open(true);
    UnlearnReport r = report_of(s);
    int images;
    r.pictures = p;
    r.task = "mae";
    char *text = page_of(&r);
    check_page(text, &images);
    assert_int_equal(images, 2 * REPORT_MODELS);
    has(text, "psnr 21.5");
    has(text, "panels wide");
    mem_free(text);
    pictures_close(p);
    mem_free(p);
    audits_close(s);
}

static void test_without_pictures(void **state) {
    (void)state;
    AuditSet *s = audits_open(false);
    const UnlearnReport r = report_of(s);
    int images;
    char *text = page_of(&r);
    check_page(text, &images);
    assert_int_equal(images, 0);
    has(text, "written without pictures");
    has(text, "No reference was given");
    has(text, "Before and after");
    assert_null(strstr(text, ">reference<"));
    mem_free(text);
    audits_close(s);
}

/* Nothing measured, nobody observed, nothing known: a page all the same. */
static void test_nothing_measured(void **state) {
    (void)state;
    AuditSet *s = room(1, sizeof *s);
    audit_by_hand(&s->before, NAN, NAN, NAN, NAN);
    audit_by_hand(&s->after[0], NAN, NAN, NAN, NAN);
    audit_by_hand(&s->reference[0], NAN, NAN, NAN, NAN);
    s->afters = s->references = 1;
    means(s);
    const UnlearnReport r = {.audits = s};
    int images;
    char *text = page_of(&r);
    check_page(text, &images);
    has(text, "was not measured");
    has(text, "What is claimed: nothing");
    mem_free(text);
    /* a loss that is not finite among others */
    observe_by_hand(&s->after[0].forget, 1, 0.5);
    s->after[0].forget.loss[2] = NAN;
    s->after[0].forget.loss[3] = INFINITY;
    s->after_mean[FIGURE_ua].value = INFINITY;
    text = page_of(&r);
    check_page(text, &images);
    mem_free(text);
    audits_close(s);
}

static void test_seeds(void **state) {
    (void)state;
    AuditSet *s = audits_open(true);
    audit_by_hand(&s->after[1], 90, 98, 90, 90);
    observe_by_hand(&s->after[1].forget, 1, 0.5);
    s->afters = 2;
    s->after_mean[FIGURE_ua] = (Interval){95, 31.5, 158.5};
    const UnlearnReport r = report_of(s);
    int images;
    char *text = page_of(&r);
    check_page(text, &images);
    has(text, "31.5 to 100 %");
    has(text, "Means over 2 models after and 1 for reference");
    mem_free(text);
    audits_close(s);
}

/* ---- several models ---- */

static void near(double got, double want) {
    if (!(fabs(got - want) <= 1e-12)) fail_msg("%.15g, should be %.15g", got, want);
}

static AuditSet *set_by_hand(int afters, int references) {
    AuditSet *s = room(1, sizeof *s);
    audit_by_hand(&s->before, 0, 100, 90, 0);
    for (int i = 0; i < afters; i++) audit_by_hand(&s->after[i], 40 + 20 * i, 100, 90, 0);
    for (int i = 0; i < references; i++) audit_by_hand(&s->reference[i], 60 + 20 * i, 100, 90, 0);
    s->afters = afters;
    s->references = references;
    return s;
}

/* One a seed: its own. Else: all of them. Before: always all of them. */
static void test_references(void **state) {
    (void)state;
    static const struct {
        int afters, references;
        double before, first, mean;
    } cases[] = {
        {2, 2, 70 / 4.0, 20 / 4.0, 20 / 4.0}, /* 40, 60 by 60, 80 */
        {1, 2, 70 / 4.0, 30 / 4.0, 30 / 4.0},
        {2, 1, 60 / 4.0, 20 / 4.0, 10 / 4.0},
        {2, 3, 80 / 4.0, 40 / 4.0, (40 + (0 + 20 + 40) / 3.0) / 2 / 4},
    };
    const UnlearnWorld world = {0};
    Task task = {.classes = CLASSES};
    const Unlearn u = {.task = &task, .world = &world};
    for (int i = 0; i < COUNT(cases); i++) {
        AuditSet *s = set_by_hand(cases[i].afters, cases[i].references);
        Error e;
        if (!audit_set_compare(s, &u, &e)) fail_msg("%s", e.text);
        near(s->before_mean[FIGURE_gap].value, cases[i].before);
        near(s->after[0].figure[FIGURE_gap].value, cases[i].first);
        near(s->after_mean[FIGURE_gap].value, cases[i].mean);
        assert_true(isnan(s->after_mean[FIGURE_rte].value));
        audit_set_close(s);
        mem_free(s);
    }
    /* who knows what it took counts */
    AuditSet *s = set_by_hand(1, 3);
    Error e;
    s->after[0].figure[FIGURE_seconds].value = 1;
    s->reference[0].figure[FIGURE_seconds].value = 10;
    s->reference[2].figure[FIGURE_seconds].value = 20;
    if (!audit_set_compare(s, &u, &e)) fail_msg("%s", e.text);
    near(s->after_mean[FIGURE_rte].value, 7.5);
    audit_set_close(s);
    mem_free(s);
}

/* What was tried and not reached is no number like the others, nor is a mean with one such in it. */
static void test_beyond(void **state) {
    (void)state;
    AuditSet *s = set_by_hand(2, 2);
    const UnlearnWorld world = {0};
    Task task = {.classes = CLASSES};
    const Unlearn u = {.task = &task, .world = &world};
    Error e;
    s->after[0].figure[FIGURE_relearn] = audit_beyond(20);
    s->after[1].figure[FIGURE_relearn] = (Interval){10, NAN, NAN};
    for (int i = 0; i < 2; i++) s->reference[i].figure[FIGURE_relearn] = (Interval){10, NAN, NAN};
    if (!audit_set_compare(s, &u, &e)) fail_msg("%s", e.text);
    char *text = audit_set_json(s, &e);
    assert_non_null(text);
    has(text, "\"relearn\": {\"value\": 15, \"at_least\": true}");
    has(text, "\"relearn\": {\"value\": 10, \"lo\": 10, \"hi\": 10}");
    mem_free(text);
    audits_close(s);
}

/* Whichever request for memory fails: an error, no crash, no leak. */
static void test_out_of_memory(void **state) {
    (void)state;
    AuditSet *s = audits_open(true);
    ReportPictures *p = pictures_open(false);
    UnlearnReport r = report_of(s);
    r.pictures = p;
    r.recipe = "{\"audit\": {\"probe\": true}}";
    uint64_t live = mem_stat().live;
    bool fine = false;
    for (int64_t n = 0; n < 400 && !fine; n++) {
        Html h = {0};
        Error e;
        mem_fail_after(n);
        fine = unlearn_report_put(&h, &r, &e);
        mem_fail_after(-1);
        html_free(&h);
        assert_int_equal(mem_stat().live, live);
    }
    assert_true(fine);
    pictures_close(p);
    mem_free(p);
    audits_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_intervals),
        cmocka_unit_test(test_relearning),
        cmocka_unit_test(test_comeback),
        cmocka_unit_test(test_what_else_speaks),
        cmocka_unit_test(test_losses_for_scores),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_exact),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_page),
        cmocka_unit_test(test_drawn),
        cmocka_unit_test(test_without_pictures),
        cmocka_unit_test(test_nothing_measured),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_beyond),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests_name("unlearn_report", tests, NULL, NULL);
}
