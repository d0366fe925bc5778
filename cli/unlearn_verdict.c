#include "cli/unlearn_verdict.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Points of a share within which two figures are called alike. */
static const double NEAR = 2, FAR = 5;
/* Of what unlearning has to cover (before to reference): how much may be missing of a loss. */
static const double NEAR_LOSS = 0.25;
static const double NEAR_RATIO = 0.01; /* and of the loss itself */
static const double NEAR_AUC = 0.05;
static const double LEVEL = 0.95, CHANCE = 0.05; /* below it a difference is none of chance */

typedef struct View {
    const UnlearnReport *r;
    const AuditSet *s;
    Verdict *v;
    const Interval *before, *after, *reference; /* reference NULL: none */
    ScoreKind kind;
} View;

ScoreKind score_kind(const AuditSet *s) {
    if (!s->before.share) return SCORE_LOSS;
    return s->before.forget.classes > 0 ? SCORE_RIGHT : SCORE_POINTS;
}

/* ---- words ---- */

enum { WORD = HTML_NUMBER };

/* "97.5 %"; the number keeps its sign beside it wherever lines break. */
static const char *share(char out[WORD], double value) {
    char text[WORD];
    html_percent(text, fmin(100, fmax(0, value)));
    char *space = strchr(text, ' ');
    if (space) *space = '\0';
    snprintf(out, WORD, space ? "%.40s\xC2\xA0%%" : "%.40s", text);
    return out;
}

static const char *plain(char out[WORD], double value) {
    snprintf(out, WORD, fabs(value) >= 100 ? "%.0f" : "%.3g", value);
    return out;
}

static const char *score_word(char out[WORD], ScoreKind kind, double value) {
    return kind == SCORE_LOSS ? plain(out, value) : share(out, value);
}

static Finding *finding_add(View *v, const char *subject, Tone tone, const char *label) {
    if (v->v->count == FINDINGS_MOST) die("verdict: more than %d findings", FINDINGS_MOST);
    Finding *f = &v->v->finding[v->v->count++];
    *f = (Finding){.subject = subject, .tone = tone, .label = label};
    return f;
}

PRINTF_LIKE(2, 3) static void say(Finding *f, const char *format, ...) {
    size_t n = strlen(f->text);
    va_list args;
    va_start(args, format);
    vsnprintf(f->text + n, sizeof f->text - n, format, args);
    va_end(args);
}

PRINTF_LIKE(2, 3) static void but(Finding *f, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(f->clause, sizeof f->clause, format, args);
    va_end(args);
}

/* ---- comparing ---- */

typedef enum { UNKNOWN, ALIKE, BLURRED, BELOW, ABOVE } Likeness;

static bool intervals_meet(const Interval *a, const Interval *b) {
    return !isnan(a->lo) && !isnan(b->lo) && a->lo <= b->hi && b->lo <= a->hi;
}

/* Alike: within `near`. Different: intervals that do not meet, or, without intervals, more than `far`. */
static Likeness compare(const Interval *a, const Interval *b, double near, double far) {
    if (!a || !b || isnan(a->value) || isnan(b->value)) return UNKNOWN;
    double d = a->value - b->value;
    bool known = !isnan(a->lo) && !isnan(b->lo);
    if (fabs(d) <= near) return ALIKE;
    if (known ? intervals_meet(a, b) : fabs(d) <= far) return BLURRED;
    return d < 0 ? BELOW : ABOVE;
}

static const Interval *reference(const View *v, Figure f) {
    return v->reference && !isnan(v->reference[f].value) ? &v->reference[f] : NULL;
}

/* How far apart losses may be: a part of the way from before to the reference. */
static Likeness compare_score(const View *v, const Interval *a, const Interval *b, Figure f) {
    const Interval *goal = reference(v, f);
    if (v->kind != SCORE_LOSS) return compare(a, b, NEAR, FAR);
    double way = goal ? fabs(v->before[f].value - goal->value) : 0;
    double near = fmax(NEAR_LOSS * way, goal ? NEAR_RATIO * fabs(goal->value) : 0);
    return compare(a, b, near, near);
}

