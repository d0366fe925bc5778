#include "cli/unlearn_verdict_inside.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- words ---- */

ScoreKind score_kind(const AuditSet *s) {
    if (!s->before.share) return SCORE_LOSS;
    return s->before.forget.classes > 0 ? SCORE_RIGHT : SCORE_POINTS;
}

/* "97.5 %"; the number keeps its sign beside it wherever lines break. */
const char *verdict_share(char out[WORD], double value) {
    char text[WORD];
    html_percent(text, fmin(100, fmax(0, value)));
    char *space = strchr(text, ' ');
    if (space) *space = '\0';
    snprintf(out, WORD, space ? "%.40s\xC2\xA0%%" : "%.40s", text);
    return out;
}

const char *verdict_plain(char out[WORD], double value) {
    snprintf(out, WORD, fabs(value) >= 100 ? "%.0f" : "%.3g", value);
    return out;
}

const char *verdict_score(char out[WORD], ScoreKind kind, double value) {
    return kind == SCORE_LOSS ? verdict_plain(out, value) : verdict_share(out, value);
}

Finding *verdict_add(View *v, const char *subject, Tone tone, const char *label) {
    if (v->v->count == FINDINGS_MOST) die("verdict: more than %d findings", FINDINGS_MOST);
    Finding *f = &v->v->finding[v->v->count++];
    *f = (Finding){.subject = subject, .tone = tone, .label = label};
    return f;
}

void verdict_say(Finding *f, const char *format, ...) {
    size_t n = strlen(f->text);
    va_list args;
    va_start(args, format);
    vsnprintf(f->text + n, sizeof f->text - n, format, args);
    va_end(args);
}

void verdict_but(Finding *f, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(f->clause, sizeof f->clause, format, args);
    va_end(args);
}

/* "100 % wrong", "a loss of 0.4": to be held against another. */
const char *verdict_amount(char out[PHRASE], const View *v, double ua) {
    char word[WORD];
    verdict_score(word, v->kind, ua);
    snprintf(out, PHRASE,
             v->kind == SCORE_RIGHT    ? "%s wrong"
             : v->kind == SCORE_POINTS ? "%s missed"
                                       : "a loss of %s",
             word);
    return out;
}

/* ---- comparing ---- */

bool verdict_meet(const Interval *a, const Interval *b) {
    return !isnan(a->lo) && !isnan(b->lo) && a->lo <= b->hi && b->lo <= a->hi;
}

/* Alike: within `near`. Different: intervals that do not meet, or, without intervals, more than `far`. */
Likeness verdict_compare(const Interval *a, const Interval *b, double near, double far) {
    if (!a || !b || isnan(a->value) || isnan(b->value)) return UNKNOWN;
    double d = a->value - b->value;
    bool known = !isnan(a->lo) && !isnan(b->lo);
    if (fabs(d) <= near) return ALIKE;
    if (known ? verdict_meet(a, b) : fabs(d) <= far) return BLURRED;
    return d < 0 ? BELOW : ABOVE;
}

const Interval *verdict_reference(const View *v, Figure f) {
    return v->reference && !isnan(v->reference[f].value) ? &v->reference[f] : NULL;
}

/* How far apart losses may be: a part of the way from before to the reference. */
Likeness verdict_compare_score(const View *v, const Interval *a, const Interval *b, Figure f) {
    const Interval *goal = verdict_reference(v, f);
    if (v->kind != SCORE_LOSS) return verdict_compare(a, b, NEAR_POINTS, FAR_POINTS);
    double way = goal ? fabs(v->before[f].value - goal->value) : 0;
    double near = fmax(NEAR_WAY * way, goal ? NEAR_RATIO * fabs(goal->value) : 0);
    return verdict_compare(a, b, near, near);
}
