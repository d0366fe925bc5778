/* lbfgs: finds where a smooth function of many numbers is least, from its value and gradient; L-BFGS with ten
 * pairs (Nocedal and Wright 2006, algorithm 7.5) and a line search by halving and doubling until the weak
 * Wolfe conditions hold (Lewis and Overton 2013, algorithm 2.6). In double, one thread, no randomness: the
 * same function gives the same bits. */
#ifndef LETHE_UNLEARN_LBFGS_H
#define LETHE_UNLEARN_LBFGS_H

#include "core/base.h"

/* f(x); fills gradient, which has as many numbers as x. */
typedef double LbfgsFunction(void *self, const double *x, double *gradient);

typedef struct LbfgsNote {
    double value, slope; /* f there, and the largest |gradient| */
    int steps;
    bool converged; /* slope <= tolerance; false: `steps` were used up, or rounding lets f fall no further */
} LbfgsNote;

/* x [n] holds where to start and gets the result. False only where memory is out or f or its gradient is not
 * finite at the start. */
bool lbfgs_minimise(LbfgsNote *out, double *x, int64_t n, LbfgsFunction *f, void *self, double tolerance,
                    int steps, Error *e);

#endif
