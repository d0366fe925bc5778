/* cudnn_plan: a computation described to cuDNN as a graph of tensors and operations, and the plan that cuDNN
 * makes of it. A plan is made at the first use of a shape and kept; running it allocates no device memory,
 * goes to cuda.stream and may be captured. For core/cuda_attention.cu and core/cuda_conv.cu.
 *
 * cuDNN plans for a GPU that is not there too, from a description in JSON: tests/device/check_cudnn.c proves
 * on any machine that our graphs are accepted. */
#ifndef LETHE_CUDNN_PLAN_H
#define LETHE_CUDNN_PLAN_H

#include "core/op.h"

#include <cudnn.h>

typedef cudnnBackendDescriptor_t Desc;

/* Ends the program naming call, file, line and what cuDNN says. */
void cudnn_check(cudnnStatus_t status, const char *call, const char *file, int line);
#define CUDNN(call) cudnn_check((call), #call, __FILE__, __LINE__)

enum { GRAPH_DESCS = 160, GRAPH_OPS = 32, GRAPH_AXES = 5 };

typedef struct Graph {
    Desc desc[GRAPH_DESCS], op[GRAPH_OPS];
    int descs, ops;
    int64_t made;  /* ids of tensors between operations, from GRAPH_MADE on */
    char bad[300]; /* the first call that cuDNN refused; "" while all is well */
} Graph;

typedef struct Shape {
    int axes;
    int64_t dim[GRAPH_AXES], stride[GRAPH_AXES];
} Shape;

/* Ids of tensors with memory are the caller's, 1 .. 99. */
Desc graph_tensor(Graph *g, int64_t id, cudnnDataType_t type, Shape shape);
Desc graph_number(Graph *g, int64_t id, int axes);               /* an f32 of the host */
Desc graph_between(Graph *g, cudnnDataType_t type, Shape shape); /* never in memory */
Desc graph_pointwise(Graph *g, cudnnPointwiseMode_t mode, Desc x, Desc b, Desc select, Desc y);
Desc graph_index(Graph *g, int64_t axis, Desc x, Desc y); /* each element's place on the axis */
Desc graph_matmul(Graph *g, Desc a, Desc b, Desc c);
Desc graph_reduce(Graph *g, cudnnReduceTensorOp_t how, Desc x, Desc y);
Desc graph_reshape(Graph *g, Desc x, Desc y);
Desc graph_descriptor(Graph *g, cudnnBackendDescriptorType_t type); /* to be filled by graph_set */
void graph_set(Graph *g, Desc d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
               int64_t count, const void *value);
void graph_finalize(Graph *g, Desc d);
void graph_operation(Graph *g, Desc op); /* finalizes it and appends it */

typedef struct Plan {
    Desc plan; /* NULL: cuDNN has none, and `why` says so */
    int64_t workspace;
    char why[300];
} Plan;

/* What a plan may do. */
typedef struct PlanRules {
    bool repeats; /* the same bits every time */
    bool exact;   /* f32 is multiplied as f32: no TF32, no Winograd */
} PlanRules;

/* The plan kept under these bytes (zero the padding of structs); NULL: not yet made. */
Plan *plan_find(const void *key, size_t bytes);
/* Makes it and keeps it. Frees what the graph holds. */
Plan *plan_make(Graph *g, PlanRules rules, const void *key, size_t bytes);

typedef struct Bound {
    int64_t id;
    const void *data; /* device memory; of numbers, the host's */
} Bound;
void plan_run(OpCall *c, const Plan *p, const Bound *bound, int count);

/* Plans from now on are made for the GPU so described, and cannot be run; false, and the line says why. */
C_BEGIN
bool cudnn_pretend(const char *json, char *why, size_t size);
C_END

#endif
