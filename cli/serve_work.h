/* serve_work: what `lethe serve` computes. Many threads speak to users; one, the caller of work_run,
 * computes, as the engine wants it. Images are embedded, and searched for everything in them, in the order
 * they came. Prompts do not wait for that: they are answered in between, whenever the long work tells of its
 * progress, by a predictor of their own on the same weights. */
#ifndef LETHE_CLI_SERVE_WORK_H
#define LETHE_CLI_SERVE_WORK_H

#include "cli/serve_session.h"
#include "data/bytes.h"
#include "segment/generator.h"

typedef enum { JOB_EMBED, JOB_EVERYTHING, JOB_MASKS } JobKind;

enum { JOB_POINTS = 256 }; /* most points of a prompt */

typedef struct Job {
    JobKind kind;
    Session *session; /* held by whoever made the job */
    /* JOB_MASKS */
    PredictorPoint point[JOB_POINTS];
    int points;
    double box[4];
    bool boxed, multimask;
    PredictorHq hq;
    GeneratorSettings set; /* JOB_EVERYTHING */
    /* What became of it; guarded by Work.lock. */
    enum { JOB_WAITS, JOB_RUNS, JOB_DONE } state;
    double share;   /* of the work, done */
    bool cancelled; /* nobody wants it any more */
    bool failed;    /* then `error` says why */
    Error error;
    Bytes text; /* done: JSON, {"masks": [...]}. Its owner's once the job is done */
    struct Job *next;
} Job;

typedef struct Work {
    Predictor *embed, *ask;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    Job *slow, *quick; /* what waits, first come first */
    Job *running;      /* the slow one that is being computed */
    bool stopped;
    int wake, signals; /* file descriptors: a job came; SIGINT or SIGTERM came */
    float *full;       /* a mask at the size of the image, and the same as bits */
    uint8_t *bits;
    int64_t pixels; /* room in both */
    Bytes runs, record;
} Work;

/* Blocks SIGINT and SIGTERM in this thread and those made from now on: work_run hears them. Predictors are
 * borrowed. */
bool work_open(Work *w, Predictor *embed, Predictor *ask, Error *e);
void work_close(Work *w);
/* Computes until SIGINT or SIGTERM comes. Then what waits has failed, and so will all that comes. */
void work_run(Work *w);

/* For the other threads. A job belongs to its maker, who keeps it until it is done. */
void work_put(Work *w, Job *j);
void work_wait(Work *w, Job *j);   /* until it is done */
void work_cancel(Work *w, Job *j); /* gives up what is not done, and waits until nobody computes on it */

typedef struct WorkView {
    bool done;
    int ahead; /* jobs that come first; 0: it is being computed */
    double share;
} WorkView;
/* Waits until something has changed since `seen`, half a second at most. */
WorkView work_watch(Work *w, Job *j, const WorkView *seen);

#endif
