#include "cli/unlearn_verdict_inside.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- the forgotten samples ---- */

/* Did the model before judge them differently at all? Else its successor's figure says nothing. */
static bool told_apart(const View *v, Figure f) {
    const Interval *goal = verdict_reference(v, f);
    if (!goal) return true;
    if (v->kind == SCORE_LOSS) return fabs(v->before[f].value - goal->value) > NEAR_RATIO * fabs(goal->value);
    return fabs(v->before[f].value - goal->value) > NEAR_POINTS;
}

/* "judges 100 % of them wrong", "has a loss of 0.4 on them" */
static const char *judges(char out[PHRASE], const View *v, double ua) {
    char word[WORD];
    verdict_score(word, v->kind, ua);
    snprintf(out, PHRASE,
             v->kind == SCORE_RIGHT    ? "judges %s of them wrong"
             : v->kind == SCORE_POINTS ? "misses %s of the score on them"
                                       : "has a loss of %s on them",
             word);
    return out;
}

static void forgotten_open(View *v) {
    char now[PHRASE], old[WORD];
    Finding *f = verdict_add(v, "The forgotten samples", TONE_OPEN, "no reference");
    judges(now, v, v->after[FIGURE_ua].value);
    verdict_score(old, v->kind, v->before[FIGURE_ua].value);
    verdict_say(
        f,
        "The model now %s (before: %s). How a model that never saw them would judge them is not known, since "
        "no reference was given: this cannot be told to be right, too little or too much.",
        now, old);
    verdict_but(f, "the model now %s (before: %s), which cannot be judged, since no reference was given", now,
                old);
    if (verdict_compare(&v->after[FIGURE_ua], &v->before[FIGURE_ua], v->kind == SCORE_LOSS ? 0 : NEAR_POINTS,
                        0) != ALIKE)
        return;
    f->tone = TONE_AGAINST;
    f->label = "as before";
    verdict_but(f, "the model still judges them as it did before: it %s", now);
}

/* A model that was trained without them is what others are held against. */
static void forgotten_exact(View *v) {
    char now[PHRASE], old[WORD];
    Finding *f = verdict_add(v, "The forgotten samples", TONE_LIKE, "never seen");
    judges(now, v, v->after[FIGURE_ua].value);
    verdict_score(old, v->kind, v->before[FIGURE_ua].value);
    verdict_say(f, "The model was trained without them. It %s (before: %s), as one does that never saw them.",
                now, old);
    verdict_but(f, "the model was trained without them and %s (before: %s)", now, old);
}

/* What is said of them beside the reference: both texts take the figure after, the reference's, the one
 * before. */
static const struct {
    Tone tone;
    const char *label, *text, *clause;
} beside[] = {
    [UNKNOWN] =
        {TONE_OPEN, "says nothing",
         "%1$s now, %3$s before, %2$s by a model that never saw them. The model before judged them much like "
         "one that never saw them, so this figure cannot show whether anything was forgotten.",
         "how the model judges them (%1$s) says little, since the model before judged them much like one "
         "that never saw them"},
    [ALIKE] =
        {TONE_LIKE, "like the reference",
         "They are now judged as a model that never saw them judges them: %1$s against %2$s (before: %3$s).",
         "the model now judges them as a model that never saw them does (%1$s against %2$s)"},
    [BLURRED] = {TONE_UNSURE, "too few to tell",
                 "Now %1$s, by a model that never saw them %2$s, before %3$s. With so few samples, or seeds, "
                 "the first two cannot be told apart.",
                 "so few samples, or seeds, cannot tell whether the model judges them as one that never saw "
                 "them does (%1$s against %2$s)"},
    [BELOW] =
        {TONE_AGAINST, "still known",
         "The model still knows more of them than one that never saw them: %1$s against %2$s (before: %3$s).",
         "the model still knows more of them than one that never saw them (%1$s against %2$s)"},
    [ABOVE] = {TONE_AGAINST, "overdone",
               "The model does worse on them than one that never saw them: %1$s against %2$s (before: %3$s). "
               "That, too, can give them away.",
               "the model does worse on them than one that never saw them (%1$s against %2$s), which can "
               "give them away, too"},
};

