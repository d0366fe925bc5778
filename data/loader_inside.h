/* loader_inside: what the loader's files share. loader.c: batches and threads; loader_order.c: which sample
 * stands where; loader_sample.c: one sample, and what to do when it cannot be read; loader_masks.c: one
 * fitted whole, and its masks. */
#ifndef LETHE_LOADER_INSIDE_H
#define LETHE_LOADER_INSIDE_H

#include "data/augment.h"
#include "data/cache.h"
#include "data/loader.h"
#include "data/masks.h"

#include <pthread.h>

typedef enum { SLOT_EMPTY, SLOT_FILLING, SLOT_FINISHING, SLOT_READY, SLOT_FAILED } SlotState;

/* Evaluation: the masks of one picture. */
typedef struct SlotTruth {
    int64_t count;
    Bytes masks, runs; /* BatchMask each; their runs */
} SlotTruth;

/* One of the two batches. Everything but the samples' own entries is guarded by the loader's lock. */
typedef struct Slot {
    SlotState state;
    int64_t step, turn; /* turn: a slot that was asked for earlier is filled earlier */
    int n, whole;       /* samples wanted: of this rank, of all */
    int next;           /* the first that no worker has taken */
    int busy;           /* workers at it */
    int done;
    int failed_at; /* place of the sample whose error is kept */
    Error error;
    uint32_t epoch;
    int64_t first;   /* id of the global batch's first sample: keys the mixing */
    int64_t *sample; /* [n] places in the data set */
    bool *left_out;  /* [n] */
    Batch batch;
    uint8_t *image; /* [room] samples of Loader.each bytes: f32 planes, or pixels */
    float *target;
    int64_t *id;
    int32_t *label, *identity, *size, *fit;
    uint8_t *mask;    /* training: [room, masks_per_image, size, size] */
    SlotTruth *truth; /* evaluation: [room] */
    Bytes truth_list; /* BatchMask: of all of them */
} Slot;

typedef struct Worker {
    struct Loader *loader;
    pthread_t thread;
    bool started;
    AugmentScratch scratch;
    Bytes file;
    Image decoded;
    Masks masks;
    Bytes order; /* of the masks, as they are drawn */
} Worker;

typedef struct Order {
    int64_t epoch; /* -1: none yet */
    uint32_t *list;
} Order;

typedef struct Corrupt {
    int64_t sample;
    char *reason;
} Corrupt;

typedef struct Loader {
    const Dataset *data;
    DataSettings set;
    LoaderOptions o; /* o.set points to `set` */
    Augment augment;
    Cache *cache;   /* NULL: not used */
    size_t each;    /* bytes a sample */
    int classes;    /* columns of the targets; 0: no targets */
    int room;       /* samples a slot can hold */
    int64_t count;  /* samples: the data set's, or those of them that have masks, */
    uint32_t *pick; /* [count], in its order; NULL: all */
    int64_t steps;
    Order order[2];
    Slot slot[2];
    Worker *worker;
    int workers;
    pthread_mutex_t lock;
    pthread_cond_t work, settled;
    bool stop;
    int64_t turns;
    bool *bad; /* [count] in the list of corrupt ones; touched with the lock held */
    Corrupt *corrupt;
    int64_t corrupts;
    size_t corrupt_room;
    bool told_empty; /* an image without a mask was warned of; touched with the lock held */
} Loader;

/* Batches a pass; 0 if not even one is full. */
bool loader_draws(const Loader *l);
int64_t loader_steps(const Loader *l);
/* The place in the data set of sample i of those there are. */
static inline int64_t loader_place(const Loader *l, int64_t i) {
    return l->pick ? l->pick[i] : i;
}
/* Sets epoch, first, n and sample[] of the slot for `step`. */
void loader_plan(Loader *l, Slot *s, int64_t step);

/* Loads the sample at place `i` of the slot. */
bool loader_sample(Loader *l, Worker *w, Slot *s, int i, Error *e);
void loader_warn(const Loader *l, const char *text);

/* Checks that masks can be had, and picks the samples that have any. */
bool loader_masks_open(Loader *l, Error *e);
/* Warns of the first sample that turns out to have no mask when it is read. With the lock held. */
void loader_no_mask(Loader *l, int64_t i, const char *why);
/* Sample i, fitted whole (data.geometry), with its masks if they are wanted, at `place` of the slot. *none:
 * masks are wanted, and there are none. */
bool loader_fitted(Loader *l, Worker *w, Slot *s, int place, int64_t i, const AugmentSource *from, Rng rng,
                   bool *none, Error *e);
/* Evaluation: the masks of the slot's first n samples in one list. */
bool loader_truth_gather(Slot *s, int n, Error *e);

/* Opens the cache if the data set seems to fit. */
bool loader_cache(Loader *l, Error *e);

#endif
