/* unlearn_plan: what `lethe unlearn --dry-run` says. */
#ifndef LETHE_CLI_UNLEARN_PLAN_H
#define LETHE_CLI_UNLEARN_PLAN_H

#include "cli/unlearn_world.h"

/* What would be forgotten; of each method what it needs and how long it would take here, by the time of one
 * step that is made now. Nothing is written. Collective. */
bool plan_print(World *w, Unlearn *u, const Method *chosen, Error *e);

#endif
