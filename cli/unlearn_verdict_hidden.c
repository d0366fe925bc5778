#include "cli/unlearn_verdict_inside.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double NEAR_AUC = 0.05;
static const double LEVEL = 0.95, CHANCE = 0.05; /* below it a difference is none of chance */

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
    return v->kind == SCORE_LOSS ? verdict_compare_score(v, &at[1], &at[0], FIGURE_ua)
                                 : verdict_compare(&at[0], &at[1], FAR_POINTS, 2 * FAR_POINTS);
}

/* A look is taken every few updates: a single look's difference is none. */
static void comeback_judge(const View *v, Finding *f, const Comeback *mine, const Comeback *other, bool few) {
    double every = v->r->audit ? (double)v->r->audit->relearn_every : 1;
    Interval at[2];
    char a[WORD], b[WORD];
    Likeness like = curves_compare(v, mine, other, few, at);
    bool sooner = mine->some && mine->soonest + every < other->soonest; /* or than was tried */
    f->tone = TONE_LIKE;
    f->label = "like the reference";
    if (sooner) {
        f->tone = TONE_AGAINST;
        f->label = mine->soonest == 0 ? "as before" : "comes back";
    } else if (other->some && other->soonest == 0) {
        f->tone = TONE_OPEN;
        f->label = "says nothing";
    } else if (!other->some && (like == ABOVE || like == BLURRED)) {
        f->tone = like == ABOVE ? TONE_AGAINST : TONE_UNSURE;
        f->label = like == ABOVE ? "comes back faster" : "too few to tell";
        verdict_say(f, " It has come to %s%s by then, that model to %s.",
                    verdict_score(a, v->kind, at[0].value), v->kind == SCORE_RIGHT ? " right" : "",
                    verdict_score(b, v->kind, at[1].value));
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
    Finding *f = verdict_add(v, few ? "Relearning from a few of them" : "Relearning from others", TONE_OPEN,
                             "no reference");
    if (mine.some && mine.soonest == 0)
        verdict_say(f, "Without any update the forgotten are known nearly as well as by the model before%s.",
                    of_seeds(&mine));
    else if (mine.some)
        verdict_say(f,
                    "Trained further %s, the model knows the forgotten nearly as well as before within %s%s.",
                    from, a, of_seeds(&mine));
    else
        verdict_say(
            f, "Trained further %s for %s, the model does not come back to what it knew of the forgotten.",
            from, a);
    if (!other.tried) {
        if (mine.some) f->label = mine.soonest == 0 ? "as before" : "comes back";
        if (mine.some && mine.soonest > 0)
            verdict_but(f, "relearning %s shows that they come back within %s", from, a);
        verdict_say(f, " How soon a model that never saw them would learn them is not known.");
        return;
    }
    if (other.some && other.soonest == 0)
        verdict_say(f, " A model that never saw them knows them so well without any update: relearning "
                       "cannot tell the two apart.");
    else if (other.some)
        verdict_say(f, " A model that never saw them learns them within %s.", b);
    else
        verdict_say(f, " A model that never saw them does not learn them within %s.", b);
    comeback_judge(v, f, &mine, &other, few);
    if (f->tone == TONE_AGAINST && mine.some && mine.soonest == 0 && !few) /* once is enough */
        verdict_but(f, "they are known nearly as well as before without any relearning%s", of_seeds(&mine));
    if (f->tone == TONE_AGAINST && mine.some && mine.soonest > 0)
        verdict_but(f, "relearning %s brings them back within %s", from, a);
    if (f->tone == TONE_AGAINST && !mine.some)
        verdict_but(f, "relearning %s brings them back faster than they are learnt anew", from);
}

/* ---- fewer bits ---- */

/* What a figure has to move by to mean anything. Of a loss: a part of itself, which shows in its digits, and
 * of the way from before to the reference, or to unseen samples. */
static double change_least(const View *v) {
    static const double part = 0.05;
    const Interval *goal = verdict_reference(v, FIGURE_ua);
    double old = v->before[FIGURE_ua].value, end = goal ? goal->value : v->before[FIGURE_ta].value;
    if (v->kind != SCORE_LOSS) return NEAR_POINTS;
    return fmax(NEAR_RATIO * fabs(old), isnan(end) ? 0 : part * fabs(end - old));
}

static void bits_put(View *v) {
    static const struct {
        Figure f;
        int bits;
    } at[] = {{FIGURE_ua_int4, 4}, {FIGURE_ua_int8, 8}};
    const Interval *now = &v->after[FIGURE_ua];
    Finding *f = NULL;
    char a[PHRASE], b[PHRASE], c[WORD];
    double least = change_least(v), rose = now->value - v->before[FIGURE_ua].value;
    /* Where nothing was forgotten, nothing can come back. */
    if (!(rose > least)) return;
    for (int i = 0; i < COUNT(at) && !f; i++) {
        const Interval *with = &v->after[at[i].f], *goal = verdict_reference(v, at[i].f);
        /* The same samples are judged twice: no interval is needed to see a change. */
        double back = now->value - with->value;
        double sign = v->kind == SCORE_LOSS ? fmax(rose * NEAR_WAY, least) : FAR_POINTS;
        bool reference_too = goal && verdict_reference(v, FIGURE_ua)->value - goal->value > sign;
        if (isnan(with->value) || !(back > sign) || reference_too) continue;
        f = verdict_add(v, "Weights of fewer bits", TONE_AGAINST, "comes back");
        verdict_amount(a, v, with->value);
        verdict_score(b, v->kind, now->value);
        verdict_say(f, "With weights of %d bits part of it is back: %s, with whole weights %s.", at[i].bits,
                    a, b);
        if (goal) verdict_say(f, " Of the reference: %s.", verdict_score(c, v->kind, goal->value));
        verdict_but(f, "part of it is back with weights of %d bits (%s)", at[i].bits, a);
    }
    if (f || isnan(v->after[FIGURE_ua_int4].value)) return;
    f = verdict_add(v, "Weights of fewer bits", TONE_LIKE, "nothing back");
    verdict_say(
        f, "Rounding the weights to 8 or 4 bits does not bring it back: %s and %s, with whole weights %s.",
        verdict_amount(a, v, v->after[FIGURE_ua_int8].value),
        verdict_amount(b, v, v->after[FIGURE_ua_int4].value), verdict_score(c, v->kind, now->value));
}

/* ---- membership ---- */

static void membership_put(View *v) {
    const Interval *mine = &v->after[FIGURE_mia], *goal = verdict_reference(v, FIGURE_mia);
    char a[WORD], b[WORD], c[WORD];
    if (isnan(mine->value)) return;
    verdict_share(a, mine->value);
    verdict_share(c, v->before[FIGURE_mia].value);
    if (!goal) {
        verdict_say(
            verdict_add(v, "Membership attack", TONE_OPEN, "no reference"),
            "An attack that guesses which samples a model was trained on takes %s of the forgotten for never "
            "seen (before: %s). What it would say of a model that never saw them is not known.",
            a, c);
        return;
    }
    verdict_share(b, goal->value);
    Likeness like = verdict_compare(mine, goal, NEAR_POINTS, FAR_POINTS);
    Finding *f = verdict_add(v, "Membership attack",
                             like == ALIKE     ? TONE_LIKE
                             : like == BLURRED ? TONE_UNSURE
                                               : TONE_AGAINST,
                             like == ALIKE     ? "like the reference"
                             : like == BLURRED ? "too few to tell"
                                               : "differs");
    verdict_say(f,
                "An attack that guesses which samples a model was trained on takes %s of the forgotten for "
                "never seen; of a model that never saw them %s (before: %s).",
                a, b, c);
    if (like == BELOW)
        verdict_but(
            f, "a membership attack still finds more of them (%s taken for never seen, %s by the reference)",
            a, b);
    if (like == ABOVE)
        verdict_but(
            f, "a membership attack finds them odder than a model that never saw them does (%s against %s)",
            a, b);
}

/* Against models that never had a sample, and others that had it and forgot: 0.5 is a coin, without a
 * reference. */
static void shadows_put(View *v) {
    const Interval *auc = &v->after[FIGURE_lira_auc];
    char p[WORD];
    if (isnan(auc->value)) return;
    double off = auc->value - 0.5;
    bool none = fabs(off) <= NEAR_AUC, found = off > 2 * NEAR_AUC;
    Finding *f = verdict_add(v, "Attack on each sample",
                             none    ? TONE_LIKE
                             : found ? TONE_AGAINST
                                     : TONE_UNSURE,
                             none    ? "nothing found"
                             : found ? "found"
                                     : "unclear");
    verdict_say(
        f,
        "The strongest attack here, with models trained for it, tells samples that the recipe's method "
        "has removed from samples never seen with an AUC of %.2f (0.5: guessing). It judges the method "
        "and its settings, not this very model.",
        auc->value);
    if (!isnan(v->after[FIGURE_lira_tpr].value))
        verdict_say(f, " It finds %s of them when one in 100 may be accused wrongly.",
                    verdict_share(p, v->after[FIGURE_lira_tpr].value));
    if (found)
        verdict_but(
            f,
            "the attack on each sample tells what the method has removed from what was never seen (AUC %.2f)",
            auc->value);
}

/* By loss, the forgotten can stand out on either side: against unseen samples, and against how the reference
 * has them. */
static void losses_put(View *v) {
    const Interval *mine = &v->after[FIGURE_auc], *goal = verdict_reference(v, FIGURE_auc),
                   *ks = &v->after[FIGURE_ks];
    char p[WORD];
    if (isnan(mine->value) || !goal) return;
    Likeness like = verdict_compare(mine, goal, NEAR_AUC, 2 * NEAR_AUC);
    bool spread = ks->value < CHANCE, apart = like == BELOW || like == ABOVE;
    Finding *f = verdict_add(v, "Losses",
                             spread || apart   ? TONE_AGAINST
                             : like == BLURRED ? TONE_UNSURE
                                               : TONE_LIKE,
                             spread || apart   ? "differ"
                             : like == BLURRED ? "near the reference"
                                               : "like the reference");
    verdict_say(f,
                "How well the forgotten are told from unseen samples by their loss (AUC; 0.5: not at all): "
                "%.2f, of a model that never saw them %.2f, before %.2f.",
                mine->value, goal->value, v->before[FIGURE_auc].value);
    if (like == BELOW) verdict_say(f, " Their losses are higher than never having seen them explains.");
    if (like == ABOVE) verdict_say(f, " Their losses are lower than never having seen them explains.");
    if (!isnan(ks->value))
        verdict_say(
            f, " %s (Kolmogorov-Smirnov p %s %s).",
            spread ? "Sample by sample the model and the reference are not equally sure of them"
                   : "How sure the model and the reference are of them differs no more than by chance",
            ks->value < 0.0001 ? "below" : "=", ks->value < 0.0001 ? "0.0001" : verdict_plain(p, ks->value));
    if (spread || apart) verdict_but(f, "the two are not equally sure of them");
}

static void probe_put(View *v) {
    const Interval *mine = &v->after[FIGURE_probe], *goal = verdict_reference(v, FIGURE_probe);
    char a[WORD], b[WORD], c[WORD];
    if (isnan(mine->value)) return;
    Likeness like = verdict_compare(mine, goal, NEAR_POINTS, FAR_POINTS);
    bool more = like == ABOVE;
    Finding *f = verdict_add(v, "Features",
                             !goal             ? TONE_OPEN
                             : more            ? TONE_AGAINST
                             : like == BLURRED ? TONE_UNSURE
                                               : TONE_LIKE,
                             !goal             ? "no reference"
                             : more            ? "still there"
                             : like == BLURRED ? "too few to tell"
                             : like == BELOW   ? "less than the reference"
                                               : "like the reference");
    verdict_say(f,
                "From the model's inner features a simple classifier tells the forgotten apart in %s of "
                "cases (guessing: %s",
                verdict_share(a, mine->value), verdict_share(b, v->after[FIGURE_chance].value));
    verdict_say(f, goal ? "; of the reference: %s)." : ").", goal ? verdict_share(c, goal->value) : "");
    if (more)
        verdict_but(f, "its inner features still tell them apart better than those of the reference do");
}

/* What may be there below what the model says. */
void verdict_hidden(View *v) {
    relearning_put(v, false);
    relearning_put(v, true);
    bits_put(v);
    membership_put(v);
    shadows_put(v);
    losses_put(v);
    probe_put(v);
}
