#include "core/cuda_attention.h"

#include "core/cuda.h"
#include "core/cudnn_plan.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Ids of the tensors with memory. */
enum { Q = 1, K, V, O, LOGS, DY, DQ, DK, DV, DOT, DQ_SUM, SCALE, ONE, NEVER };

enum { WIDEST = 128 };

typedef struct Key {
    AttentionShape shape;
    int64_t backward, exact;
} Key;

static Shape shape4(int64_t a, int64_t b, int64_t c, int64_t d) {
    return {4, {a, b, c, d}, {b * c * d, c * d, d, 1}};
}

/* (batch, heads, tokens, d) of rows; turned: (batch, heads, d, tokens). */
static Shape rows(const AttentionShape *s, int64_t tokens, int64_t row) {
    return {4, {s->batch, s->heads, tokens, s->d}, {tokens * row, s->d, row, 1}};
}
static Shape turned(Shape s) {
    return {
        4, {s.dim[0], s.dim[1], s.dim[3], s.dim[2]}, {s.stride[0], s.stride[1], s.stride[3], s.stride[2]}};
}

/* What lies between operations: the scores, a number a row. */
static Desc scores(Graph *g, const AttentionShape *s, cudnnDataType_t type) {
    return graph_between(g, type, shape4(s->batch, s->heads, s->n, s->m));
}
static Shape one_a_row(const AttentionShape *s) {
    return shape4(s->batch, s->heads, s->n, 1);
}
static Desc row_numbers(Graph *g, const AttentionShape *s) {
    return graph_between(g, CUDNN_DATA_FLOAT, one_a_row(s));
}
static Desc scores_point(Graph *g, const AttentionShape *s, cudnnPointwiseMode_t mode, Desc x, Desc b) {
    return graph_pointwise(g, mode, x, b, NULL, scores(g, s, CUDNN_DATA_FLOAT));
}

/* Scores of keys that a query must not see become -inf. */
static Desc causal(Graph *g, const AttentionShape *s, Desc x) {
    Desc query = graph_index(g, 2, x, scores(g, s, CUDNN_DATA_INT32));
    Desc key = graph_index(g, 3, x, scores(g, s, CUDNN_DATA_INT32));
    Desc sees =
        graph_pointwise(g, CUDNN_POINTWISE_CMP_GE, query, key, NULL, scores(g, s, CUDNN_DATA_BOOLEAN));
    return graph_pointwise(g, CUDNN_POINTWISE_BINARY_SELECT, x, graph_number(g, NEVER, 4), sees,
                           scores(g, s, CUDNN_DATA_FLOAT));
}

/* q k^T / sqrt(d), masked. */
static Desc scaled_scores(Graph *g, const AttentionShape *s, Desc q, Desc kt, Desc scale) {
    Desc x = graph_matmul(g, q, kt, scores(g, s, CUDNN_DATA_FLOAT));
    x = scores_point(g, s, CUDNN_POINTWISE_MUL, x, scale);
    return s->causal ? causal(g, s, x) : x;
}

static void forward_graph(Graph *g, const AttentionShape *s) {
    const cudnnDataType_t half = CUDNN_DATA_BFLOAT16, single = CUDNN_DATA_FLOAT;
    Desc q = graph_tensor(g, Q, half, rows(s, s->n, s->q_row));
    Desc kt = graph_tensor(g, K, half, turned(rows(s, s->m, s->k_row)));
    Desc v = graph_tensor(g, V, half, rows(s, s->m, s->k_row));
    Desc x = scaled_scores(g, s, q, kt, graph_number(g, SCALE, 4));
    Desc top = graph_reduce(g, CUDNN_REDUCE_TENSOR_MAX, x, row_numbers(g, s));
    x = scores_point(g, s, CUDNN_POINTWISE_SUB, x, top);
    x = scores_point(g, s, CUDNN_POINTWISE_EXP, x, NULL);
    Desc sum = graph_reduce(g, CUDNN_REDUCE_TENSOR_ADD, x, row_numbers(g, s));
    Desc log = graph_pointwise(g, CUDNN_POINTWISE_LOG, sum, NULL, NULL, row_numbers(g, s));
    graph_pointwise(g, CUDNN_POINTWISE_ADD, top, log, NULL, graph_tensor(g, LOGS, single, one_a_row(s)));
    x = graph_pointwise(g, CUDNN_POINTWISE_DIV, x, sum, NULL, scores(g, s, half));
    graph_matmul(g, x, v, graph_tensor(g, O, half, rows(s, s->n, s->heads * s->d)));
}

/* The scores (or dS) as bf16 and turned: (batch, heads, m, n). */
static Desc scores_turned(Graph *g, const AttentionShape *s, Desc x) {
    Shape to = turned(shape4(s->batch, s->heads, s->n, s->m));
    return graph_reshape(g, x, graph_between(g, CUDNN_DATA_BFLOAT16, to));
}

/* DOT: each row's sum of dy o, which cuDNN wants in memory. */
static Desc dot_of_rows(Graph *g, const AttentionShape *s, Desc dy) {
    const cudnnDataType_t single = CUDNN_DATA_FLOAT;
    Desc o = graph_tensor(g, O, CUDNN_DATA_BFLOAT16, rows(s, s->n, s->heads * s->d));
    Desc x = graph_between(g, single, shape4(s->batch, s->heads, s->n, s->d));
    graph_pointwise(g, CUDNN_POINTWISE_MUL, dy, o, NULL, x);
    Desc sum = graph_reduce(g, CUDNN_REDUCE_TENSOR_ADD, x, row_numbers(g, s));
    return graph_pointwise(g, CUDNN_POINTWISE_MUL, sum, graph_number(g, ONE, 4), NULL,
                           graph_tensor(g, DOT, single, one_a_row(s)));
}

