/* unlearn_verdict_inside: what the files of the verdict share: a view of the audits, words, comparing. */
#ifndef LETHE_CLI_UNLEARN_VERDICT_INSIDE_H
#define LETHE_CLI_UNLEARN_VERDICT_INSIDE_H

#include "cli/unlearn_verdict.h"

typedef struct View {
    const UnlearnReport *r;
    const AuditSet *s;
    Verdict *v;
    const Interval *before, *after, *reference; /* reference NULL: none */
    ScoreKind kind;
} View;

/* ---- words ---- */

enum { WORD = HTML_NUMBER, PHRASE = 96 };

const char *verdict_share(char out[WORD], double value); /* percent, within 0 .. 100 */
const char *verdict_plain(char out[WORD], double value); /* three digits */
const char *verdict_score(char out[WORD], ScoreKind kind, double value);
const char *verdict_amount(char out[PHRASE], const View *v, double ua); /* "100 % wrong", "a loss of 0.4" */

Finding *verdict_add(View *v, const char *subject, Tone tone, const char *label);
void verdict_say(Finding *f, const char *format, ...) PRINTF_LIKE(2, 3); /* adds to its text */
void verdict_but(Finding *f, const char *format, ...) PRINTF_LIKE(2, 3); /* replaces its clause */

/* ---- comparing ---- */

typedef enum { UNKNOWN, ALIKE, BLURRED, BELOW, ABOVE } Likeness;

/* Points of a share within which two figures are called alike, and without intervals not yet different. */
#define NEAR_POINTS 2.0
#define FAR_POINTS  5.0
/* Of a loss: which part of the way from before to the reference, and of the loss itself. */
#define NEAR_WAY   0.25
#define NEAR_RATIO 0.01

bool verdict_meet(const Interval *a, const Interval *b); /* false where one is not known */
/* Alike: within `near`. Different: intervals that do not meet, or, without intervals, more than `far`. */
Likeness verdict_compare(const Interval *a, const Interval *b, double near, double far);
Likeness verdict_compare_score(const View *v, const Interval *a, const Interval *b, Figure f);
const Interval *verdict_reference(const View *v, Figure f); /* NULL: none, or not measured */

/* What may be there below what the model says: relearning, fewer bits, membership, losses, features. */
void verdict_hidden(View *v);

#endif