static void forgotten_judge(View *v, const Interval *mine, const Interval *goal) {
    char a[PHRASE], b[WORD], old[WORD];
    Likeness like = verdict_compare_score(v, mine, goal, FIGURE_ua);
    if (!told_apart(v, FIGURE_ua) && (like == ALIKE || like == BLURRED)) like = UNKNOWN;
    verdict_amount(a, v, mine->value);
    verdict_score(b, v->kind, goal->value);
    verdict_score(old, v->kind, v->before[FIGURE_ua].value);
    Finding *f = verdict_add(v, "The forgotten samples", beside[like].tone, beside[like].label);
    snprintf(f->text, sizeof f->text, beside[like].text, a, b, old);
    snprintf(f->clause, sizeof f->clause, beside[like].clause, a, b, old);
    if (f->text[0] == 'a') f->text[0] = 'A';
}

static void forgotten_put(View *v) {
    const Interval *mine = &v->after[FIGURE_ua], *goal = verdict_reference(v, FIGURE_ua);
    if (isnan(mine->value)) return;
    if (!goal && report_exact(v->r))
        forgotten_exact(v);
    else if (!goal)
        forgotten_open(v);
    else
        forgotten_judge(v, mine, goal);
}

/* ---- what was to be kept ---- */

/* How far it is below the model before, or below the reference, whichever is nearer: what retraining costs,
 * too, is no damage. */
static double fall(const View *v, Figure f, double sign) {
    const Interval *goal = verdict_reference(v, f);
    double now = v->after[f].value, old = v->before[f].value;
    if (isnan(now) || isnan(old)) return 0;
    if (goal && sign * goal->value < sign * old) old = goal->value;
    return old - now;
}

static void kept_put(View *v) {
    const Interval *ra = &v->after[FIGURE_ra], *ta = &v->after[FIGURE_ta],
                   *goal = verdict_reference(v, FIGURE_ra);
    char a[WORD], b[WORD], c[WORD], d[WORD];
    if (isnan(ra->value)) return;
    /* A loss rises where a share falls. */
    double sign = v->kind == SCORE_LOSS ? -1 : 1, old = v->before[FIGURE_ra].value;
    double scale = v->kind == SCORE_LOSS && old != 0 ? 100 / fabs(old) : 1;
    double fell = sign * scale * fall(v, FIGURE_ra, sign),
           fell_test = sign * scale * fall(v, FIGURE_ta, sign);
    bool meet = verdict_meet(ra, &v->before[FIGURE_ra]), meet_test = verdict_meet(ta, &v->before[FIGURE_ta]);
    bool lost = (fell > FAR_POINTS && !meet) || (fell_test > FAR_POINTS && !meet_test),
         perhaps = fell > FAR_POINTS || fell_test > FAR_POINTS;
    Finding *f = verdict_add(v, "What was to be kept",
                             lost      ? TONE_AGAINST
                             : perhaps ? TONE_UNSURE
                                       : TONE_LIKE,
                             lost      ? "damaged"
                             : perhaps ? "perhaps damaged"
                                       : "kept");
    verdict_score(a, v->kind, ra->value);
    verdict_score(b, v->kind, old);
    const char *what = v->kind == SCORE_LOSS    ? "Loss on retained samples"
                       : v->kind == SCORE_RIGHT ? "Retained samples judged right"
                                                : "Score on retained samples";
    verdict_say(f, "%s: %s (before: %s", what, a, b);
    verdict_say(f, goal ? ", reference: %s)." : ").", goal ? verdict_score(c, v->kind, goal->value) : "");
    if (!isnan(ta->value))
        verdict_say(f, " Unseen ones: %s (before: %s).", verdict_score(c, v->kind, ta->value),
                    verdict_score(d, v->kind, v->before[FIGURE_ta].value));
    if (!lost) return;
    if (v->kind == SCORE_LOSS)
        verdict_but(f, "it has become worse at what it was to keep (loss on retained samples %s, before %s)",
                    a, b);
    else if (fell > FAR_POINTS && !meet)
        verdict_but(f, "it has lost much of what it was to keep (retained samples %s%s, before %s)", a,
                    v->kind == SCORE_RIGHT ? " right" : "", b);
    else
        verdict_but(f, "it does worse on unseen samples (%s%s, before %s)", verdict_share(c, ta->value),
                    v->kind == SCORE_RIGHT ? " right" : "", verdict_share(d, v->before[FIGURE_ta].value));
}

