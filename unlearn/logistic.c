#include "unlearn/logistic.h"

#include "unlearn/lbfgs.h"
#include "unlearn/measures.h"
#include "unlearn/numbers.h"

#include <math.h>
#include <string.h>

enum {
    BLOCK = 64,     /* columns of a gradient that one thread sums */
    SMALL = 1 << 16 /* multiplications below which threads cost more than they save */
};

const LogisticSettings logistic_standard = {.l2 = 1, .tolerance = 1e-6, .steps = 1000, .standardise = true};

/* What L-BFGS needs to see of a fit. */
typedef struct Fit {
    double *x;            /* [n, columns] standardised */
    const int32_t *label; /* [n] */
    double *residual;     /* [n, rows] p - (label is this one) */
    double *loss;         /* [n] */
    int64_t n;
    int rows, columns;
    double l2;
} Fit;

static int64_t row_at(const LogisticData *d, int64_t i) {
    return d->pick ? d->pick[i] : i;
}

static double dot(const double *a, const double *b, int n) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* ------------------------------------------------------------------------------ the loss to minimise --- */

/* Two classes: log(1 + e^z) - label z, without overflow. */
static double loss_of_two(double z, int label, double *residual) {
    double small = exp(-fabs(z)), p = z > 0 ? 1 / (1 + small) : small / (1 + small);
    *residual = p - label;
    return log1p(small) + (z > 0 ? z : 0) - label * z;
}

/* More: residual holds the logits and becomes p - 1 at the label. */
static double loss_of_many(double *residual, int rows, int label) {
    double top = residual[0], sum = 0, own = residual[label];
    for (int k = 1; k < rows; k++) top = fmax(top, residual[k]);
    for (int k = 0; k < rows; k++) sum += residual[k] = exp(residual[k] - top);
    for (int k = 0; k < rows; k++) residual[k] /= sum;
    residual[label] -= 1;
    return log(sum) + top - own;
}

static void sample_run(Fit *f, const double *w, int64_t i) {
    const double *bias = w + (int64_t)f->rows * f->columns;
    double *r = f->residual + i * f->rows;
    for (int k = 0; k < f->rows; k++)
        r[k] = bias[k] + dot(f->x + i * f->columns, w + (int64_t)k * f->columns, f->columns);
    f->loss[i] = f->rows == 1 ? loss_of_two(r[0], f->label[i], r) : loss_of_many(r, f->rows, f->label[i]);
}

/* Columns first .. end - 1 of the gradient: the sum over samples in their order, whoever computes it. */
static void gradient_columns(const Fit *f, double *g, int first, int end) {
    for (int64_t i = 0; i < f->n; i++)
        for (int k = 0; k < f->rows; k++) {
            double r = f->residual[i * f->rows + k], *to = g + (int64_t)k * f->columns;
            const double *x = f->x + i * f->columns;
            for (int j = first; j < end; j++) to[j] += r * x[j];
        }
}

/* Mean loss with its share of the penalty, and gradient, at w [rows, columns] and bias [rows]. */
static double loss_and_gradient(void *self, const double *w, double *g) {
    Fit *f = self;
    int64_t weights = (int64_t)f->rows * f->columns;
    double sum = 0, squares = 0, *bias = g + weights;
    bool threads = f->n * weights > SMALL;
#pragma omp parallel for schedule(static) if (threads)
    for (int64_t i = 0; i < f->n; i++) sample_run(f, w, i);
    memset(g, 0, (size_t)(weights + f->rows) * sizeof *g);
#pragma omp parallel for schedule(static) if (threads)
    for (int first = 0; first < f->columns; first += BLOCK)
        gradient_columns(f, g, first, first + BLOCK < f->columns ? first + BLOCK : f->columns);
    for (int64_t i = 0; i < f->n; i++) {
        sum += f->loss[i];
        for (int k = 0; k < f->rows; k++) bias[k] += f->residual[i * f->rows + k];
    }
    for (int64_t i = 0; i < weights; i++) {
        squares += w[i] * w[i];
        g[i] = (g[i] + f->l2 * w[i]) / (double)f->n;
    }
    for (int k = 0; k < f->rows; k++) bias[k] /= (double)f->n;
    return (sum + 0.5 * f->l2 * squares) / (double)f->n;
}

/* ------------------------------------------------------------------------------------------- fitting --- */

/* seen [classes]: room, zeroed. */
static bool labels_check(const LogisticData *d, uint8_t *seen, Error *e) {
    for (int64_t i = 0; i < d->n; i++) {
        int32_t label = d->label[row_at(d, i)];
        if (label < 0 || label >= d->classes)
            return error_set(e, ERROR_VALUE, "logistic regression: sample %lld has label %d of %d classes",
                             (long long)i, label, d->classes);
        seen[label] = 1;
    }
    for (int k = 0; k < d->classes; k++)
        if (!seen[k]) return error_set(e, ERROR_VALUE, "logistic regression: no sample is of class %d", k);
    return true;
}

static bool data_check(const LogisticData *d, const LogisticSettings *s, Error *e) {
    if (d->n < 1 || d->columns < 1 || d->classes < 2)
        return error_set(e, ERROR_VALUE, "logistic regression: %lld samples, %d columns, %d classes",
                         (long long)d->n, d->columns, d->classes);
    if (!(s->l2 > 0)) return error_set(e, ERROR_VALUE, "logistic regression: l2 is %g, not above 0", s->l2);
    for (int64_t i = 0; i < d->n; i++)
        if (!numbers_check("features", d->x + row_at(d, i) * d->columns, d->columns, 1, e))
            return error_prefix(e, "sample %lld", (long long)i);
    uint8_t *seen = mem_zero((size_t)d->classes, 1);
    if (!seen) return error_memory(e, (size_t)d->classes);
    bool ok = labels_check(d, seen, e);
    mem_free(seen);
    return ok;
}

