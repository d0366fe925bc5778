/* loader_inside: what the loader's files share. loader.c: batches and threads; loader_order.c: which sample
 * stands where; loader_sample.c: one sample, and what to do when it cannot be read. */
#ifndef LETHE_LOADER_INSIDE_H
#define LETHE_LOADER_INSIDE_H

#include "data/augment.h"
#include "data/cache.h"
#include "data/loader.h"

#include <pthread.h>

typedef enum { SLOT_EMPTY, SLOT_FILLING, SLOT_FINISHING, SLOT_READY, SLOT_FAILED } SlotState;

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
    int32_t *label, *identity, *size;
} Slot;

typedef struct Worker {
    struct Loader *loader;
    pthread_t thread;
    bool started;
    AugmentScratch scratch;
    Bytes file;
    Image decoded;
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
    Cache *cache; /* NULL: not used */
    size_t each;  /* bytes a sample */
    int classes;  /* columns of the targets; 0: no targets */
    int room;     /* samples a slot can hold */
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
} Loader;

/* Batches a pass; 0 if not even one is full. */
int64_t loader_steps(const Loader *l);
/* Sets epoch, first, n and sample[] of the slot for `step`. */
void loader_plan(Loader *l, Slot *s, int64_t step);

/* Loads the sample at place `i` of the slot. */
bool loader_sample(Loader *l, Worker *w, Slot *s, int i, Error *e);
/* Opens the cache if the data set seems to fit. */
bool loader_cache(Loader *l, Error *e);

#endif