/* Did the model before judge them differently at all? Else its successor's figure says nothing. */
static bool told_apart(const View *v, Figure f) {
    const Interval *goal = reference(v, f);
    if (!goal) return true;
    if (v->kind == SCORE_LOSS) return fabs(v->before[f].value - goal->value) > NEAR_RATIO * fabs(goal->value);
    return fabs(v->before[f].value - goal->value) > NEAR;
}

/* ---- the forgotten samples ---- */

static bool is_exact(const UnlearnReport *r) {
    return r->method && r->method->claim == CLAIM_EXACT;
}

/* "judges 100 % of them wrong", "has a loss of 0.4 on them" */
static const char *judges(char out[96], const View *v, double ua) {
    char word[WORD];
    score_word(word, v->kind, ua);
    snprintf(out, 96,
             v->kind == SCORE_RIGHT    ? "judges %s of them wrong"
             : v->kind == SCORE_POINTS ? "misses %s of the score on them"
                                       : "has a loss of %s on them",
             word);
    return out;
}

/* "100 % wrong", "a loss of 0.4": to be held against another. */
static const char *amount(char out[96], const View *v, double ua) {
    char word[WORD];
    score_word(word, v->kind, ua);
    snprintf(out, 96,
             v->kind == SCORE_RIGHT    ? "%s wrong"
             : v->kind == SCORE_POINTS ? "%s missed"
                                       : "a loss of %s",
             word);
    return out;
}

static void forgotten_open(View *v) {
    char now[96], old[WORD];
    Finding *f = finding_add(v, "The forgotten samples", TONE_OPEN, "no reference");
    judges(now, v, v->after[FIGURE_ua].value);
    score_word(old, v->kind, v->before[FIGURE_ua].value);
    say(f,
        "The model now %s (before: %s). How a model that never saw them would judge them is not known, since "
        "no "
        "reference was given: this cannot be told to be right, too little or too much.",
        now, old);
    but(f, "the model now %s (before: %s), which cannot be judged, since no reference was given", now, old);
    if (compare(&v->after[FIGURE_ua], &v->before[FIGURE_ua], v->kind == SCORE_LOSS ? 0 : NEAR, 0) != ALIKE)
        return;
    f->tone = TONE_AGAINST;
    f->label = "as before";
    but(f, "the model still judges them as it did before: it %s", now);
}

/* A model that was trained without them is what others are held against. */
static void forgotten_exact(View *v) {
    char now[96], old[WORD];
    Finding *f = finding_add(v, "The forgotten samples", TONE_LIKE, "never seen");
    judges(now, v, v->after[FIGURE_ua].value);
    score_word(old, v->kind, v->before[FIGURE_ua].value);
    say(f, "The model was trained without them. It %s (before: %s), as one does that never saw them.", now,
        old);
    but(f, "the model was trained without them and %s (before: %s)", now, old);
}

static void forgotten_judge(View *v, const Interval *mine, const Interval *goal) {
    char a[96], b[WORD], old[WORD];
    Likeness like = compare_score(v, mine, goal, FIGURE_ua);
    Finding *f = finding_add(v, "The forgotten samples", TONE_LIKE, "like the reference");
    amount(a, v, mine->value);
    score_word(b, v->kind, goal->value);
    score_word(old, v->kind, v->before[FIGURE_ua].value);
    if (!told_apart(v, FIGURE_ua) && (like == ALIKE || like == BLURRED)) {
        f->tone = TONE_OPEN;
        f->label = "says nothing";
        say(f,
            "%s now, %s before, %s by a model that never saw them. The model before judged them much like "
            "one that "
            "never saw them, so this figure cannot show whether anything was forgotten.",
            a, old, b);
        but(f,
            "how the model judges them (%s) says little, since the model before judged them much like one "
            "that never "
            "saw them",
            a);
    } else if (like == ALIKE) {
        say(f, "They are now judged as a model that never saw them judges them: %s against %s (before: %s).",
            a, b, old);
        but(f, "the model now judges them as a model that never saw them does (%s against %s)", a, b);
    } else if (like == BLURRED) {
        f->tone = TONE_UNSURE;
        f->label = "too few to tell";
        say(f,
            "%s now, %s by a model that never saw them, %s before. With so few samples, or seeds, the first "
            "two "
            "cannot be told apart.",
            a, b, old);
        but(f,
            "of the model now (%s) and of one that never saw them (%s) there are too few to tell these apart",
            a, b);
    } else {
        bool knows = like == BELOW;
        f->tone = TONE_AGAINST;
        f->label = knows ? "still known" : "overdone";
        say(f,
            knows ? "The model still knows more of them than one that never saw them: %s against %s (before: "
                    "%s)."
                  : "The model does worse on them than one that never saw them: %s against %s (before: %s). "
                    "That, too, "
                    "can give them away.",
            a, b, old);
        but(f,
            knows ? "the model still knows more of them than one that never saw them (%s against %s)"
                  : "the model does worse on them than one that never saw them (%s against %s), which can "
                    "give them "
                    "away, too",
            a, b);
    }
    if (f->text[0] == 'a') f->text[0] = 'A';
}

