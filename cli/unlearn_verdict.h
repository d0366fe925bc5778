/* unlearn_verdict: what the figures of an audit say, in words. Never more than was measured: two figures are
 * called alike only where they are near each other, and different only where their intervals do not meet;
 * without a reference most of them are left open. */
#ifndef LETHE_CLI_UNLEARN_VERDICT_H
#define LETHE_CLI_UNLEARN_VERDICT_H

#include "cli/unlearn_report.h"

typedef enum {
    TONE_LIKE,    /* as the reference */
    TONE_UNSURE,  /* too few samples to tell */
    TONE_AGAINST, /* speaks against it */
    TONE_OPEN,    /* cannot be judged */
    TONES
} Tone;

typedef struct Finding {
    const char *subject; /* ours: "Relearning" */
    const char *label;   /* ours, of the tone: "comes back" */
    char text[480];      /* a sentence or two; may hold names from outside */
    char clause[240];    /* for the headline, after "but"; "": none */
    Tone tone;
} Finding;

enum { FINDINGS_MOST = 10 };

typedef struct Verdict {
    Finding finding[FINDINGS_MOST];
    int count;
    char headline[1600]; /* one sentence; names from outside are not in it */
    Tone tone;           /* the worst of them */
} Verdict;

void verdict_make(Verdict *v, const UnlearnReport *r);

/* What UA, RA and TA are of this model. */
typedef enum {
    SCORE_RIGHT,  /* shares of samples that are right or wrong */
    SCORE_POINTS, /* a score of 0 .. 100, such as mean IoU */
    SCORE_LOSS    /* a loss */
} ScoreKind;
ScoreKind score_kind(const AuditSet *s);

/* Relearning over some audits: the soonest that it came back. */
typedef struct Comeback {
    bool tried, some, all; /* some or all came back */
    double soonest;        /* updates; where none did: how many were tried */
    int best;              /* which audit that is */
} Comeback;
Comeback comeback_of(const Audit *list, int n, bool few);

#endif