/* dq = dS k. The fast way sums in f32 memory in whatever order blocks end; the exact one keeps dS instead. */
static void query_gradient(Graph *g, const AttentionShape *s, Desc ds, Desc kt, bool exact) {
    Desc k = graph_between(g, CUDNN_DATA_BFLOAT16, rows(s, s->m, s->k_row));
    graph_reshape(g, kt, k);
    Desc dq = graph_tensor(g, DQ, CUDNN_DATA_BFLOAT16, rows(s, s->n, s->q_row));
    if (exact) {
        graph_matmul(g, ds, k, dq);
        return;
    }
    Desc sum = graph_tensor(g, DQ_SUM, CUDNN_DATA_FLOAT, shape4(s->batch, s->heads, s->n, s->d));
    graph_matmul(g, ds, k, sum);
    graph_pointwise(g, CUDNN_POINTWISE_IDENTITY, sum, NULL, NULL, dq);
}

static void backward_graph(Graph *g, const AttentionShape *s, bool exact) {
    const cudnnDataType_t half = CUDNN_DATA_BFLOAT16, single = CUDNN_DATA_FLOAT;
    Desc q = graph_tensor(g, Q, half, rows(s, s->n, s->q_row));
    Desc kt = graph_tensor(g, K, half, turned(rows(s, s->m, s->k_row)));
    Desc vt = graph_tensor(g, V, half, turned(rows(s, s->m, s->k_row)));
    Desc dy = graph_tensor(g, DY, half, rows(s, s->n, s->heads * s->d));
    Desc logs = graph_tensor(g, LOGS, single, one_a_row(s)), scale = graph_number(g, SCALE, 4);
    Desc dot = dot_of_rows(g, s, dy);
    Desc x = scaled_scores(g, s, q, kt, scale);
    x = scores_point(g, s, CUDNN_POINTWISE_SUB, x, logs);
    Desc p = scores_point(g, s, CUDNN_POINTWISE_EXP, x, NULL);
    graph_matmul(g, scores_turned(g, s, p), dy, graph_tensor(g, DV, half, rows(s, s->m, s->k_row)));
    x = graph_matmul(g, dy, vt, scores(g, s, single));
    x = scores_point(g, s, CUDNN_POINTWISE_SUB, x, dot);
    x = scores_point(g, s, CUDNN_POINTWISE_MUL, x, p);
    Desc ds = scores_point(g, s, CUDNN_POINTWISE_MUL, x, scale);
    graph_matmul(g, scores_turned(g, s, ds), q, graph_tensor(g, DK, half, rows(s, s->m, s->k_row)));
    query_gradient(g, s, ds, kt, exact);
}

static const Plan *plan_of(const AttentionShape *s, bool backward) {
    Key key;
    memset(&key, 0, sizeof key);
    key.shape = *s;
    key.backward = backward;
    key.exact = cuda.exact;
    Plan *p = plan_find(&key, sizeof key);
    if (p) return p;
    Graph g = {};
    if (backward)
        backward_graph(&g, s, key.exact);
    else
        forward_graph(&g, s);
    p = plan_make(&g, PlanRules{.repeats = cuda.exact, .exact = false}, &key, sizeof key);
    if (!p->plan)
        fprintf(stderr,
                "lethe: cuDNN has no attention of %" PRId64 " heads of %" PRId64 ", %" PRId64 " by %" PRId64
                " (%s); slower kernels do it\n",
                s->heads, s->d, s->n, s->m, p->why);
    return p;
}

bool cuda_attention_takes(const AttentionShape *s, bool backward) {
    return s->d % 8 == 0 && s->d <= WIDEST && s->n > 0 && s->m > 0 && plan_of(s, backward)->plan;
}

const char *cuda_attention_why(const AttentionShape *s, bool backward) {
    return plan_of(s, backward)->why;
}

int64_t cuda_attention_scratch(const AttentionShape *s, bool backward) {
    return plan_of(s, backward)->workspace;
}

/* Numbers live on the host until cuDNN has been called. */
typedef struct Numbers {
    float scale, one, never;
} Numbers;

static Numbers numbers_of(const AttentionShape *s) {
    return {1.0f / sqrtf((float)s->d), 1.0f, -INFINITY};
}

void cuda_attention_forward(OpCall *c, const AttentionShape *s, const AttentionData *t) {
    Numbers number = numbers_of(s);
    Bound bound[] = {{Q, t->q},
                     {K, t->k},
                     {V, t->v},
                     {O, t->o},
                     {LOGS, t->logs},
                     {SCALE, &number.scale},
                     {NEVER, &number.never}};
    plan_run(c, plan_of(s, false), bound, s->causal ? COUNT(bound) : COUNT(bound) - 1);
}

void cuda_attention_backward(OpCall *c, const AttentionShape *s, const AttentionData *t) {
    Numbers number = numbers_of(s);
    size_t rows = (size_t)(s->batch * s->heads * s->n);
    void *dot = op_scratch(c, rows * sizeof(float));
    void *sum = cuda.exact ? NULL : op_scratch(c, rows * (size_t)s->d * sizeof(float));
    Bound bound[24] = {{Q, t->q},          {K, t->k},   {V, t->v},   {O, t->o},   {LOGS, t->logs},
                       {DY, t->dy},        {DQ, t->dq}, {DK, t->dk}, {DV, t->dv}, {SCALE, &number.scale},
                       {ONE, &number.one}, {DOT, dot}};
    int count = 12;
    if (sum) bound[count++] = {DQ_SUM, sum};
    if (s->causal) bound[count++] = {NEVER, &number.never};
    plan_run(c, plan_of(s, true), bound, count);
    if (sum) op_scratch_free(c, sum);
    op_scratch_free(c, dot);
}
