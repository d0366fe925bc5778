/* tensor: a dense row-major array, the last axis fastest, always contiguous.
 *
 * Three lifetimes, and no fourth: *parameter* (lives with the model; core/params.h), *step* (lives until
 * the step that made it ends, or until neither the tape nor an open scope needs it; core/step.h) and
 * *scratch* (inside one op). A tensor does not know its lifetime; who made it does.
 *
 * `real` is float. The gradient check compiles the engine a second time with real = double
 * (-DLETHE_DOUBLE): there DT_F32 holds doubles, bf16 does not exist, and only reference kernels run. */
#ifndef LETHE_TENSOR_H
#define LETHE_TENSOR_H

#include "core/base.h"

#ifdef LETHE_DOUBLE
typedef double real;
#define real_sqrt __builtin_sqrt
#define real_abs  __builtin_fabs
#else
typedef float real;
#define real_sqrt __builtin_sqrtf
#define real_abs  __builtin_fabsf
#endif

typedef uint16_t bf16; /* the upper half of a float */

typedef enum { DT_F32, DT_BF16, DT_I32, DT_U8, DT_COUNT } DType;

enum { TENSOR_MAX_DIM = 6 };

typedef struct Tensor Tensor;
struct Tensor {
    void *data;
    int64_t dim[TENSOR_MAX_DIM];
    int ndim;
    DType dtype;
    bool needs_grad;     /* a parameter that trains, or something computed from one */
    bool keep_grad;      /* the gradient outlives backward */
    bool grad_fresh;     /* grad is allocated but holds nothing yet: the first writer overwrites it */
    Tensor *grad;        /* same shape and dtype (parameters: f32); NULL until backward reaches it */
    const char *name;    /* the parameter's name, or the op that made it: for messages */
    struct Block *block; /* step memory behind data; NULL for parameters and borrowed memory */
    int32_t holds;       /* step tensors: tape nodes and scopes that still need the data */
    bool param;          /* a parameter */
    bool device;         /* data is memory of the GPU */
    int32_t uses; /* parameters: calls of this step whose backward is still to come; see Step.written */
};

C_BEGIN

size_t dtype_size(DType d);
const char *dtype_name(DType d); /* "f32", "bf16", "i32", "u8" */

int64_t tensor_count(const Tensor *t); /* elements */
size_t tensor_bytes(const Tensor *t);
int64_t tensor_rows(const Tensor *t); /* elements / last axis */
int64_t tensor_last(const Tensor *t); /* length of the last axis; 1 for a scalar */
bool tensor_same_shape(const Tensor *a, const Tensor *b);
const char *tensor_text(const Tensor *t, char buffer[96]); /* "f32[2, 3]"; returns buffer */

static inline real *tensor_real(const Tensor *t) {
    return (real *)t->data;
}
static inline bf16 *tensor_bf16(const Tensor *t) {
    return (bf16 *)t->data;
}
static inline int32_t *tensor_i32(const Tensor *t) {
    return (int32_t *)t->data;
}
static inline uint8_t *tensor_u8(const Tensor *t) {
    return (uint8_t *)t->data;
}

/* bf16 <-> f32. Rounds to nearest, ties to even; a NaN stays a NaN. */
static inline float bf16_to_f32(bf16 h) {
    union {
        uint32_t u;
        float f;
    } v = {.u = (uint32_t)h << 16};
    return v.f;
}
static inline bf16 bf16_from_f32(float f) {
    union {
        float f;
        uint32_t u;
    } v = {.f = f};
    uint32_t nan = (v.u & 0x7FFFFFFFu) > 0x7F800000u;
    uint32_t rounded = (v.u + 0x7FFFu + ((v.u >> 16) & 1u)) >> 16;
    return (bf16)(nan ? (v.u >> 16) | 0x40u : rounded);
}

/* One element in either dtype of reals: kernels load, compute in f32, store. */
static inline real tensor_at(const Tensor *t, int64_t i) {
    return t->dtype == DT_BF16 ? (real)bf16_to_f32(tensor_bf16(t)[i]) : tensor_real(t)[i];
}
static inline void tensor_put(const Tensor *t, int64_t i, real v) {
    if (t->dtype == DT_BF16)
        tensor_bf16(t)[i] = bf16_from_f32((float)v);
    else
        tensor_real(t)[i] = v;
}
static inline void tensor_add(const Tensor *t, int64_t i, real v) {
    tensor_put(t, i, tensor_at(t, i) + v);
}

C_END

#endif
