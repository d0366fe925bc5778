/* audit_shadows: U-LiRA (Hayes et al. 2024), the attack per example. Shadow models are trained as the model
 * was, each with its own half of the forgotten samples among the retained, and then forget that half by the
 * method under test; what they say of a sample that they had, and forgot, is held against what those say that
 * never had it. Each shadow is attacked in turn with what the others tell. */
#ifndef LETHE_CLI_AUDIT_SHADOWS_H
#define LETHE_CLI_AUDIT_SHADOWS_H

#include "cli/unlearn_world.h"

enum { SHADOWS_LEAST = 6, SHADOWS_MOST = 1024 };

/* Fills in FIGURE_lira_auc and FIGURE_lira_tpr. Collective; takes `shadows` trainings. */
bool audit_shadows(Interval figure[FIGURES], World *w, Unlearn *u, const Method *m, int shadows, Error *e);

#endif
