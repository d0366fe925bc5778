/* scar: what SCAR and SCAR self-forget share: unlearn/scar.c does both. */
#ifndef LETHE_UNLEARN_SCAR_H
#define LETHE_UNLEARN_SCAR_H

#include "unlearn/unlearn.h"

#define SCAR_FIELDS(X, name)                                                                                 \
    DESCENT_FIELDS(X, name, "30", "adamw", "5e-4", "0.9", "0")                                               \
    X(REAL, forget_weight, "unlearn." name ".lambda1", "1", 0, 1000, "", "weight of the distances")          \
    X(REAL, outside_weight, "unlearn." name ".lambda2", "5", 0, 1000, "", "weight of the outside images")    \
    X(REAL, temperature, "unlearn." name ".temperature", "1", 0.01, 1000, "", "of the old model's answers")  \
    X(REAL, power, "unlearn." name ".power", "0.5", 0.01, 10, "", "Tukey's transform of the features")       \
    X(REAL, diagonal, "unlearn." name ".gamma1", "3", 0, 1000, "", "shrinkage on the diagonal")              \
    X(REAL, rest, "unlearn." name ".gamma2", "3", 0, 1000, "", "shrinkage beside it")                        \
    X(REAL, margin, "unlearn." name ".margin", "0", -100, 100, "",                                           \
      "end this much above the score that the forgotten are to have")
#define SCAR_SHARED(X) SCAR_FIELDS(X, "")

typedef struct ScarSettings {
    RECIPE_MEMBERS(SCAR_SHARED)
    int64_t ratio; /* outside batches to a forgotten one; SCAR alone has these two */
    double least;
} ScarSettings;

/* `self`: the forgotten samples are outside images that the old model takes for a class that goes. */
bool scar_run(Unlearn *u, const ScarSettings *set, bool self, Error *e);

#endif