static bool model_new(Logistic *m, const LogisticData *d, Error *e) {
    size_t columns = (size_t)d->columns, rows = d->classes == 2 ? 1 : (size_t)d->classes;
    size_t numbers = rows * (columns + 1) + 2 * columns;
    *m = (Logistic){.rows = (int)rows, .columns = d->columns, .classes = d->classes};
    if (!(m->weight = mem_zero(numbers, sizeof(double)))) return error_memory(e, numbers * sizeof(double));
    m->mean = m->weight + rows * (columns + 1);
    m->factor = m->mean + columns;
    return true;
}

void logistic_free(Logistic *m) {
    mem_free(m->weight);
    m->weight = NULL;
}

/* Standard deviation with n, as scikit-learn's StandardScaler. A constant column is 0 from then on: what is
 * left of it is rounding, which must not be blown up. */
static void standards_set(Logistic *m, const LogisticData *d) {
    for (int64_t i = 0; i < d->n; i++)
        for (int j = 0; j < m->columns; j++) m->mean[j] += d->x[row_at(d, i) * m->columns + j] / (double)d->n;
    for (int64_t i = 0; i < d->n; i++)
        for (int j = 0; j < m->columns; j++) {
            double off = d->x[row_at(d, i) * m->columns + j] - m->mean[j];
            m->factor[j] += off * off / (double)d->n;
        }
    for (int j = 0; j < m->columns; j++) {
        double spread = sqrt(m->factor[j]);
        m->factor[j] = spread > 1e-12 * fabs(m->mean[j]) ? 1 / spread : 0;
    }
}

static void fit_fill(Fit *f, int32_t *label, const Logistic *m, const LogisticData *d) {
    for (int64_t i = 0; i < d->n; i++) {
        const double *x = d->x + row_at(d, i) * m->columns;
        for (int j = 0; j < m->columns; j++) f->x[i * m->columns + j] = (x[j] - m->mean[j]) * m->factor[j];
        label[i] = d->label[row_at(d, i)];
    }
}

static bool run(Logistic *m, Fit *f, const LogisticSettings *s, Error *e) {
    LbfgsNote note;
    int64_t n = (int64_t)m->rows * (m->columns + 1);
    if (!lbfgs_minimise(&note, m->weight, n, loss_and_gradient, f, s->tolerance, s->steps, e)) return false;
    m->loss = note.value;
    m->steps = note.steps;
    m->converged = note.converged;
    return true;
}

bool logistic_fit(Logistic *m, const LogisticData *data, const LogisticSettings *settings, Error *e) {
    *m = (Logistic){0};
    if (!data_check(data, settings, e) || !model_new(m, data, e)) return false;
    size_t n = (size_t)data->n, numbers = n * ((size_t)m->columns + (size_t)m->rows + 1);
    double *room = mem_zero(numbers, sizeof *room);
    int32_t *label = mem_zero(n, sizeof *label);
    Fit f = {.x = room,
             .label = label,
             .residual = room + n * (size_t)m->columns,
             .loss = room + n * (size_t)(m->columns + m->rows),
             .n = data->n,
             .rows = m->rows,
             .columns = m->columns,
             .l2 = settings->l2};
    bool ok = room && label ? true : error_memory(e, numbers * sizeof *room);
    if (ok) {
        for (int j = 0; j < m->columns; j++) m->factor[j] = settings->standardise ? 0 : 1;
        if (settings->standardise) standards_set(m, data);
        fit_fill(&f, label, m, data);
        ok = run(m, &f, settings, e);
    }
    mem_free(room);
    mem_free(label);
    if (!ok) logistic_free(m);
    return ok;
}

/* ----------------------------------------------------------------------------------------- answering --- */

static double logit_of(const Logistic *m, const double *x, int k) {
    double z = m->weight[(int64_t)m->rows * m->columns + k];
    const double *w = m->weight + (int64_t)k * m->columns;
    for (int j = 0; j < m->columns; j++) z += w[j] * (x[j] - m->mean[j]) * m->factor[j];
    return z;
}

void logistic_probabilities(const Logistic *m, const double *x, double *prob) {
    prob[0] = 0;
    for (int k = 0; k < m->rows; k++) prob[m->rows == 1 ? 1 : k] = logit_of(m, x, k);
    measure_softmax(prob, m->classes, prob);
}

int logistic_predict(const Logistic *m, const double *x) {
    if (m->rows == 1) return logit_of(m, x, 0) > 0;
    double best = -INFINITY;
    int top = 0;
    for (int k = 0; k < m->rows; k++) {
        double z = logit_of(m, x, k);
        if (z > best) best = z, top = k;
    }
    return top;
}

double logistic_accuracy(const Logistic *m, const LogisticData *data) {
    int64_t right = 0;
#pragma omp parallel for schedule(static) reduction(+ : right)
    for (int64_t i = 0; i < data->n; i++) {
        int64_t row = row_at(data, i);
        right += logistic_predict(m, data->x + row * m->columns) == data->label[row];
    }
    return (double)right / (double)data->n;
}
