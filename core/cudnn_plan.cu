#include "core/cudnn_plan.h"

#include "core/cuda.h"

#include <stdio.h>
#include <string.h>

enum { GRAPH_MADE = 100, KEY_MOST = 256, CONFIGS = 64, BUCKETS = 256 };

/* Of this process, made at the first use. */
static cudnnHandle_t handle;
static Desc pretended; /* the properties of a GPU that is not there, or NULL */

void cudnn_check(cudnnStatus_t status, const char *call, const char *file, int line) {
    if (status == CUDNN_STATUS_SUCCESS) return;
    char last[600] = "";
    cudnnGetLastErrorString(last, sizeof last);
    give_up("%s:%d: %s: %s; %s", file, line, call, cudnnGetErrorString(status), last);
}

static void handle_open(void) {
    if (handle) return;
    CUDNN(cudnnCreate(&handle));
    CUDNN(cudnnSetStream(handle, cuda.stream));
}

bool cudnn_pretend(const char *json, char *why, size_t size) {
    cudnnStatus_t status = cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &pretended);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendSetAttribute(pretended, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
                                          CUDNN_TYPE_CHAR, (int64_t)strlen(json), json);
    if (status == CUDNN_STATUS_SUCCESS) status = cudnnBackendFinalize(pretended);
    if (status == CUDNN_STATUS_SUCCESS) return true;
    cudnnGetLastErrorString(why, size);
    return false;
}

/* ---- the graph ---- */

static void refused(Graph *g, cudnnStatus_t status, const char *what, int number) {
    if (status == CUDNN_STATUS_SUCCESS || g->bad[0]) return;
    char last[200] = "";
    cudnnGetLastErrorString(last, sizeof last);
    snprintf(g->bad, sizeof g->bad, "%s %d: %s; %s", what, number, cudnnGetErrorString(status), last);
}

Desc graph_descriptor(Graph *g, cudnnBackendDescriptorType_t type) {
    if (g->descs == GRAPH_DESCS) die("cudnn: a graph of more than %d descriptors", GRAPH_DESCS);
    Desc d = NULL;
    refused(g, cudnnBackendCreateDescriptor(type, &d), "descriptor", type);
    return g->desc[g->descs++] = d;
}

void graph_set(Graph *g, Desc d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
               int64_t count, const void *value) {
    if (g->bad[0]) return; /* the descriptor may not exist */
    refused(g, cudnnBackendSetAttribute(d, name, type, count, value), "attribute", name);
}

