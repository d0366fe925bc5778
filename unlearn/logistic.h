/* logistic: multinomial logistic regression with an L2 penalty, in double and the same to the last bit with
 * any number of threads. It reads what a frozen network still knows off its features.
 *
 * Least is  sum over samples of -log p(label) + l2 / 2 |weights|^2,  which is scikit-learn's
 * LogisticRegression with C = 1 / l2. As there, biases are not penalised and two classes share one row of
 * weights (that of class 1; class 0 has logit 0), which a penalty treats differently from two rows. */
#ifndef LETHE_UNLEARN_LOGISTIC_H
#define LETHE_UNLEARN_LOGISTIC_H

#include "core/base.h"

typedef struct LogisticData {
    const double *x;      /* [.., columns] features, a row a sample */
    const int32_t *label; /* [..] 0 .. classes - 1 */
    const uint32_t *pick; /* [n] which rows of both; NULL: the first n */
    int64_t n;
    int columns, classes; /* at least 1 and 2 */
} LogisticData;

typedef struct LogisticSettings {
    double l2;        /* > 0, or separable classes have no best weights */
    double tolerance; /* of the largest |gradient| of the mean loss */
    int steps;        /* of L-BFGS, at most */
    bool standardise; /* bring every column to mean 0 and standard deviation 1 over these samples first */
} LogisticSettings;

extern const LogisticSettings logistic_standard; /* 1, 1e-6, 1000, true */

typedef struct Logistic {
    double *weight;        /* [rows, columns] of standardised features, then bias [rows]: one block */
    double *mean, *factor; /* [columns] a feature becomes (x - mean) factor; 0 and 1 where not standardised */
    int rows;              /* 1 for two classes, else classes */
    int columns, classes;
    double loss; /* of the sum above, divided by n */
    int steps;
    bool converged; /* false: still usable, the tolerance was not reached */
} Logistic;

/* Every class must occur, no feature may be other than finite. A column that is constant gets weight 0. */
bool logistic_fit(Logistic *m, const LogisticData *data, const LogisticSettings *settings, Error *e);
void logistic_free(Logistic *m);

/* x [columns], raw -> prob [classes]. */
void logistic_probabilities(const Logistic *m, const double *x, double *prob);
int logistic_predict(const Logistic *m, const double *x); /* the first of the likeliest */
/* Share of samples, n > 0, whose label is predicted. */
double logistic_accuracy(const Logistic *m, const LogisticData *data);

#endif
