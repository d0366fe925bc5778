/* step_inside: what the step's files share. step.c: memory, tensors, scopes; step_given.c: what passes
 * between the host and a step on the GPU; tape.c: the tape. */
#ifndef LETHE_STEP_INSIDE_H
#define LETHE_STEP_INSIDE_H

#include "core/device.h"
#include "core/heap.h"
#include "core/step.h"

/* What the n-th step_given of a step was: it stays from step to step. CUDA only. */
typedef struct Given {
    void *device,
        *host[2]; /* pinned; two, since the copy of one step may still run when the next is filled */
    size_t room;
} Given;

typedef struct Filling {
    StepFill fill;
    const void *self;
    int first, n;
    Tensor like[STEP_GIVEN];
} Filling;

typedef struct GivenSet {
    Given *list;
    Filling *filling;
    int count, room, fillings, filling_room;
} GivenSet;

typedef struct Node {
    OpCall call;
    StepFn again; /* recompute node: f, its self, x in call.in[0] and the output in call.out[0] */
    void *self;
} Node;

struct StepInner {
    Heap *heap;
    struct ArenaChunk *first, *current; /* tensor headers and nodes of this step */
    Node **node;
    int nodes, node_room;
    Tensor **held; /* what open scopes hold, in order of making */
    int helds, held_room;
    GivenSet given, kept; /* of the step that runs, and of the captured one */
    int turn;
    DeviceMark *sent[2]; /* the copies of a turn's host memory are done */
    void **copy;         /* what step_host made in this step */
    int copies, copy_room;
    bool segment; /* forward of a segment that backward will run again */
};

/* Zeroed memory of the step, for headers and nodes. */
void *step_arena(Step *s, size_t size);
/* Twice the room for a list of things of `each` bytes; dies if memory is out. */
void *step_list_grow(void *list, int *room, size_t each);
/* A header with a shape and no data yet; nobody holds it. */
Tensor *step_header(Step *s, DType dtype, int ndim, const int64_t *dim);
/* The innermost open scope holds t from now on. */
Tensor *step_hold(Step *s, Tensor *t);
/* Step memory, wherever it is; nothing in a dry step. */
void step_zero(const Step *s, const Tensor *t);

/* step_given.c, at the beginning of a step and at the end of all. */
void step_given_begin(Step *s);
void step_given_close(struct StepInner *in);

#endif
