/* params: the named store of a model's parameters. Names and shapes are the state-dict keys of the public
 * PyTorch implementation, so that model.safetensors loads there and theirs load here.
 *
 * A model first declares all of them (params_add), then one slab is made and filled (params_build). Values
 * are f32. Each is drawn from its own stream, keyed by its name: adding one parameter changes no other. */
#ifndef LETHE_PARAMS_H
#define LETHE_PARAMS_H

#include "core/rng.h"
#include "core/tensor.h"

typedef enum {
    INIT_VALUE,        /* all = a */
    INIT_NORMAL,       /* N(0, a^2) */
    INIT_TRUNC_NORMAL, /* N(0, a^2) cut at -2 .. 2, absolute, as timm's trunc_normal_ */
    INIT_UNIFORM,      /* U(-a, a) */
    INIT_XAVIER,       /* U(-b, b), b = sqrt(6 / (rows + columns)) of the (dim 0, rest) matrix */
    INIT_KAIMING,      /* N(0, 2 / fan out), fan out = dim 0 x kernel (He et al. 2015) */
    INIT_LATER,        /* zero until the model writes it (position tables) */
} InitKind;

typedef struct Init {
    InitKind kind;
    double a;
} Init;

typedef struct Param {
    Tensor tensor; /* first: a Tensor * from params_add is also the Param * */
    char name[96];
    Init init;
    bool frozen;     /* no gradient, no optimizer state: position tables, probed backbones */
    bool buffer;     /* not a parameter in PyTorch's sense: running statistics */
    bool decay;      /* weight decay applies; set by params_add for tensors of two axes and more, not .bias */
    int layer;       /* for layer-wise decay: 0 is the input's side, Task.layers the head's */
    double lr_scale; /* of layer-wise decay; 1 */
} Param;

typedef struct Params {
    Param **list;
    int count, room;
    real *value, *grad; /* slabs; grad in the order of the trained parameters */
    Tensor *header;     /* of the gradients */
    Tensor *host; /* [count] headers of the values in the host's memory, where the model's may be the GPU's */
    real *device; /* the values on the GPU, in the layout of `value`, which is then a copy; or NULL */
    int64_t values, trained; /* lengths of the slabs, each tensor rounded up to 64 bytes of floats */
    bool dry; /* set before params_build: the slabs are laid out, and neither filled nor touched (Step.dry) */
} Params;
/* `value` begins with the trained parameters, in the order and at the places that `grad` has them: element i
 * of the one belongs to element i of the other. `trained` is a multiple of what params_train was given. */

/* Declares a parameter. The tensor has no data before params_build. Dies if memory is out or a name comes
 * twice. */
Tensor *params_add(Params *p, const char *name, int ndim, const int64_t *dim, Init init);
Param *params_of(Tensor *t);

bool params_build(Params *p, uint64_t seed, Error *e); /* values; gradients come with params_train */
/* Gradients for all that is not frozen; `trained` becomes a multiple of `multiple` elements. */
bool params_train(Params *p, int64_t multiple, Error *e);
/* Moves values and gradients to the GPU: from now on `list` and `grad` are there. `value` keeps the values of
 * the last params_fetch. */
void params_to_device(Params *p);
void params_fetch(Params *p); /* from the GPU to `value`; nothing without one */
void params_put(Params *p);   /* and back */
void params_free(Params *p);
Param *params_find(const Params *p, const char *name); /* NULL: no such */

void params_begin(Params *p);       /* before a step's forward: no call has used any yet */
void params_zero_grad(Params *p);   /* marks every gradient as not yet written: the first writer overwrites */
void params_settle_grad(Params *p); /* after backward: what nobody wrote becomes zero */
void params_settle_one(Param *q);   /* the same for one */

#endif