static void forgotten_put(View *v) {
    const Interval *mine = &v->after[FIGURE_ua], *goal = reference(v, FIGURE_ua);
    if (isnan(mine->value)) return;
    if (!goal && is_exact(v->r))
        forgotten_exact(v);
    else if (!goal)
        forgotten_open(v);
    else
        forgotten_judge(v, mine, goal);
}

/* ---- relearning ---- */

Comeback comeback_of(const Audit *list, int n, bool few) {
    Comeback c = {.all = n > 0};
    for (int i = 0; i < n; i++) {
        const AuditCurve *curve = few ? &list[i].few : &list[i].retained;
        if (!curve->n) continue;
        double last = curve->step[curve->n - 1];
        bool sooner = curve->reached ? !c.some || last < c.soonest : !c.some && last > c.soonest;
        if (!c.tried || sooner) c.soonest = last, c.best = i;
        c.tried = true;
        c.some |= curve->reached;
        c.all &= curve->reached;
    }
    c.all &= c.tried;
    return c;
}

static const char *updates(char out[WORD], double n) {
    snprintf(out, WORD, n == 1 ? "%.0f update" : "%.0f updates", n);
    return out;
}

static const char *of_seeds(const Comeback *c) {
    return c->some && !c->all ? ", for some seeds" : "";
}

/* The score of a curve at a step, or at the last look before it, as far as so many samples tell it. */
static Interval curve_at(const View *v, const AuditCurve *c, double step) {
    Interval i, out = {NAN, NAN, NAN};
    Error ignored;
    for (int k = 0; k < c->n && c->step[k] <= step; k++) out.value = c->score[k];
    int64_t n = v->r->count[SET_FORGET];
    if (v->kind != SCORE_RIGHT || isnan(out.value) || n < 1) return out;
    if (!interval_wilson(&i, llround(out.value / 100 * (double)n), n, LEVEL, &ignored)) return out;
    return (Interval){out.value, 100 * i.lo, 100 * i.hi};
}

/* How far both have come when the one that ended first did. */
static Likeness curves_compare(const View *v, const Comeback *mine, const Comeback *other, bool few,
                               Interval at[2]) {
    const Audit *a = &v->s->after[mine->best], *b = &v->s->reference[other->best];
    const AuditCurve *x = few ? &a->few : &a->retained, *y = few ? &b->few : &b->retained;
    double step = fmin(x->step[x->n - 1], y->step[y->n - 1]);
    at[0] = curve_at(v, x, step);
    at[1] = curve_at(v, y, step);
    return v->kind == SCORE_LOSS ? compare_score(v, &at[1], &at[0], FIGURE_ua)
                                 : compare(&at[0], &at[1], FAR, 2 * FAR);
}

/* A look is taken every few updates: a single look's difference is none. */
static void comeback_judge(const View *v, Finding *f, const Comeback *mine, const Comeback *other, bool few) {
    double every = v->r->audit ? (double)v->r->audit->relearn_every : 1;
    Interval at[2];
    char a[WORD], b[WORD];
    Likeness like = curves_compare(v, mine, other, few, at);
    bool sooner = mine->some && (!other->some || mine->soonest + every < other->soonest);
    f->tone = TONE_LIKE;
    f->label = "like the reference";
    if (sooner) {
        f->tone = TONE_AGAINST;
        f->label = "comes back";
    } else if (other->some && other->soonest == 0) {
        f->tone = TONE_OPEN;
        f->label = "says nothing";
    } else if (!mine->some && (like == ABOVE || like == BLURRED)) {
        f->tone = like == ABOVE ? TONE_AGAINST : TONE_UNSURE;
        f->label = like == ABOVE ? "comes back faster" : "too few to tell";
        say(f, " It has come to %s%s by then, that model to %s.", score_word(a, v->kind, at[0].value),
            v->kind == SCORE_RIGHT ? " right" : "", score_word(b, v->kind, at[1].value));
    }
}

