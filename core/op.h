/* op: one row an operation, one stem a row. core/op/NAME.c holds, in this order: the banner with the formula
 * and what backward reads, the shape rule, the reference kernels, the fast CPU kernels, the probes, the row
 * and the wrapper that models call. core/ops.def lists the wrappers; nothing else need be edited to add an
 * op.
 *
 * Reference kernels are plain loops in `real`, single-threaded, easy to hold against the formula; the engine
 * is compiled a second time with real = double to check their derivatives. A CPU kernel is judged against the
 * reference on the same probes. Where plain loops are fast enough, the row names them in both columns.
 *
 * Contract of the kernels
 * - forward writes every element of every output and save; it allocates nothing but scratch.
 * - backward reads out[k]->grad and what `needs` names, and *adds into* the gradient of each input for which
 *   op_grad gives a tensor. With `fresh` set the memory is undefined and must be overwritten instead.
 * - settings stand in f[] and i[]; their meaning is in the stem's banner.
 * - f32 tensors hold `real`; CPU kernels may also meet bf16 where the shape rule lets it in. */
#ifndef LETHE_OP_H
#define LETHE_OP_H

#include "core/tensor.h"

typedef struct Step Step;
typedef struct Op Op;

enum { OP_IN = 6, OP_OUT = 3, OP_SAVE = 3, OP_ARG = 10 };

typedef enum { BACKEND_REF, BACKEND_CPU, BACKEND_CUDA, BACKEND_COUNT } Backend;

typedef struct OpCall {
    const Op *op;
    Step *step;
    Tensor *in[OP_IN];     /* NULL: absent */
    Tensor *out[OP_OUT];   /* made by the shape rule */
    Tensor *save[OP_SAVE]; /* made by the shape rule; live until backward has run */
    double f[OP_ARG];
    int64_t i[OP_ARG];
    bool record; /* backward will be asked for */
} OpCall;

#define NEED_IN(k)  (1u << (k))
#define NEED_OUT(k) (1u << (16 + (k)))

/* A probe is a small call that every check runs on: gradient check, fast against reference, bf16. */
typedef struct ProbeIn {
    int ndim;
    int64_t dim[TENSOR_MAX_DIM];
    double lo, hi; /* range of the values; both 0: -1 .. 1. Keep away from kinks */
    int64_t below; /* > 0: i32 drawn from `least` .. below - 1 */
    int64_t least;
    bool constant; /* no gradient is asked for */
} ProbeIn;

typedef struct Probe {
    const char *about;
    ProbeIn in[OP_IN]; /* ndim 0 and dim[0] 0: absent; a scalar is {1, {1}} */
    double f[OP_ARG];
    int64_t i[OP_ARG];
} Probe;

struct Op {
    const char *name;
    void (*shape)(OpCall *c); /* dies naming op and shapes; makes out[] and save[] */
    void (*forward[BACKEND_COUNT])(OpCall *c);
    void (*backward[BACKEND_COUNT])(OpCall *c); /* all NULL: has no derivative */
    unsigned passes; /* NEED_IN of inputs whose gradient is out[0]'s itself, if the counts are equal */
    unsigned needs;  /* what backward reads beside saves and out->grad */
    double (*flops)(const OpCall *c, bool backward); /* matmul-like FLOPs; NULL: not counted */
    bool bf16;                                       /* the CPU kernel takes in[0] in bf16 too, */
    unsigned bf16_with;                              /* and these inputs together with it */
    const Probe *probe;
    int probes;
};

#if defined(LETHE_CUDA) && !defined(LETHE_DOUBLE)
#define ON_CUDA(f) f
#else
#define ON_CUDA(f) NULL
#endif
#ifdef LETHE_DOUBLE
#define ON_CPU(f) NULL
#else
#define ON_CPU(f) f
#endif

C_BEGIN

/* The rows, by name; op_rows is NULL-terminated. */
extern const Op *const op_rows[];

/* For wrappers: runs shape and forward on the step's backend, records the call if a gradient will be needed,
 * and returns out[0]. `c` may live on the caller's stack. */
Tensor *op_run(Step *s, const Op *op, OpCall *c);

/* For shape rules. */
Tensor *op_out(OpCall *c, int k, DType dtype, int ndim, const int64_t *dim);
Tensor *op_out_like(OpCall *c, int k, const Tensor *like); /* shape and dtype of `like` */
Tensor *op_save(OpCall *c, int k, DType dtype, int ndim, const int64_t *dim);
NORETURN void op_die(const OpCall *c, const char *why); /* names op, its input shapes and why */

/* For backward kernels: the gradient of in[k] to add into, or NULL when nobody wants it. With `fresh` the
 * caller learns whether it must overwrite; without it new memory comes zeroed. */
Tensor *op_grad(OpCall *c, int k, bool *fresh);
/* The gradient of in[k] is `g` itself (same count and dtype): shares its memory when it can, adds if not.
 * At most once a call for one g. */
void op_grad_pass(OpCall *c, int k, Tensor *g);

/* Scratch memory of one kernel, 64-byte aligned, undefined contents. */
void *op_scratch(OpCall *c, size_t bytes);
void op_scratch_free(OpCall *c, void *p);

/* The table op x backend, forward and backward, with every hole shown: `make kernels`. */
bool op_print_kernels(void);

C_END

#endif