static void set_desc(Graph *g, Desc d, cudnnBackendAttributeName_t name, Desc value) {
    graph_set(g, d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static void set_type(Graph *g, Desc d, cudnnBackendAttributeName_t name, cudnnDataType_t value) {
    graph_set(g, d, name, CUDNN_TYPE_DATA_TYPE, 1, &value);
}

static void finalize(Graph *g, Desc d, const char *what, int number) {
    if (!g->bad[0]) refused(g, cudnnBackendFinalize(d), what, number);
}

void graph_finalize(Graph *g, Desc d) {
    finalize(g, d, "descriptor before operation", g->ops);
}

void graph_operation(Graph *g, Desc op) {
    if (g->ops == GRAPH_OPS) die("cudnn: a graph of more than %d operations", GRAPH_OPS);
    finalize(g, op, "operation", g->ops);
    g->op[g->ops++] = op;
}

static Desc tensor(Graph *g, int64_t id, cudnnDataType_t type, const Shape *s, bool between, bool number) {
    Desc d = graph_descriptor(g, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    int64_t align = number ? 4 : 16;
    set_type(g, d, CUDNN_ATTR_TENSOR_DATA_TYPE, type);
    graph_set(g, d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, s->axes, s->dim);
    graph_set(g, d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, s->axes, s->stride);
    graph_set(g, d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    graph_set(g, d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &align);
    graph_set(g, d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &between);
    graph_set(g, d, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &number);
    finalize(g, d, "tensor", (int)id);
    return d;
}

Desc graph_tensor(Graph *g, int64_t id, cudnnDataType_t type, Shape shape) {
    return tensor(g, id, type, &shape, false, false);
}

Desc graph_between(Graph *g, cudnnDataType_t type, Shape shape) {
    return tensor(g, GRAPH_MADE + g->made++, type, &shape, true, false);
}

Desc graph_number(Graph *g, int64_t id, int axes) {
    Shape one = {axes, {1, 1, 1, 1, 1}, {1, 1, 1, 1, 1}};
    return tensor(g, id, CUDNN_DATA_FLOAT, &one, false, true);
}

static Desc pointwise(Graph *g, Desc how, Desc x, Desc b, Desc select, Desc y) {
    graph_finalize(g, how);
    Desc op = graph_descriptor(g, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set_desc(g, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
    set_desc(g, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    if (b) set_desc(g, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    if (select) set_desc(g, op, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, select);
    set_desc(g, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    graph_operation(g, op);
    return y;
}

static Desc pointwise_how(Graph *g, cudnnPointwiseMode_t mode) {
    Desc how = graph_descriptor(g, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    bool compares = mode >= CUDNN_POINTWISE_CMP_EQ && mode <= CUDNN_POINTWISE_CMP_LE;
    graph_set(g, how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set_type(g, how, CUDNN_ATTR_POINTWISE_MATH_PREC, compares ? CUDNN_DATA_BOOLEAN : CUDNN_DATA_FLOAT);
    return how;
}

Desc graph_pointwise(Graph *g, cudnnPointwiseMode_t mode, Desc x, Desc b, Desc select, Desc y) {
    return pointwise(g, pointwise_how(g, mode), x, b, select, y);
}

Desc graph_index(Graph *g, int64_t axis, Desc x, Desc y) {
    Desc how = pointwise_how(g, CUDNN_POINTWISE_GEN_INDEX);
    graph_set(g, how, CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, 1, &axis);
    return pointwise(g, how, x, NULL, NULL, y);
}

Desc graph_matmul(Graph *g, Desc a, Desc b, Desc c) {
    Desc how = graph_descriptor(g, CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    set_type(g, how, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT);
    graph_finalize(g, how);
    Desc op = graph_descriptor(g, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    set_desc(g, op, CUDNN_ATTR_OPERATION_MATMUL_ADESC, a);
    set_desc(g, op, CUDNN_ATTR_OPERATION_MATMUL_BDESC, b);
    set_desc(g, op, CUDNN_ATTR_OPERATION_MATMUL_CDESC, c);
    set_desc(g, op, CUDNN_ATTR_OPERATION_MATMUL_DESC, how);
    graph_operation(g, op);
    return c;
}

Desc graph_reduce(Graph *g, cudnnReduceTensorOp_t how, Desc x, Desc y) {
    Desc d = graph_descriptor(g, CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    set_type(g, d, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT);
    graph_set(g, d, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &how);
    graph_finalize(g, d);
    Desc op = graph_descriptor(g, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    set_desc(g, op, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x);
    set_desc(g, op, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y);
    set_desc(g, op, CUDNN_ATTR_OPERATION_REDUCTION_DESC, d);
    graph_operation(g, op);
    return y;
}

Desc graph_reshape(Graph *g, Desc x, Desc y) {
    Desc op = graph_descriptor(g, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
    set_desc(g, op, CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x);
    set_desc(g, op, CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y);
    graph_operation(g, op);
    return y;
}

/* ---- the plan ---- */

static bool has_note(Desc config, cudnnBackendNumericalNote_t note) {
    Desc engine = NULL;
    cudnnBackendNumericalNote_t found[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t count = 0;
    CUDNN(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine));
    CUDNN(cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                                   &count, &engine));
    CUDNN(cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                   CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &count, found));
    bool has = false;
    for (int64_t i = 0; i < count && i < CUDNN_NUMERICAL_NOTE_TYPE_COUNT; i++) has |= found[i] == note;
    CUDNN(cudnnBackendDestroyDescriptor(engine));
    return has;
}

static bool allowed(Desc config, PlanRules rules) {
    if (rules.repeats && has_note(config, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)) return false;
    return !rules.exact ||
           !(has_note(config, CUDNN_NUMERICAL_NOTE_TENSOR_CORE) ||
             has_note(config, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS) ||
             has_note(config, CUDNN_NUMERICAL_NOTE_WINOGRAD) || has_note(config, CUDNN_NUMERICAL_NOTE_FFT));
}

/* Finalizes a plan of this configuration: false when the engine cannot after all. */
static bool plan_of_config(Plan *p, Desc config) {
    if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &p->plan) !=
        CUDNN_STATUS_SUCCESS)
        return false;
    cudnnStatus_t status = cudnnBackendSetAttribute(p->plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
                                                    CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config);
    if (status == CUDNN_STATUS_SUCCESS && !pretended)
        status = cudnnBackendSetAttribute(p->plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1,
                                          &handle);
    if (status == CUDNN_STATUS_SUCCESS) status = cudnnBackendFinalize(p->plan);
    int64_t count = 0;
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendGetAttribute(p->plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64,
                                          1, &count, &p->workspace);
    if (status == CUDNN_STATUS_SUCCESS) return true;
    cudnnGetLastErrorString(p->why, sizeof p->why);
    cudnnBackendDestroyDescriptor(p->plan);
    p->plan = NULL;
    return false;
}

/* The first of the mode's proposals that the rules allow and that becomes a plan. */
static bool plan_of_mode(Plan *p, Graph *g, Desc whole, cudnnBackendHeurMode_t mode, PlanRules rules) {
    Desc heur = graph_descriptor(g, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR), config[CONFIGS];
    set_desc(g, heur, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, whole);
    graph_set(g, heur, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (pretended) set_desc(g, heur, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, pretended);
    finalize(g, heur, "heuristics of mode", mode);
    if (g->bad[0]) return false;
    for (int i = 0; i < CONFIGS; i++)
        CUDNN(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &config[i]));
    int64_t count = 0;
    cudnnStatus_t status = cudnnBackendGetAttribute(heur, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                                    CUDNN_TYPE_BACKEND_DESCRIPTOR, CONFIGS, &count, config);
    bool found = false;
    for (int64_t i = 0; status == CUDNN_STATUS_SUCCESS && i < count && i < CONFIGS && !found; i++)
        found = allowed(config[i], rules) && plan_of_config(p, config[i]);
    for (int i = 0; i < CONFIGS; i++) CUDNN(cudnnBackendDestroyDescriptor(config[i]));
    return found;
}

static Desc graph_whole(Graph *g) {
    Desc whole = graph_descriptor(g, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    graph_set(g, whole, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, g->ops, g->op);
    if (!pretended) graph_set(g, whole, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
    finalize(g, whole, "graph", g->ops);
    return whole;
}

typedef struct Entry {
    struct Entry *next;
    size_t bytes;
    unsigned char key[KEY_MOST];
    Plan plan;
} Entry;
static Entry *table[BUCKETS];

static Entry **bucket_of(const void *key, size_t bytes) {
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < bytes; i++) h = (h ^ ((const unsigned char *)key)[i]) * 0x100000001B3u;
    return &table[(h >> 20) % BUCKETS];
}

Plan *plan_find(const void *key, size_t bytes) {
    for (Entry *t = *bucket_of(key, bytes); t; t = t->next)
        if (t->bytes == bytes && !memcmp(t->key, key, bytes)) return &t->plan;
    if (!pretended) handle_open();
    return NULL;
}

Plan *plan_make(Graph *g, PlanRules rules, const void *key, size_t bytes) {
    Entry *t = (Entry *)mem_zero(1, sizeof *t);
    if (!t || bytes > KEY_MOST) die("cudnn: no room for a plan");
    t->bytes = bytes;
    memcpy(t->key, key, bytes);
    Desc whole = graph_whole(g);
    if (!plan_of_mode(&t->plan, g, whole, CUDNN_HEUR_MODE_A, rules) && !g->bad[0])
        plan_of_mode(&t->plan, g, whole, CUDNN_HEUR_MODE_FALLBACK, rules);
    if (!t->plan.plan && !t->plan.why[0])
        snprintf(t->plan.why, sizeof t->plan.why, "%s", g->bad[0] ? g->bad : "no engine may do it");
    for (int i = g->descs - 1; i >= 0; i--)
        if (g->desc[i]) CUDNN(cudnnBackendDestroyDescriptor(g->desc[i]));
    Entry **bucket = bucket_of(key, bytes);
    t->next = *bucket;
    *bucket = t;
    return &t->plan;
}

void plan_run(OpCall *c, const Plan *p, const Bound *bound, int count) {
    enum { MOST = 24 };
    int64_t id[MOST];
    const void *data[MOST];
    if (count > MOST) die("cudnn: %d tensors in a plan", count);
    for (int i = 0; i < count; i++) id[i] = bound[i].id, data[i] = bound[i].data;
    void *room = p->workspace ? op_scratch(c, (size_t)p->workspace) : NULL;
    Desc pack;
    CUDNN(cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack));
    CUDNN(cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, id));
    CUDNN(cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count,
                                   data));
    CUDNN(cudnnBackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &room));
    CUDNN(cudnnBackendFinalize(pack));
    CUDNN(cudnnBackendExecute(handle, p->plan, pack));
    CUDNN(cudnnBackendDestroyDescriptor(pack));
    if (room) op_scratch_free(c, room);
}
