#include "cli/unlearn_verdict.h"

#include "core/json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- the claim ---- */

static const struct {
    const char *title, *text;
} claim_text[] = {
    [CLAIM_EXACT] = {"Exact",
                     "This model was trained anew on the retained samples alone; the forgotten ones had no "
                     "part in it. There is no stronger claim. It holds for these weights, as far as the "
                     "request names all that is to be forgotten (the same person under another name, or a "
                     "copy of a picture under another identity, is not covered), and, where training began "
                     "from other weights, as far as these had not seen them either."},
    [CLAIM_CERTIFIED] = {"Certified",
                         "A theorem bounds how well anybody can tell these weights from those of a model "
                         "trained without the samples. It holds as far as its conditions do, and only as "
                         "tightly as the numbers in the method's settings say."},
    [CLAIM_HEURISTIC] =
        {"Heuristic",
         "The method is meant to change the weights so that the model behaves as if it had not seen the "
         "samples. How far it did is what was measured here, and an attack that was not tried may find "
         "more: nothing proves what the weights still hold. Where proof is needed, train anew without the "
         "samples."},
};

bool report_exact(const UnlearnReport *r) {
    return r->method && r->method->claim == CLAIM_EXACT && !r->began_with;
}

/* Retraining from weights that knew the forgotten. */
static void claim_began(Html *h, const UnlearnReport *r) {
    html_put(h,
             "The training read the retained samples alone, but the weights it began with had been trained "
             "with %" PRId64
             " of the forgotten ones, as their own list of samples says. Training on removes what they "
             "knew only as far as it was measured here; nothing proves that it is gone. Where proof is "
             "needed, begin with random weights, or with others that were trained without the samples.",
             r->began_with);
}

void report_claim(Html *h, const UnlearnReport *r) {
    const Method *m = r->method;
    CertificateClaim claim = m && !r->began_with ? m->claim : CLAIM_HEURISTIC;
    html_put(h, "<div class=\"card claim\"><h3>What is claimed: %s</h3>\n<p>",
             m ? claim_text[claim].title : "nothing");
    if (m) {
        html_text(h, m->title);
        html_put(h, " (");
        html_text(h, m->source);
        html_put(h, "): ");
        html_text(h, m->about);
        html_put(h, ".</p>\n<p>");
        if (r->began_with)
            claim_began(h, r);
        else
            html_put(h, "%s", claim_text[claim].text);
        html_put(h, "</p></div>\n");
    } else
        html_put(h, "How these weights were made is not known here: they were only measured. What follows "
                    "are measurements, not a statement about how the samples were removed.</p></div>\n");
}

/* ---- what was asked and done ---- */

static void fact_open(Html *h, const char *label) {
    html_put(h, "<div><dt>");
    html_text(h, label);
    html_put(h, "</dt><dd>");
}

static void fact_close(Html *h) {
    html_put(h, "</dd></div>\n");
}

static void fact_text(Html *h, const char *label, const char *text) {
    if (!text || !text[0]) return;
    fact_open(h, label);
    html_text(h, text);
    fact_close(h);
}

static void fact_seconds(Html *h, const char *label, double seconds) {
    char text[HTML_NUMBER];
    if (!(seconds > 0)) return;
    fact_open(h, label);
    html_put(h, "%s", seconds < 1 ? "less than a second" : html_seconds(text, seconds));
    fact_close(h);
}

static void request_put(Html *h, const UnlearnReport *r) {
    if (r->asks) {
        fact_open(h, "Request");
        for (int i = 0; i < r->asks; i++) {
            html_put(h, "%s", i ? ", " : "");
            html_text(h, r->asked[i]);
        }
        fact_close(h);
    }
    fact_open(h, "Samples");
    html_put(h, "%" PRId64 " forgotten, %" PRId64 " retained, of %" PRId64 " that the model was trained on",
             r->count[SET_FORGET], r->count[SET_RETAIN], r->trained);
    fact_close(h);
    fact_open(h, "Unseen samples");
    html_put(h, "%" PRId64 " for these figures", r->count[SET_TEST]);
    if (r->count[SET_VALID])
        html_put(h, ", %" PRId64 " others that the method could look at", r->count[SET_VALID]);
    if (r->count[SET_KIN]) html_put(h, ", %" PRId64 " of what was forgotten whole", r->count[SET_KIN]);
    fact_close(h);
}

static void models_put(Html *h, const UnlearnReport *r) {
    const AuditSet *s = r->audits;
    fact_open(h, "Models compared");
    html_put(h, "1 before, %d after, %d for reference", s->afters, s->references);
    fact_close(h);
    if (r->method) fact_text(h, "Method", r->method->title);
    fact_text(h, "Task", r->task);
    if (r->updates > 0) {
        fact_open(h, "Updates");
        html_put(h, "%" PRId64, r->updates);
        fact_close(h);
    }
    fact_seconds(h, "Forgetting took", r->unlearn_seconds);
    fact_seconds(h, "The audit took", r->audit_seconds);
    fact_text(h, "Written", r->when);
}

/* One value of a recipe: a number, a word, yes or no. */
static void value_put(Html *h, Json j) {
    Error ignored;
    const char *text;
    double number;
    bool yes;
    char word[HTML_NUMBER];
    if (json_type(j) == JSON_TEXT && json_text(j, &text, &ignored)) html_text(h, text[0] ? text : "none");
    if (json_type(j) == JSON_BOOL && json_bool(j, &yes, &ignored)) html_put(h, "%s", yes ? "yes" : "no");
    if (json_type(j) == JSON_NUMBER && json_number(j, -1e15, 1e15, &number, &ignored)) {
        if (number == round(number))
            html_put(h, "%.0f", number);
        else if (fabs(number) < 0.01)
            html_put(h, "%.8f", number);
        else
            html_put(h, "%s", html_number(word, number));
    }
}