static void relearning_put(View *v, bool few) {
    const Comeback mine = comeback_of(v->s->after, v->s->afters, few),
                   other = comeback_of(v->s->reference, v->s->references, few);
    const char *from = few ? "on a few of the forgotten samples" : "on retained samples alone";
    char a[WORD], b[WORD];
    if (!mine.tried) return;
    updates(a, mine.soonest);
    updates(b, other.soonest);
    Finding *f = finding_add(v, few ? "Relearning from a few of them" : "Relearning from others", TONE_OPEN,
                             "no reference");
    if (mine.some && mine.soonest == 0)
        say(f, "Without any update the forgotten are known nearly as well as by the model before%s.",
            of_seeds(&mine));
    else if (mine.some)
        say(f, "Trained further %s, the model knows the forgotten nearly as well as before within %s%s.",
            from, a, of_seeds(&mine));
    else
        say(f, "Trained further %s for %s, the model does not come back to what it knew of the forgotten.",
            from, a);
    if (!other.tried) {
        if (mine.some) f->label = mine.soonest == 0 ? "as before" : "comes back";
        if (mine.some && mine.soonest > 0)
            but(f, "relearning %s shows that they come back within %s", from, a);
        say(f, " How soon a model that never saw them would learn them is not known.");
        return;
    }
    if (other.some && other.soonest == 0)
        say(f, " A model that never saw them knows them so well without any update: relearning cannot tell "
               "the two apart.");
    else if (other.some)
        say(f, " A model that never saw them learns them within %s.", b);
    else
        say(f, " A model that never saw them does not learn them within %s.", b);
    comeback_judge(v, f, &mine, &other, few);
    if (f->tone == TONE_AGAINST && mine.some) but(f, "relearning %s brings them back within %s", from, a);
    if (f->tone == TONE_AGAINST && !mine.some)
        but(f, "relearning %s brings them back faster than they are learnt anew", from);
}

/* ---- fewer bits ---- */

static void bits_put(View *v) {
    static const struct {
        Figure f;
        int bits;
    } at[] = {{FIGURE_ua_int4, 4}, {FIGURE_ua_int8, 8}};
    const Interval *now = &v->after[FIGURE_ua];
    Finding *f = NULL;
    char a[96], b[96], c[WORD];
    /* Where nothing has changed, nothing can come back. */
    if (compare(now, &v->before[FIGURE_ua], v->kind == SCORE_LOSS ? 0 : NEAR, 0) == ALIKE) return;
    for (int i = 0; i < COUNT(at) && !f; i++) {
        const Interval *with = &v->after[at[i].f], *goal = reference(v, at[i].f);
        /* The same samples are judged twice: no interval is needed to see a change. */
        double back = now->value - with->value;
        double sign = v->kind == SCORE_LOSS ? fabs(v->before[FIGURE_ua].value - now->value) * NEAR_LOSS : FAR;
        bool reference_too = goal && reference(v, FIGURE_ua)->value - goal->value > sign;
        if (isnan(with->value) || !(back > sign) || reference_too) continue;
        f = finding_add(v, "Weights of fewer bits", TONE_AGAINST, "comes back");
        amount(a, v, with->value);
        score_word(b, v->kind, now->value);
        say(f, "With weights of %d bits part of it is back: %s, with whole weights %s.", at[i].bits, a, b);
        if (goal) say(f, " Of the reference: %s.", score_word(c, v->kind, goal->value));
        but(f, "part of it is back with weights of %d bits (%s)", at[i].bits, a);
    }
    if (f || isnan(v->after[FIGURE_ua_int4].value)) return;
    f = finding_add(v, "Weights of fewer bits", TONE_LIKE, "nothing back");
    say(f, "Rounding the weights to 8 or 4 bits does not bring it back: %s and %s, with whole weights %s.",
        amount(a, v, v->after[FIGURE_ua_int8].value), amount(b, v, v->after[FIGURE_ua_int4].value),
        score_word(c, v->kind, now->value));
}

