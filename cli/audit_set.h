/* audit_set: a model before, those that have forgotten, one a seed, and references that never knew, audited
 * side by side. */
#ifndef LETHE_CLI_AUDIT_SET_H
#define LETHE_CLI_AUDIT_SET_H

#include "cli/unlearn_world.h"

enum { AUDIT_SEEDS = 32 };

typedef struct AuditSet {
    Audit before, after[AUDIT_SEEDS], reference[AUDIT_SEEDS];
    int afters, references;
    Interval before_mean[FIGURES], after_mean[FIGURES], reference_mean[FIGURES];
} AuditSet;

/* Of the weights that came in. u->task is left as it is. */
bool audit_set_before(AuditSet *s, const World *w, Unlearn *u, Error *e);
/* Adds an audit of the weights in u->task; seconds: what making them took, 0: not known. */
bool audit_set_after(AuditSet *s, const World *w, Unlearn *u, double seconds, Error *e);
bool audit_set_reference(AuditSet *s, const World *w, Unlearn *u, double seconds, Error *e);
/* The weights of another checkpoint into u->task, and what making them took; then one of the above. */
bool audit_set_load(World *w, const char *path, double *seconds, Error *e);
/* When all are there: what they say beside each other, and their means. As many references as afters are
 * pairs, one a seed; else each after is held against all references, as the model before always is. */
bool audit_set_compare(AuditSet *s, const Unlearn *u, Error *e);
void audit_set_close(AuditSet *s);

/* {"score": "top1", "before": {..}, "after": {..}, "reference": {..} or null}; mem_free. NULL on error. */
char *audit_set_json(const AuditSet *s, Error *e);
/* The figures as a table. */
void audit_set_print(const AuditSet *s);

#endif
