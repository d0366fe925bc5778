#include "cli/unlearn_plan.h"

#include "core/clock.h"
#include "core/comm.h"
#include "core/progress.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SHOWN = 5 };

/* Seconds that a sample takes forward and backward: the quickest of some steps. */
static bool sample_time(Unlearn *u, double *out, Error *e) {
    Feed f;
    if (!feed_open(&f, u, SET_RETAIN, FEED_TRAIN, 0, e)) return false;
    bool fine = true;
    *out = INFINITY;
    for (int k = 0; k < 8 && fine; k++) {
        const Batch *b;
        if (!(fine = feed_next(&f, &b, e))) break;
        double began = clock_seconds();
        unlearn_zero(u);
        unlearn_loss(u, b, true, 1);
        *out = fmin(*out, (clock_seconds() - began) / (b->whole ? b->whole : 1));
    }
    feed_close(&f);
    comm_most(out, 1);
    return fine;
}

static void forgotten_print(const World *w) {
    const Manifest *m = w->manifest;
    int64_t shown = 0;
    printf("to be forgotten: %" PRId64 " of %" PRId64 " samples\n", w->request.count, m->count);
    for (int64_t i = 0; i < m->count && shown < SHOWN; i++) {
        if (!w->request.forget[i]) continue;
        printf("  %s%s%s%s%s\n", m->line[i].path, m->line[i].identity ? " (" : "",
               m->line[i].identity ? m->line[i].identity : "", m->line[i].identity ? ")" : "",
               w->place[i] < 0 ? ": the file is gone" : "");
        shown++;
    }
    if (w->request.count > shown) printf("  and %" PRId64 " more\n", w->request.count - shown);
    const int64_t *n = w->unlearn.count;
    printf("retained: %" PRId64 "; unseen: %" PRId64 " to stop by, %" PRId64 " for audits", n[SET_RETAIN],
           n[SET_VALID], n[SET_TEST]);
    if (w->unlearn.whole) printf(", %" PRId64 " of what is forgotten whole", n[SET_KIN]);
    printf("\n");
    if (w->strangers)
        printf("%" PRId64 " samples of data.train were not trained on and are left out\n", w->strangers);
}

static void needs_text(const Method *m, char *out, size_t size) {
    static const struct {
        unsigned bit;
        const char *name;
    } need[] = {{NEEDS_RETAIN, "retained"},
                {NEEDS_FORGET, "forgotten"},
                {NEEDS_LABELS, "classes"},
                {NEEDS_OUTSIDE, "other images"},
                {NEEDS_DECODER, "a decoder"}};
    out[0] = '\0';
    for (int i = 0; i < COUNT(need); i++)
        if (m->needs & need[i].bit)
            snprintf(out + strlen(out), size - strlen(out), "%s%s", out[0] ? ", " : "", need[i].name);
}

static void method_print(const World *w, const Unlearn *u, const Method *m, bool chosen, double each) {
    char needs[100], time[32];
    Error why = {0};
    needs_text(m, needs, sizeof needs);
    double cost = m->cost(u, world_settings(w, m));
    progress_time(time, cost * each);
    if (method_check(m, u, &why))
        printf("%c %-16s %-42s %12.0f %10s\n", chosen ? '*' : ' ', m->name, needs, cost, time);
    else
        printf("%c %-16s %-42s cannot be used here\n", chosen ? '*' : ' ', m->name, needs);
}

bool plan_print(World *w, Unlearn *u, const Method *chosen, Error *e) {
    double each = 0;
    if (!sample_time(u, &each, e)) return false;
    if (!comm_first()) return true;
    forgotten_print(w);
    printf("\n  %-16s %-42s %12s %10s\n", "method", "needs", "samples", "time here");
    for (int i = 0; unlearn_methods[i]; i++)
        method_print(w, u, unlearn_methods[i], unlearn_methods[i] == chosen, each);
    printf("\n* is the one the recipe asks for. samples: forward and backward, about; audits come on top.\n"
           "Nothing was changed.\n");
    return true;
}