static void settings_put(Html *h, const char *title, Json object) {
    if (json_type(object) != JSON_OBJECT || json_count(object) == 0) return;
    html_put(h, "<div class=\"card facts\"><h3>%s</h3><dl>\n", title);
    for (Json j = json_first(object); json_exists(j); j = json_next(j)) {
        if (json_type(j) == JSON_OBJECT || json_type(j) == JSON_ARRAY) continue;
        fact_open(h, json_key(j));
        value_put(h, j);
        fact_close(h);
    }
    html_put(h, "</dl></div>\n");
}

void report_facts(Html *h, const UnlearnReport *r) {
    JsonFile *f = NULL;
    Error ignored;
    html_put(h, "<section><h2>What was done</h2>\n<div class=\"grid\">\n<div class=\"card facts\"><h3>The "
                "request</h3><dl>\n");
    request_put(h, r);
    html_put(h, "</dl></div>\n<div class=\"card facts\"><h3>The work</h3><dl>\n");
    models_put(h, r);
    html_put(h, "</dl></div>\n");
    if (r->recipe && json_open(&f, "recipe", r->recipe, strlen(r->recipe), &ignored)) {
        Json unlearn = json_get(json_root(f), "unlearn");
        if (r->method) settings_put(h, "Settings of the method", json_get(unlearn, r->method->name));
        settings_put(h, "Settings of the audit", json_get(json_root(f), "audit"));
        json_close(f);
    }
    html_put(h, "</div>\n");
    if (r->recipe) {
        html_put(h, "<details><summary>The complete recipe</summary><pre>");
        html_text(h, r->recipe);
        html_put(h, "</pre></details>\n");
    }
    html_put(h, "</section>\n");
}

/* ---- what is not proven ---- */

enum { REMAINS_SHOWN = 24 };

typedef struct Attack {
    const char *name, *text;
    Figure tried; /* FIGURES: not tried here */
    bool exact;   /* concerns retrained models as well */
} Attack;

static const Attack attacks[] = {
    {"Training further",
     "What is only hidden comes back, from retained samples alone or from very few forgotten ones (arXiv "
     "2505.22310, 2506.01318).",
     FIGURE_relearn, false},
    {"Rounding the weights",
     "Changes smaller than a rounding step are lost, and what they hid returns (shown for language models, "
     "ICLR 2025).",
     FIGURE_ua_int4, false},
    {"Membership, all samples together",
     "Weak against single samples: it can miss a person whom a stronger attack finds.", FIGURE_mia, false},
    {"Membership, sample by sample",
     "Much stronger, with many models trained for the purpose (Hayes et al. 2025).", FIGURE_lira_auc, false},
    {"Altered pictures",
     "A model may still know slightly changed forgotten pictures that a retrained one does not (arXiv "
     "2601.22359).",
     FIGURES, false},
    {"Poison", "What was planted in the data can survive its deletion (Pawelczyk et al.).", FIGURES, false},
    {"Old beside new",
     "Who has the weights before and after can work out what was deleted between them: never hand out both.",
     FIGURES, true},
    {"The others",
     "After a deletion, samples that stay may be easier to find than before (Hayes et al. 2025).", FIGURES,
     true},
    {"Chosen requests",
     "Who picks requests by what published models answer can undo guarantees (NeurIPS 2021).", FIGURES, true},
};

static void attack_put(Html *h, const Attack *a, const AuditSet *s) {
    bool tried = a->tried != FIGURES && s->afters && isfinite(s->after_mean[a->tried].value);
    html_put(h, "<li><div><h3>%s</h3><span class=\"pill %s\">%s</span></div><p>%s</p></li>\n", a->name,
             tried ? "tried" : "open", tried ? "tried here" : "not tried here", a->text);
}

/* The first of them, and how many more. */
static void remain_put(Html *h, const UnlearnReport *r) {
    html_put(h, "<section><h2>What still holds the old state</h2>\n");
    if (r->remains) {
        html_put(h, "<p>This page is about the new weights alone. These hold what was to be forgotten, and "
                    "were left as they are:</p>\n<ul class=\"plainlist\">\n");
        for (int i = 0; i < r->remains; i++) {
            if (i == REMAINS_SHOWN && r->remains > i + 1) {
                html_put(h, "<li>and %d more</li>\n", r->remains - i);
                break;
            }
            html_put(h, "<li><code>");
            html_text(h, r->remain[i].path);
            html_put(h, "</code>: ");
            html_text(h, r->remain[i].what);
            html_put(h, "</li>\n");
        }
        html_put(h, "</ul>\n");
    }
    html_put(h,
             "<p>%s backups, copies on other machines, exports, caches of features, and models made from the "
             "old one (by fine-tuning or distilling): somebody has to look for them.</p></section>\n",
             r->remains ? "Lethe cannot know of"
                        : "No file was named that holds the old state. Lethe cannot know of");
}

void report_limits(Html *h, const UnlearnReport *r) {
    bool exact = report_exact(r);
    html_put(
        h,
        "<section><h2>What this does not prove</h2>\n<p class=\"lead\">Good figures are not a proof. "
        "%s</p>\n<div class=\"card\"><ul class=\"findings\">\n",
        exact
            ? "Retraining leaves little to doubt in the weights; these remain:"
            : "Attacks on models that were made to forget, as published, and whether they were tried here:");
    for (int i = 0; i < COUNT(attacks); i++)
        if (!exact || attacks[i].exact) attack_put(h, &attacks[i], r->audits);
    html_put(h, "</ul></div></section>\n");
    remain_put(h, r);
}
