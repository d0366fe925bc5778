/* relabel: learning wrong targets for the forgotten samples beside the right ones of the retained: what
 * random labels, SalUn and Boundary methods share. */
#ifndef LETHE_UNLEARN_RELABEL_H
#define LETHE_UNLEARN_RELABEL_H

#include "unlearn/unlearn.h"

#define RELABEL_FIELDS(X, name)                                                                              \
    X(BOOL, own, "unlearn." name ".any_label", "false", 0, 0, "",                                            \
      "the right target may be drawn, too, as in SalUn's code; the paper draws wrong ones")                  \
    X(BOOL, once, "unlearn." name ".once", "false", 0, 0, "",                                                \
      "targets are drawn once, not anew in each pass (Amnesiac: Graves et al. 2021)")                        \
    X(CHOICE, order, "unlearn." name ".order", "\"turns\"", 0, 0, "turns|mixed",                             \
      "each pass: all forgotten, then all retained (SalUn's code for CIFAR-10); or a batch of each by "      \
      "turns, "                                                                                              \
      "as if shuffled together (its code for CIFAR-100)")                                                    \
    X(REAL, retain, "unlearn." name ".retain", "1", 0, 1, "", "share of the retained samples seen in a pass")

typedef struct RelabelSettings {
    bool any, once;
    int order; /* 0: turns */
    double retain;
} RelabelSettings;
#define RELABEL_OF(set)                                                                                      \
    &(const RelabelSettings) {                                                                               \
        (set)->own, (set)->once, (set)->order, (set)->retain                                                 \
    }

/* After each update, beside the mask: SalUn's soft thresholding. */
typedef bool (*RelabelAfter)(void *self, Descent *d, Error *e);

/* mask: [trained] or NULL; see Descent. after: may be NULL. */
bool relabel_descend(Unlearn *u, const DescentSettings *descent, const RelabelSettings *set, const real *mask,
                     RelabelAfter after, void *self, Error *e);

#endif
