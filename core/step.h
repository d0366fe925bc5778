/* step: the memory and the tape of one training step.
 *
 * A step tensor lives until the step ends, or until neither an open scope nor a tape node needs it. Blocks of
 * a model open a scope and close it with what they return; all else that backward does not read is free at
 * once. Backward frees in the reverse order, so gradients fill the holes that activations leave.
 * Addresses repeat: with the same shapes, every tensor of step 3 lies where it lay in step 2, and after the
 * first step of a shape nothing here calls an allocator. */
#ifndef LETHE_STEP_H
#define LETHE_STEP_H

#include "core/op.h"
#include "core/rng.h"

/* Per-op clock of `lethe bench`; index as in op_rows. */
typedef struct StepClock {
    double forward, backward; /* seconds */
    int64_t calls;
} StepClock;

struct Step {
    DType compute; /* DT_F32, or DT_BF16: what matmuls, attention and norms emit */
    Backend backend;
    bool dry;       /* shapes, FLOPs and memory only: no kernel runs, no data is touched (lethe plan) */
    bool capturing; /* CUDA: what runs now becomes a graph; the host's part is step_refill's */
    bool recording; /* the tape is on; step_no_grad turns it off */
    bool training;  /* dropout and drop path act, batch norm uses the batch */
    bool again;     /* backward is running a segment once more: running statistics stay as they are */
    uint64_t seed;
    const struct Batch *batch; /* what the step works on; StepFill reads it */
    bool want_image;       /* the loss will be differentiated by the image: task_image keeps its gradient, */
    Tensor *image;         /* and puts here the tensor that has it */
    int64_t index;         /* global step: keys dropout */
    const int64_t *sample; /* [batch] ids: key dropout and drop path per sample; NULL: 0, 1, 2, .. On CUDA in
                              device memory, */
    const int64_t *index_at; /* as is the global step, which a captured graph reads anew; NULL: `index` */
    double flops;            /* matmul-like FLOPs since step_begin */
    size_t kept;             /* bytes the tape held when backward began: the activations it must keep */
    bool check;              /* look at every output and gradient for the first that is not finite */
    char bad[160];           /* what was found; "" while all is finite */
    StepClock *clock;        /* NULL: off */
    /* In backward: the gradient of `param` is whole, no call that is still to come adds to it. NULL: off. A
     * parameter that no call of the step used is never told of. */
    void (*written)(void *self, Tensor *param);
    void *written_self;
    /* After each op has run forward, its outputs are there: for who looks into a model without knowing it
     * (L-CODEC's activations). It reads, and makes no tensor. NULL: off. */
    void (*watch)(void *self, const OpCall *c);
    void *watch_self;
    struct StepInner *inner;
};

C_BEGIN

/* `limit`: most bytes of step memory (address space only until touched); 0: all of the machine's memory. */
Step *step_create(DType compute, Backend backend, size_t limit, Error *e);
void step_free(Step *s);

void step_begin(Step *s);        /* forgets every tensor and node of the step before */
size_t step_peak(const Step *s); /* most bytes of step memory ever in use */
size_t step_live(const Step *s); /* bytes in use now */

Tensor *step_tensor(Step *s, DType dtype, int ndim, const int64_t *dim); /* undefined contents */
Tensor *step_zeros(Step *s, DType dtype, int ndim, const int64_t *dim);
Tensor *step_input(Step *s, const Tensor *outside); /* borrows the data; gradient not wanted */
/* Tensors whose contents are worked out on the host: masks, orders. `fill` writes them, host[i] being headers
 * like t[i]; it may read the step's seed, batch and training, and `self`, and is called again for every
 * replay of a captured step. n <= STEP_GIVEN. */
enum { STEP_GIVEN = 8 };
typedef void (*StepFill)(const Step *s, const void *self, Tensor *const *host);
void step_given(Step *s, int n, Tensor **t, const Tensor *like, StepFill fill, const void *self);
/* CUDA: the captured step's tensors stay where they are, whatever other steps do; and they are filled anew
 * for s->batch, before a replay. */
void step_keep_given(Step *s);
void step_refill(Step *s);

Tensor *step_host(Step *s, Tensor *t); /* a copy the host can read, of what stands in t when all is done */
Tensor *step_view(Step *s, Tensor *t, int ndim, const int64_t *dim); /* no tape: same data, new shape */
Tensor *step_copy(Step *s, const Tensor *t);

typedef int32_t Scope; /* a mark in the list of held tensors */
Scope scope_open(Step *s);
/* Frees what was made since scope_open and is held by no tape node, all but `keep` (may be NULL). */
Tensor *scope_close(Step *s, Scope scope, Tensor *keep);

/* Runs until step_grad_on; nests. */
bool step_no_grad(Step *s); /* returns what recording was */
void step_grad_on(Step *s, bool was);

/* Walks the tape back from a scalar loss, with d loss = `seed` (1, or 1/accumulation). Gradients of
 * parameters add into theirs; those of step tensors go with the step unless step_keep_grad asked for them. */
void tape_backward(Step *s, Tensor *loss, double seed);
void tape_backward_seeded(
    Step *s);                   /* the same, from gradients the caller has put on outputs (step_grad_of) */
void step_keep_grad(Tensor *t); /* before backward: t->grad survives it */
void step_want_grad(Tensor *t); /* an input becomes something to differentiate by */

/* Activation checkpointing (Chen et al. 2016): runs f(s, self, x) without a tape and again inside backward.
 * f must be a pure function of x, self and the parameters. */
typedef Tensor *(*StepFn)(Step *s, void *self, Tensor *x);
Tensor *step_recompute(Step *s, StepFn f, void *self, Tensor *x);

/* For op.c: see op.h. A hidden tensor is held by its maker, not by a scope. */
Tensor *step_hidden(Step *s, DType dtype, int ndim, const int64_t *dim);
void step_record(Step *s, const OpCall *c);
void step_count_uses(Step *s, const OpCall *c); /* before forward, if the call has a derivative */
Tensor *step_grad_of(Step *s, Tensor *t, bool *fresh);
void *step_block(Step *s, size_t bytes);
void step_block_free(Step *s, void *p);
double step_clock(const Step *s);   /* seconds, when all work so far is done */
void step_drop(Step *s, Tensor *t); /* gives up one hold */
void step_pass_grad(Step *s, Tensor *t, Tensor *g);
void step_check(Step *s, const OpCall *c, bool backward); /* fills s->bad at the first value not finite */

C_END

#endif