/* ---- the headline ---- */

static void headline_put(View *v) {
    enum { CLAUSES = 2 };
    Verdict *d = v->v;
    const UnlearnReport *r = v->r;
    size_t n = 0, room = sizeof d->headline;
    int said = 0, against = 0, judged = 0;
    n += (size_t)snprintf(d->headline, room, "%" PRId64 " of %" PRId64 " samples were to be forgotten",
                          r->count[SET_FORGET], r->trained);
    if (r->method) n += (size_t)snprintf(d->headline + n, room - n, ", by %s", r->method->title);
    const Finding *first =
        d->count && !strcmp(d->finding[0].subject, "The forgotten samples") ? &d->finding[0] : NULL;
    n += (size_t)snprintf(d->headline + n, room - n, ": %s",
                          first ? first->clause : "what the model still knows of them was not measured");
    for (int i = 0; i < d->count; i++) {
        const Finding *f = &d->finding[i];
        judged += f->tone != TONE_OPEN;
        if (f == first || !f->clause[0]) continue;
        against++;
        if (said == CLAUSES) continue;
        bool same = first && first->tone == TONE_AGAINST;
        n += (size_t)snprintf(d->headline + n, room - n, "%s%s",
                              said   ? ", and "
                              : same ? ", and "
                                     : ", but ",
                              f->clause);
        said++;
    }
    if (!against && first && first->tone == TONE_LIKE && v->reference && judged == d->count)
        n += (size_t)snprintf(d->headline + n, room - n,
                              ", and nothing else that was measured tells the two apart");
    snprintf(d->headline + n, room - n, ".");
}

/* Intervals over seeds tell how models differ, not how few the samples are: for a verdict the wider of both.
 */
static void widen(Interval out[FIGURES], const Interval mean[FIGURES], const Audit *list, int n) {
    for (int f = 0; f < FIGURES; f++) {
        out[f] = mean[f];
        if (n < 2 || isnan(list[0].figure[f].lo) || isnan(mean[f].lo)) continue;
        const Interval *one = &list[0].figure[f];
        out[f].lo = fmin(mean[f].lo, mean[f].value - (one->value - one->lo));
        out[f].hi = fmax(mean[f].hi, mean[f].value + (one->hi - one->value));
    }
}

void verdict_make(Verdict *out, const UnlearnReport *r) {
    *out = (Verdict){.tone = TONE_LIKE};
    const AuditSet *s = r->audits;
    Interval after[FIGURES], other[FIGURES];
    widen(after, s->after_mean, s->after, s->afters);
    widen(other, s->reference_mean, s->reference, s->references);
    View v = {.r = r,
              .s = s,
              .v = out,
              .before = s->before_mean,
              .after = after,
              .reference = s->references ? other : NULL,
              .kind = score_kind(s)};
    forgotten_put(&v);
    kept_put(&v);
    if (v.reference || !report_exact(r)) verdict_hidden(&v);
    headline_put(&v);
    static const int weight[TONES] = {
        [TONE_LIKE] = 0, [TONE_UNSURE] = 1, [TONE_OPEN] = 2, [TONE_AGAINST] = 3};
    for (int i = 0; i < out->count; i++)
        if (weight[out->finding[i].tone] > weight[out->tone]) out->tone = out->finding[i].tone;
}
