/* comm: the ranks of a job, started by mpirun (or srun with PMIx) as many copies of one command. A world of
 * one is no special case: every call then returns at once, and MPI is never started.
 *
 * Collective functions say so: every rank must call them, in the same order. A rank that cannot go on tells
 * the others in comm_agree, the first collective call of everything that ranks do together; what can fail on
 * one rank alone (a file, a batch) therefore stands before a comm_agree. Then all stop, and rank 0 prints one
 * line that names the rank and its host. A rank that dies is noticed by mpirun, which ends the others.
 *
 * Nothing waits for ever: when a collective call is not done after comm_limit seconds, the ranks that do wait
 * ask each other who is missing, print that, and end the job with status 1.
 *
 * One thread of each process speaks to MPI and works off a queue, so that gradients travel while backward
 * still runs. Sums are made by Open MPI's fixed schedules: the same ranks give the same bits every time. */
#ifndef LETHE_COMM_H
#define LETHE_COMM_H

#include "core/tensor.h"

C_BEGIN

/* Joins the job that this process was started for. Options of MPI itself come by environment, so argv is not
 * asked for. With several ranks a machine, OpenMP gets this rank's share of the processors unless
 * OMP_NUM_THREADS says otherwise. */
bool comm_open(Error *e);
/* Collective. Leaves the job, when all ranks do. What is to be said should be said before: when a rank ends
 * with another status than 0, mpirun ends those that are still there. */
void comm_close(void);

int comm_rank(void);
int comm_size(void);
bool comm_first(void);     /* rank 0: the one that speaks and writes */
int comm_local_rank(void); /* among the ranks of this machine */
int comm_local_size(void);
int comm_processors(void); /* this rank's share of the machine's processors */
const char *comm_host(int rank);

/* Waits until done(self), as for a collective call: when it takes too long, who is missing is asked and told.
 */
void comm_wait_until(bool (*done)(void *self), void *self, const char *what);

void comm_limit_set(double seconds); /* how long a collective call may take; 300 at first */
/* From now on the limit is `times` as long: others write a checkpoint or evaluate. 1 ends it. */
void comm_patience(double times);

/* Collective. True if all are fine. Else false on every rank, and *e holds everywhere what the lowest failing
 * rank said, with its rank and host unless all failed. */
bool comm_agree(bool fine, Error *e);
/* Collective. The same at the end of all: what was agreed on before is not agreed on again. */
bool comm_agree_last(bool fine, Error *e);
void comm_sum(double *v, int n);           /* Collective. */
void comm_most(double *v, int n);          /* Collective. Largest of each. */
void comm_share(void *data, size_t bytes); /* Collective. Rank 0's bytes on every rank. */
void comm_gather(const void *mine, size_t bytes,
                 void *all); /* Collective. all (rank 0; else NULL): size x bytes */
void comm_wait_all(void);    /* Collective. A barrier. */

/* ---- gradients and weights, in the background ---- */

typedef enum {
    COMM_SUM,     /* data[n] becomes the sum over ranks */
    COMM_SCATTER, /* n = size x piece: piece r of the sum on rank r, in its place; the rest is undefined */
    COMM_COLLECT, /* n = size x piece: piece r of every rank r, in its place */
} CommKind;

typedef struct CommWork {
    CommKind kind;
    real *data;
    int64_t n;
    bool device;      /* data is the GPU's: NCCL, beside the step's own work */
    const char *what; /* for messages: "the gradients"; */
    int64_t number;   /* and which of them */
    double from, to;  /* filled in: when it was begun and done, by clock_seconds */
    bool done;
    struct CommWork *next;
} CommWork;

void comm_start(
    CommWork *w); /* Collective, in one order. `w` and its data stay untouched until comm_finish. */
void comm_finish(CommWork *w);

/* Ends every rank of the job with status 1, at once. */
NORETURN void comm_abort(void);

C_END

#endif