/* ---- membership ---- */

static void membership_put(View *v) {
    const Interval *mine = &v->after[FIGURE_mia], *goal = reference(v, FIGURE_mia);
    char a[WORD], b[WORD], c[WORD];
    if (isnan(mine->value)) return;
    share(a, mine->value);
    share(c, v->before[FIGURE_mia].value);
    if (!goal) {
        say(finding_add(v, "Membership attack", TONE_OPEN, "no reference"),
            "An attack that guesses which samples a model was trained on takes %s of the forgotten for never "
            "seen "
            "(before: %s). What it would say of a model that never saw them is not known.",
            a, c);
        return;
    }
    share(b, goal->value);
    Likeness like = compare(mine, goal, NEAR, FAR);
    Finding *f = finding_add(v, "Membership attack",
                             like == ALIKE     ? TONE_LIKE
                             : like == BLURRED ? TONE_UNSURE
                                               : TONE_AGAINST,
                             like == ALIKE     ? "like the reference"
                             : like == BLURRED ? "too few to tell"
                                               : "differs");
    say(f,
        "An attack that guesses which samples a model was trained on takes %s of the forgotten for never "
        "seen; of a "
        "model that never saw them %s (before: %s).",
        a, b, c);
    if (like == BELOW)
        but(f, "a membership attack still finds more of them (%s taken for never seen, %s by the reference)",
            a, b);
    if (like == ABOVE)
        but(f, "a membership attack finds them odder than a model that never saw them does (%s against %s)",
            a, b);
}

/* By loss, the forgotten can stand out on either side: against unseen samples, and against how the reference
 * has them. */
static void losses_put(View *v) {
    const Interval *mine = &v->after[FIGURE_auc], *goal = reference(v, FIGURE_auc),
                   *ks = &v->after[FIGURE_ks];
    char p[WORD];
    if (isnan(mine->value) || !goal) return;
    Likeness like = compare(mine, goal, NEAR_AUC, 2 * NEAR_AUC);
    bool spread = ks->value < CHANCE, apart = like == BELOW || like == ABOVE;
    Finding *f = finding_add(v, "Losses",
                             spread || apart   ? TONE_AGAINST
                             : like == BLURRED ? TONE_UNSURE
                                               : TONE_LIKE,
                             spread || apart   ? "differ"
                             : like == BLURRED ? "near the reference"
                                               : "like the reference");
    say(f,
        "How well the forgotten are told from unseen samples by their loss (AUC; 0.5: not at all): %.2f, of "
        "a model "
        "that never saw them %.2f, before %.2f.",
        mine->value, goal->value, v->before[FIGURE_auc].value);
    if (like == BELOW) say(f, " Their losses are higher than never having seen them explains.");
    if (like == ABOVE) say(f, " Their losses are lower than never having seen them explains.");
    if (!isnan(ks->value))
        say(f, " %s (Kolmogorov-Smirnov p %s %s).",
            spread ? "Sample by sample the model and the reference are not equally sure of them"
                   : "How sure the model and the reference are of them differs no more than by chance",
            ks->value < 0.0001 ? "below" : "=", ks->value < 0.0001 ? "0.0001" : plain(p, ks->value));
    if (spread || apart) but(f, "the two are not equally sure of them");
}

static void probe_put(View *v) {
    const Interval *mine = &v->after[FIGURE_probe], *goal = reference(v, FIGURE_probe);
    char a[WORD], b[WORD], c[WORD];
    if (isnan(mine->value)) return;
    Likeness like = compare(mine, goal, NEAR, FAR);
    bool more = like == ABOVE;
    Finding *f = finding_add(v, "Features",
                             !goal             ? TONE_OPEN
                             : more            ? TONE_AGAINST
                             : like == BLURRED ? TONE_UNSURE
                                               : TONE_LIKE,
                             !goal             ? "no reference"
                             : more            ? "still there"
                             : like == BLURRED ? "too few to tell"
                             : like == BELOW   ? "less than the reference"
                                               : "like the reference");
    say(f,
        "From the model's inner features a simple classifier tells the forgotten apart in %s of cases "
        "(guessing: %s",
        share(a, mine->value), share(b, v->after[FIGURE_chance].value));
    say(f, goal ? "; of the reference: %s)." : ").", goal ? share(c, goal->value) : "");
    if (more) but(f, "its inner features still tell them apart better than those of the reference do");
}

