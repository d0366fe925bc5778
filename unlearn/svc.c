#include "unlearn/svc.h"

#include "unlearn/numbers.h"

#include <libsvm/svm.h>
#include <stdlib.h>
#include <string.h>

/* 20 000 samples were no faster with 400, and slower with 1700: fresh pages cost more than kernels. */
enum { CACHE_MB = 100 };

const char *svc_feature_name(SvcFeature f) {
    static const char *const name[] = {"confidence", "correctness", "entropy", "modified entropy",
                                       "probability"};
    return name[f];
}

/* ------------------------------------------------------------------------------------- libsvm's form --- */

/* Rows of sparse vectors that end in index -1; all rows are one block. */
typedef struct Rows {
    struct svm_node **row, *node;
} Rows;

static void rows_free(Rows *r) {
    mem_free(r->row);
    mem_free(r->node);
}

static bool rows_new(Rows *r, int64_t n, int columns, Error *e) {
    size_t nodes = (size_t)n * ((size_t)columns + 1);
    r->row = mem_zero((size_t)n, sizeof *r->row);
    r->node = mem_zero(nodes, sizeof *r->node);
    if (r->row && r->node) return true;
    rows_free(r);
    return error_memory(e, nodes * sizeof *r->node);
}

/* `n` of the points, evenly spread: in a folder of classes the first are of the first classes alone. */
static void rows_fill(Rows *r, int64_t first, SvcPoints p, int64_t n, int columns) {
    for (int64_t i = 0; i < n; i++) {
        struct svm_node *node = r->node + (first + i) * (columns + 1);
        const double *x = p.x + i * p.n / n * columns;
        r->row[first + i] = node;
        for (int j = 0; j < columns; j++) node[j] = (struct svm_node){j + 1, x[j]};
        node[columns].index = -1;
    }
}

static void quiet(const char *text) {
    (void)text;
}

/* How many of the rows the model gives this label. Answers do not depend on each other. */
static int64_t count_label(const struct svm_model *m, const Rows *r, int64_t first, int64_t n, double label) {
    int64_t hits = 0;
#pragma omp parallel for schedule(static) reduction(+ : hits)
    for (int64_t i = first; i < first + n; i++) hits += svm_predict(m, r->row[i]) == label;
    return hits;
}

/* ---------------------------------------------------------------------------------------- the attack --- */

static bool points_check(const char *what, SvcPoints p, int columns, Error *e) {
    if (p.n < 1) return error_set(e, ERROR_VALUE, "%s: there are none", what);
    if (p.n > SVC_MOST)
        return error_set(e, ERROR_LIMIT, "%s: %lld given, at most %d are taken", what, (long long)p.n,
                         SVC_MOST);
    return numbers_check(what, p.x, p.n * columns, columns, e);
}

/* rows: `each` test samples, `each` retained ones, then `forgotten`. The test samples come first since
 * scikit-learn sorts its classes, and SMO's path, within its tolerance, depends on the order. */
static bool attack(SvcResult *out, Rows *r, double *y, int64_t each, int64_t forgotten, int columns,
                   Error *e) {
    struct svm_problem problem = {.l = (int)(2 * each), .y = y, .x = r->row};
    struct svm_parameter parameter = {.svm_type = C_SVC,
                                      .kernel_type = RBF,
                                      .gamma = 1.0 / columns,
                                      .C = 3,
                                      .eps = 1e-3,
                                      .cache_size = CACHE_MB,
                                      .shrinking = 1};
    svm_set_print_string_function(quiet);
    const char *wrong = svm_check_parameter(&problem, &parameter);
    if (wrong) return error_set(e, ERROR_STATE, "libsvm refuses the attack: %s", wrong);
    struct svm_model *model = svm_train(&problem, &parameter);
    if (!model) return error_set(e, ERROR_STATE, "libsvm made no model");
    int64_t right = count_label(model, r, 0, each, 0) + count_label(model, r, each, each, 1);
    out->each = each;
    out->shadow = 100.0 * (double)right / (double)(2 * each);
    out->efficacy = 100.0 * (double)count_label(model, r, 2 * each, forgotten, 0) / (double)forgotten;
    svm_free_and_destroy_model(&model);
    return true;
}

