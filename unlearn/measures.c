#include "unlearn/measures.h"

#include "unlearn/numbers.h"

#include <math.h>

static const double SLACK = 1e-3;  /* of a row's sum, which may come from single precision */
static const double LEAST = 1e-30; /* inside the logarithms of modified entropy, as Song and Mittal have it */

static bool row_check(const char *what, const double *prob, int classes, int64_t i, Error *e) {
    double sum = 0;
    for (int k = 0; k < classes; k++) {
        if (!(prob[k] >= 0 && prob[k] <= 1 + SLACK))
            return error_set(e, ERROR_NUMERIC, "%s: sample %lld gives class %d probability %g", what,
                             (long long)i, k, prob[k]);
        sum += prob[k];
    }
    if (fabs(sum - 1) <= SLACK) return true;
    return error_set(e, ERROR_NUMERIC, "%s: the probabilities of sample %lld sum to %g, not 1", what,
                     (long long)i, sum);
}

static bool label_check(const char *what, int32_t label, int classes, int64_t i, Error *e) {
    if (label >= 0 && label < classes) return true;
    return error_set(e, ERROR_VALUE, "%s: sample %lld has label %d, there are %d classes", what, (long long)i,
                     label, classes);
}

bool predictions_check(const char *what, const Predictions *p, bool labels, Error *e) {
    if (p->n < 1) return error_set(e, ERROR_VALUE, "%s: there are no samples", what);
    if (p->classes < 2)
        return error_set(e, ERROR_VALUE, "%s: %d classes, at least 2 are needed", what, p->classes);
    if (labels && !p->label) return error_set(e, ERROR_VALUE, "%s: there are no labels", what);
    for (int64_t i = 0; i < p->n; i++) {
        if (!row_check(what, p->prob + i * p->classes, p->classes, i, e)) return false;
        if (labels && !label_check(what, p->label[i], p->classes, i, e)) return false;
    }
    return true;
}

/* ---------------------------------------------------------------------------------------- one sample --- */

void measure_softmax(const double *logit, int classes, double *prob) {
    double top = logit[0], sum = 0;
    for (int k = 1; k < classes; k++) top = fmax(top, logit[k]);
    for (int k = 0; k < classes; k++) sum += prob[k] = exp(logit[k] - top);
    for (int k = 0; k < classes; k++) prob[k] /= sum;
}

double measure_entropy(const double *prob, int classes) {
    double sum = 0;
    for (int k = 0; k < classes; k++)
        if (prob[k] > 0) sum -= prob[k] * log(prob[k]);
    return fmax(sum, 0); /* a probability may round beyond 1 */
}

double measure_modified_entropy(const double *prob, int classes, int label) {
    double sum = 0;
    for (int k = 0; k < classes; k++) {
        double p = fmin(prob[k], 1);
        if (k == label)
            sum -= (1 - p) * log(fmax(p, LEAST));
        else
            sum -= p * log(fmax(1 - p, LEAST));
    }
    return sum;
}

double measure_logit_confidence(const double *logit, int classes, int label) {
    double top = -INFINITY, sum = 0;
    for (int k = 0; k < classes; k++)
        if (k != label) top = fmax(top, logit[k]);
    for (int k = 0; k < classes; k++)
        if (k != label) sum += exp(logit[k] - top);
    return logit[label] - top - log(sum);
}

double measure_js(const double *p, const double *q, int classes) {
    double sum = 0;
    for (int k = 0; k < classes; k++) {
        double m = 0.5 * (p[k] + q[k]);
        if (p[k] > 0) sum += 0.5 * p[k] * log(p[k] / m);
        if (q[k] > 0) sum += 0.5 * q[k] * log(q[k] / m);
    }
    return fmax(sum, 0);
}

/* -------------------------------------------------------------------------------------- many samples --- */

bool measure_logit_confidences(double *out, const double *logit, const int32_t *label, int64_t n, int classes,
                               Error *e) {
    if (classes < 2) return error_set(e, ERROR_VALUE, "logits: %d classes, at least 2 are needed", classes);
    if (!numbers_check("logits", logit, n * classes, classes, e)) return false;
    for (int64_t i = 0; i < n; i++) {
        if (!label_check("logits", label[i], classes, i, e)) return false;
        out[i] = measure_logit_confidence(logit + i * classes, classes, label[i]);
    }
    return true;
}

static bool pair_check(const Predictions *a, const char *other, const Predictions *b, Error *e) {
    if (!predictions_check("the unlearned model", a, false, e)) return false;
    if (!predictions_check(other, b, false, e)) return false;
    if (a->n == b->n && a->classes == b->classes) return true;
    return error_set(e, ERROR_VALUE,
                     "the unlearned model and %s answer [%lld, %d] and [%lld, %d]: not the same", other,
                     (long long)a->n, a->classes, (long long)b->n, b->classes);
}

bool measure_zrf(double *out, const Predictions *unlearned, const Predictions *untrained, Error *e) {
    double sum = 0;
    if (!pair_check(unlearned, "the untrained model", untrained, e)) return false;
    for (int64_t i = 0; i < unlearned->n; i++) {
        int64_t at = i * unlearned->classes;
        sum += measure_js(unlearned->prob + at, untrained->prob + at, unlearned->classes);
    }
    *out = 1 - sum / (double)unlearned->n;
    return true;
}

static double distance(const double *p, const double *q, int classes) {
    double sum = 0;
    for (int k = 0; k < classes; k++) sum += (p[k] - q[k]) * (p[k] - q[k]);
    return sqrt(sum);
}

bool measure_activation_distance(double *out, const Predictions *unlearned, const Predictions *retrained,
                                 Error *e) {
    double sum = 0;
    if (!pair_check(unlearned, "the retrained model", retrained, e)) return false;
    for (int64_t i = 0; i < unlearned->n; i++) {
        int64_t at = i * unlearned->classes;
        sum += distance(unlearned->prob + at, retrained->prob + at, unlearned->classes);
    }
    *out = sum / (double)unlearned->n;
    return true;
}

/* ------------------------------------------------------------------------------------- of accuracies --- */

static bool share_check(const char *what, double x, Error *e) {
    if (x >= 0 && x <= 1) return true;
    return error_set(e, ERROR_VALUE, "%s accuracy is %g: it must be a share from 0 to 1", what, x);
}

bool measure_aus(double *out, AusKind kind, double before, double test, double forgotten, Error *e) {
    if (!share_check("the original model's test", before, e)) return false;
    if (!share_check("test", test, e)) return false;
    if (!share_check("the forgotten samples'", forgotten, e)) return false;
    double wanted = kind == AUS_CLASS ? 0 : test;
    *out = (1 - (before - test)) / (1 + fabs(wanted - forgotten));
    return true;
}

bool measure_average_gap(double *out, const double *method, const double *retrained, int n, Error *e) {
    double sum = 0;
    if (!numbers_check("the method's figures", method, n, 1, e)) return false;
    if (!numbers_check("the retrained model's figures", retrained, n, 1, e)) return false;
    for (int i = 0; i < n; i++) sum += fabs(method[i] - retrained[i]);
    *out = sum / n;
    return true;
}

bool measure_tow(double *out, const double method[3], const double retrained[3], Error *e) {
    static const char *const of[] = {"the forgotten samples'", "the retained samples'", "test"};
    double product = 1;
    for (int i = 0; i < 3; i++) {
        if (!share_check(of[i], method[i], e) || !share_check(of[i], retrained[i], e)) return false;
        product *= 1 - fabs(method[i] - retrained[i]);
    }
    *out = product;
    return true;
}