/* ---- what was to be kept ---- */

/* How far it is below the model before, or below the reference, whichever is nearer: what retraining costs,
 * too, is no damage. */
static double fall(const View *v, Figure f, double sign) {
    const Interval *goal = reference(v, f);
    double now = v->after[f].value, old = v->before[f].value;
    if (isnan(now) || isnan(old)) return 0;
    if (goal && sign * goal->value < sign * old) old = goal->value;
    return old - now;
}

static void kept_put(View *v) {
    const Interval *ra = &v->after[FIGURE_ra], *ta = &v->after[FIGURE_ta], *goal = reference(v, FIGURE_ra);
    char a[WORD], b[WORD], c[WORD], d[WORD];
    if (isnan(ra->value)) return;
    /* A loss rises where a share falls. */
    double sign = v->kind == SCORE_LOSS ? -1 : 1, old = v->before[FIGURE_ra].value;
    double scale = v->kind == SCORE_LOSS && old != 0 ? 100 / fabs(old) : 1;
    double fell = sign * scale * fall(v, FIGURE_ra, sign),
           fell_test = sign * scale * fall(v, FIGURE_ta, sign);
    bool meet = intervals_meet(ra, &v->before[FIGURE_ra]),
         meet_test = intervals_meet(ta, &v->before[FIGURE_ta]);
    bool lost = (fell > FAR && !meet) || (fell_test > FAR && !meet_test),
         perhaps = fell > FAR || fell_test > FAR;
    Finding *f = finding_add(v, "What was to be kept",
                             lost      ? TONE_AGAINST
                             : perhaps ? TONE_UNSURE
                                       : TONE_LIKE,
                             lost      ? "damaged"
                             : perhaps ? "perhaps damaged"
                                       : "kept");
    score_word(a, v->kind, ra->value);
    score_word(b, v->kind, old);
    const char *what = v->kind == SCORE_LOSS    ? "Loss on retained samples"
                       : v->kind == SCORE_RIGHT ? "Retained samples judged right"
                                                : "Score on retained samples";
    say(f, "%s: %s (before: %s", what, a, b);
    say(f, goal ? ", reference: %s)." : ").", goal ? score_word(c, v->kind, goal->value) : "");
    if (!isnan(ta->value))
        say(f, " Unseen ones: %s (before: %s).", score_word(c, v->kind, ta->value),
            score_word(d, v->kind, v->before[FIGURE_ta].value));
    if (!lost) return;
    if (v->kind == SCORE_LOSS)
        but(f, "it has become worse at what it was to keep (loss on retained samples %s, before %s)", a, b);
    else if (fell > FAR && !meet)
        but(f, "it has lost much of what it was to keep (retained samples %s%s, before %s)", a,
            v->kind == SCORE_RIGHT ? " right" : "", b);
    else
        but(f, "it does worse on unseen samples (%s%s, before %s)", share(c, ta->value),
            v->kind == SCORE_RIGHT ? " right" : "", share(d, v->before[FIGURE_ta].value));
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

/* What may be there below what the model says. */
static void hidden_put(View *v) {
    relearning_put(v, false);
    relearning_put(v, true);
    bits_put(v);
    membership_put(v);
    losses_put(v);
    probe_put(v);
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
    if (v.reference || !is_exact(r)) hidden_put(&v);
    headline_put(&v);
    static const int weight[TONES] = {
        [TONE_LIKE] = 0, [TONE_UNSURE] = 1, [TONE_OPEN] = 2, [TONE_AGAINST] = 3};
    for (int i = 0; i < out->count; i++)
        if (weight[out->finding[i].tone] > weight[out->tone]) out->tone = out->finding[i].tone;
}
