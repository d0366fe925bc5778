/* unlearn_report: one page about one deletion, for who has to answer for it: what was asked, what was done,
 * what is measured, what that means and what it does not prove. The page needs nothing beside it. It says of
 * itself that it is personal data, since it shows or names people who asked to be forgotten. */
#ifndef LETHE_CLI_UNLEARN_REPORT_H
#define LETHE_CLI_UNLEARN_REPORT_H

#include "cli/audit_set.h"
#include "cli/html.h"
#include "cli/unlearn_pictures.h"

/* Something outside the new weights that still holds what was to be forgotten. */
typedef struct ReportRemain {
    const char *path; /* or a name */
    const char *what; /* ours: one clause, "the weights before" */
} ReportRemain;

typedef struct UnlearnReport {
    const AuditSet *audits;     /* compared: audit_set_compare */
    const AuditSettings *audit; /* what was tried */
    const Method *method;       /* NULL: the weights were made elsewhere */
    int64_t
        began_with; /* forgotten samples that the weights knew with which retraining began; 0: none known */
    char *const *asked; /* [asks] the --forget texts; 0: the page names nobody, and has no pictures */
    int asks;
    int64_t trained;        /* samples that the model before was trained on */
    int64_t count[SETS];    /* samples of each set; 0: there is none */
    bool whole;             /* nobody of the forgotten classes is retained */
    const char *task;       /* the recipe's */
    const char *recipe;     /* complete, as JSON; NULL: not shown */
    const char *when;       /* "2026-08-20 14:05 UTC"; NULL: not told */
    double unlearn_seconds; /* what forgetting took; 0: not known */
    double audit_seconds;
    int64_t updates;         /* of the weights; 0: not known */
    char *const *class_name; /* [names] of the model's classes */
    int names;
    const ReportPictures *pictures; /* NULL: left out, and the page says so */
    const ReportRemain *remain;     /* [remains] */
    int remains;
} UnlearnReport;

/* The whole page, into `h`. */
bool unlearn_report_put(Html *h, const UnlearnReport *r, Error *e);
/* The same into a file, which its owner alone may read if it names somebody. */
bool unlearn_report_write(const char *path, const UnlearnReport *r, Error *e);

/* ---- its parts ---- */

extern const char unlearn_report_style[]; /* beside report_style */

/* Figures, each with what it means and what it does not prove: those that papers report; with fewer bits and
 * of the features; all others. */
void report_main_figures(Html *h, const UnlearnReport *r);
void report_deep_figures(Html *h, const UnlearnReport *r);
void report_other_figures(Html *h, const UnlearnReport *r);
/* "97.5 %", "0.43", "12 updates"; no exponents. "–" if not measured. */
const char *report_figure(char out[HTML_NUMBER], Figure f, const AuditSet *s, double value);

/* Losses of forgotten, retained and unseen samples by each model, on the same axes. */
bool report_losses(Html *h, const UnlearnReport *r, Error *e);
/* How the forgotten come back. */
void report_relearning(Html *h, const UnlearnReport *r);

bool report_pictures(Html *h, const UnlearnReport *r, Error *e);

/* Is the model one that was trained without the forgotten, first weights included? */
bool report_exact(const UnlearnReport *r);

/* What the claim is; what was asked and done; what is not proven, and what else holds the old state. */
void report_claim(Html *h, const UnlearnReport *r);
void report_facts(Html *h, const UnlearnReport *r);
void report_limits(Html *h, const UnlearnReport *r);

#endif