bool svc_attack(SvcResult *out, SvcPoints retained, SvcPoints test, SvcPoints forgotten, int columns,
                Error *e) {
    if (columns < 1) return error_set(e, ERROR_VALUE, "membership attack: the samples have no columns");
    if (!points_check("retained samples", retained, columns, e)) return false;
    if (!points_check("test samples", test, columns, e)) return false;
    if (!points_check("forgotten samples", forgotten, columns, e)) return false;
    int64_t each = retained.n < test.n ? retained.n : test.n;
    Rows rows;
    double *y = mem_zero((size_t)(2 * each), sizeof *y);
    if (!y) return error_memory(e, (size_t)(2 * each) * sizeof *y);
    bool ok = rows_new(&rows, 2 * each + forgotten.n, columns, e);
    if (ok) {
        for (int64_t i = each; i < 2 * each; i++) y[i] = 1;
        rows_fill(&rows, 0, test, each, columns);
        rows_fill(&rows, each, retained, each, columns);
        rows_fill(&rows, 2 * each, forgotten, forgotten.n, columns);
        ok = attack(out, &rows, y, each, forgotten.n, columns, e);
        rows_free(&rows);
    }
    mem_free(y);
    return ok;
}

/* ------------------------------------------------------------------------------------------ features --- */

static double correctness(const double *prob, int classes, int label) {
    int top = 0;
    for (int k = 1; k < classes; k++)
        if (prob[k] > prob[top]) top = k;
    return top == label;
}

static double feature_of(SvcFeature f, const double *prob, int classes, int label) {
    switch (f) {
    case SVC_CONFIDENCE:
        return prob[label];
    case SVC_CORRECTNESS:
        return correctness(prob, classes, label);
    case SVC_ENTROPY:
        return measure_entropy(prob, classes);
    case SVC_MODIFIED_ENTROPY:
        return measure_modified_entropy(prob, classes, label);
    default:
        die("feature %d has no single number", (int)f);
    }
}

static void features(double *out, SvcFeature f, const Predictions *p) {
    for (int64_t i = 0; i < p->n; i++)
        out[i] = feature_of(f, p->prob + i * p->classes, p->classes, p->label[i]);
}

bool svc_membership(SvcResult *out, SvcFeature feature, const Predictions *retained, const Predictions *test,
                    const Predictions *forgotten, Error *e) {
    const Predictions *all[] = {retained, test, forgotten};
    static const char *const name[] = {"retained samples", "test samples", "forgotten samples"};
    SvcPoints points[3];
    double *x[3] = {NULL, NULL, NULL};
    bool ok = false;
    for (int i = 0; i < 3; i++) {
        if (!predictions_check(name[i], all[i], true, e)) return false;
        if (all[i]->classes != test->classes)
            return error_set(e, ERROR_VALUE, "%s have %d classes, test samples %d", name[i], all[i]->classes,
                             test->classes);
        points[i] = (SvcPoints){all[i]->prob, all[i]->n};
    }
    if (feature == SVC_PROBABILITY) return svc_attack(out, points[0], points[1], points[2], test->classes, e);
    for (int i = 0; i < 3; i++) {
        size_t size = (size_t)all[i]->n * sizeof(double);
        if (!(x[i] = mem_get(size))) {
            error_memory(e, size);
            goto done;
        }
        features(x[i], feature, all[i]);
        points[i].x = x[i];
    }
    ok = svc_attack(out, points[0], points[1], points[2], 1, e);
done:
    for (int i = 0; i < 3; i++) mem_free(x[i]);
    return ok;
}
