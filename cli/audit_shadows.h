/* audit_shadows: U-LiRA (Hayes et al. 2024), the attack per example. Shadow models are trained as the model
 * was, each with its own half of the forgotten samples among the retained, and then forget that half by the
 * method under test, with the settings of the recipe: it is that method which is judged, not the very weights
 * of a model that it made; what they say of a sample that they had, and forgot, is held against what those
 * say that never had it. Each shadow is attacked in turn with what the others tell. */
#ifndef LETHE_CLI_AUDIT_SHADOWS_H
#define LETHE_CLI_AUDIT_SHADOWS_H

#include "cli/unlearn_world.h"

enum { SHADOWS_LEAST = 6, SHADOWS_MOST = 1024 };

/* A warning where the checkpoint's own recipe does not say that it forgot by this method with these settings:
 * what the shadows tell is then not of it. Collective. */
bool audit_shadows_warn(const World *w, const Method *m, const char *path, Error *e);
/* Fills in FIGURE_lira_auc and FIGURE_lira_tpr. Collective; takes `shadows` trainings. */
bool audit_shadows(Interval figure[FIGURES], World *w, Unlearn *u, const Method *m, int shadows, Error *e);

#endif
