#include "core/cuda_conv.h"

#include "core/cuda.h"
#include "core/cudnn_plan.h"

#include <inttypes.h>
#include <string.h>

enum { X = 1, W, Y };

typedef struct Key {
    Conv conv;
    int64_t way, type, convolution; /* the last marks the kind of key: plans of attention are kept beside */
} Key;

static Shape dense(int64_t a, int64_t b, int64_t c, int64_t d) {
    return {4, {a, b, c, d}, {b * c * d, c * d, d, 1}};
}

static Desc window(Graph *g, const Conv *v) {
    Desc d = graph_descriptor(g, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    int64_t axes = 2, stride[] = {v->stride, v->stride}, pad[] = {v->pad, v->pad}, apart[] = {1, 1};
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    graph_set(g, d, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    graph_set(g, d, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    graph_set(g, d, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &axes);
    graph_set(g, d, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, apart);
    graph_set(g, d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride);
    graph_set(g, d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pad);
    graph_set(g, d, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, pad);
    graph_finalize(g, d);
    return d;
}

/* How the three operations call the same things. */
static const struct Names {
    cudnnBackendDescriptorType_t operation;
    cudnnBackendAttributeName_t x, w, y, window, alpha, beta;
} names[] = {
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA},
};

static void convolution_graph(Graph *g, ConvWay way, DType type, const Conv *v) {
    const struct Names *n = &names[way];
    cudnnDataType_t given = type == DT_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    Desc x = graph_tensor(g, X, given, dense(v->batch, v->in, v->high, v->wide));
    Desc w = graph_tensor(g, W, given, dense(v->out, v->in / v->groups, v->k_high, v->k_wide));
    Desc y = graph_tensor(g, Y, given, dense(v->batch, v->out, v->high_out, v->wide_out));
    Desc how = window(g, v);
    float alpha = 1, beta = 0;
    Desc op = graph_descriptor(g, n->operation);
    graph_set(g, op, n->x, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &x);
    graph_set(g, op, n->w, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &w);
    graph_set(g, op, n->y, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &y);
    graph_set(g, op, n->window, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &how);
    graph_set(g, op, n->alpha, CUDNN_TYPE_FLOAT, 1, &alpha);
    graph_set(g, op, n->beta, CUDNN_TYPE_FLOAT, 1, &beta);
    graph_operation(g, op);
}

static const Plan *plan_of(ConvWay way, DType type, const Conv *v) {
    Key key;
    memset(&key, 0, sizeof key);
    key.conv = *v;
    key.way = way;
    key.type = type;
    key.convolution = 1;
    Plan *p = plan_find(&key, sizeof key);
    if (p) return p;
    Graph g = {};
    convolution_graph(&g, way, type, v);
    return plan_make(&g, PlanRules{.repeats = true, .exact = type == DT_F32}, &key, sizeof key);
}

const char *cuda_conv_why(ConvWay way, DType type, const Conv *v) {
    const Plan *p = plan_of(way, type, v);
    return p->plan ? NULL : p->why;
}

void cuda_conv(OpCall *c, ConvWay way, DType type, const Conv *v, const void *x, const void *w,
               const void *y) {
    const Plan *p = plan_of(way, type, v);
    if (!p->plan)
        give_up("cuDNN has no plan for a convolution of %s, way %d: pictures %" PRId64 " x %" PRId64
                " x %" PRId64 " x %" PRId64 ", weights %" PRId64 " x %" PRId64 " x %" PRId64 " x %" PRId64
                ", stride %" PRId64 ", pad %" PRId64 ": %s",
                dtype_name(type), way, v->batch, v->in, v->high, v->wide, v->out, v->in / v->groups,
                v->k_high, v->k_wide, v->stride, v->pad, p->why);
    Bound bound[] = {{X, x}, {W, w}, {Y, y}};
    plan_run(c, p, bound, COUNT(bound));
}
