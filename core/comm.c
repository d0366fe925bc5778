#define _GNU_SOURCE /* sched_getaffinity */
#include "core/comm.h"

#include "core/clock.h"
#include "core/comm_late.h"
#include "core/comm_nccl.h"

#include <mpi.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HOST = 64, WHAT = 120 };

/* The job, as this process sees it: the one global of its kind, as MPI_COMM_WORLD is. */
static struct {
    int rank, size, local_rank, local_size, processors;
    char (*host)[HOST];
    double limit, times;
    bool mpi;             /* MPI was started */
    MPI_Comm world, side; /* side: for asking who is late */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t put, done;
    CommWork *head, *tail;
    bool stop;
} job = {.size = 1, .local_size = 1, .limit = 300, .times = 1};

/* ------------------------------------------------------------------------------------------ waiting --- */

void comm_abort(void) {
    fflush(stdout);
    if (job.mpi) MPI_Abort(MPI_COMM_WORLD, 1);
    _exit(1);
}

static void check(int status, const char *what) {
    if (status == MPI_SUCCESS) return;
    char text[MPI_MAX_ERROR_STRING] = "";
    int n = 0;
    MPI_Error_string(status, text, &n);
    give_up("%s failed: %s", what, text);
}

/* Asks on at first, then sleeps: other threads of this rank, and other ranks on the machine, need the
 * processor. Not by sched_yield: on a busy machine that gives the processor away for whole milliseconds. */
static void pause_briefly(int turn) {
    if (turn >= 100) usleep(turn < 1000 ? 10 : 100);
}

void comm_wait_until(bool (*done)(void *self), void *self, const char *what) {
    double began = clock_seconds();
    for (int turn = 0; !done(self); turn++) {
        double waited = clock_seconds() - began;
        if (waited > job.limit * job.times && job.size > 1)
            comm_late(&(CommLate){job.side, job.rank, job.size, waited, what});
        pause_briefly(turn);
    }
}

typedef struct Waiting {
    MPI_Request *request;
    const char *what;
} Waiting;

static bool arrived(void *self) {
    Waiting *w = self;
    int done = 0;
    check(MPI_Test(w->request, &done, MPI_STATUS_IGNORE), w->what);
    return done;
}

static void wait_for(MPI_Request *request, const char *what) {
    comm_wait_until(arrived, &(Waiting){request, what}, what);
}

/* ------------------------------------------------------------------------------------------- thread --- */

static MPI_Datatype real_type(void) {
    return sizeof(real) == sizeof(float) ? MPI_FLOAT : MPI_DOUBLE;
}

static void work_run(CommWork *w) {
    char what[WHAT];
    MPI_Request r;
    int64_t piece = w->n / job.size;
    real *mine = w->data + piece * job.rank;
    snprintf(what, sizeof what, "%s, part %lld", w->what, (long long)w->number);
    w->from = clock_seconds();
    switch (w->kind) {
    case COMM_SUM:
        check(MPI_Iallreduce(MPI_IN_PLACE, w->data, (int)w->n, real_type(), MPI_SUM, job.world, &r), what);
        break;
    case COMM_SCATTER:
        check(
            MPI_Ireduce_scatter_block(MPI_IN_PLACE, w->data, (int)piece, real_type(), MPI_SUM, job.world, &r),
            what);
        break;
    case COMM_COLLECT:
        check(MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, w->data, (int)piece, real_type(), job.world,
                             &r),
              what);
        break;
    }
    wait_for(&r, what);
    /* MPI puts the piece at the beginning */
    if (w->kind == COMM_SCATTER && job.rank > 0) memcpy(mine, w->data, (size_t)piece * sizeof *mine);
    w->to = clock_seconds();
}

static void *speak(void *unused) {
    (void)unused;
    pthread_mutex_lock(&job.lock);
    for (;;) {
        while (!job.head && !job.stop) pthread_cond_wait(&job.put, &job.lock);
        CommWork *w = job.head;
        if (!w) break;
        pthread_mutex_unlock(&job.lock);
        work_run(w);
        pthread_mutex_lock(&job.lock);
        job.head = w->next;
        w->done = true;
        pthread_cond_broadcast(&job.done);
    }
    pthread_mutex_unlock(&job.lock);
    return NULL;
}

/* This thread may now call MPI: the other has nothing to do. */
static void quiet(void) {
    pthread_mutex_lock(&job.lock);
    while (job.head) pthread_cond_wait(&job.done, &job.lock);
    pthread_mutex_unlock(&job.lock);
}

void comm_start(CommWork *w) {
    w->done = job.size == 1;
    w->next = NULL;
    if (w->done) {
        w->from = w->to = clock_seconds();
        return;
    }
    if (w->device) {
        nccl_start(w);
        return;
    }
    pthread_mutex_lock(&job.lock);
    if (job.head)
        job.tail->next = w;
    else
        job.head = w;
    job.tail = w;
    pthread_cond_signal(&job.put);
    pthread_mutex_unlock(&job.lock);
}

void comm_finish(CommWork *w) {
    if (w->device && !w->done) {
        nccl_join();
        return;
    }
    pthread_mutex_lock(&job.lock);
    while (!w->done) pthread_cond_wait(&job.done, &job.lock);
    pthread_mutex_unlock(&job.lock);
}

/* ------------------------------------------------------------------------------------ small messages --- */

static void reduce(void *v, int n, MPI_Datatype type, MPI_Op op, const char *what) {
    MPI_Request r;
    if (job.size == 1) return;
    quiet();
    check(MPI_Iallreduce(MPI_IN_PLACE, v, n, type, op, job.world, &r), what);
    wait_for(&r, what);
}

void comm_sum(double *v, int n) {
    reduce(v, n, MPI_DOUBLE, MPI_SUM, "a sum over the ranks");
}

void comm_most(double *v, int n) {
    reduce(v, n, MPI_DOUBLE, MPI_MAX, "a maximum over the ranks");
}

static void share_from(int root, void *data, size_t bytes, const char *what) {
    enum { PIECE = 64 << 20 };
    MPI_Request r;
    if (job.size == 1) return;
    quiet();
    for (size_t at = 0; at < bytes; at += PIECE) {
        size_t n = bytes - at < PIECE ? bytes - at : PIECE;
        check(MPI_Ibcast((char *)data + at, (int)n, MPI_BYTE, root, job.world, &r), what);
        wait_for(&r, what);
    }
}

void comm_share(void *data, size_t bytes) {
    share_from(0, data, bytes, "sharing of rank 0's data");
}

void comm_gather(const void *mine, size_t bytes, void *all) {
    const char *what = "gathering on rank 0";
    MPI_Request r;
    if (job.size == 1) {
        memcpy(all, mine, bytes);
        return;
    }
    quiet();
    check(MPI_Igather(mine, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, 0, job.world, &r), what);
    wait_for(&r, what);
}

void comm_wait_all(void) {
    int one = 1;
    reduce(&one, 1, MPI_INT, MPI_SUM, "a barrier");
}

bool comm_agree(bool fine, Error *e) {
    int failing[2] = {fine ? job.size : job.rank, 0}, count = !fine;
    if (job.size == 1) return fine;
    reduce(failing, 1, MPI_INT, MPI_MIN, "the agreement of the ranks");
    if (failing[0] == job.size) return true;
    reduce(&count, 1, MPI_INT, MPI_SUM, "the agreement of the ranks");
    if (job.rank == failing[0] && count < job.size)
        error_prefix(e, "rank %d on %s", job.rank, comm_host(job.rank));
    e->agreed = job.rank == failing[0];
    share_from(failing[0], e, sizeof *e, "sharing of an error");
    return false;
}

/* ------------------------------------------------------------------------------------------- joining --- */

static int64_t number_of(const char *variable) {
    const char *text = getenv(variable);
    return text ? strtoll(text, NULL, 10) : -1;
}

/* How many ranks the launcher started, if it is one that Open MPI understands. */
static bool launched(int64_t *ranks, Error *e) {
    *ranks = number_of("OMPI_COMM_WORLD_SIZE");
    if (*ranks > 0) return true;
    if (getenv("PMIX_RANK")) { /* srun --mpi=pmix: the size comes with MPI_Init */
        *ranks = 2;
        return true;
    }
    *ranks = 1;
    if (number_of("PMI_SIZE") > 1)
        return error_set(
            e, ERROR_STATE,
            "this program speaks Open MPI, and another MPI's launcher started %lld copies of it: use "
            "Open MPI's mpirun",
            (long long)number_of("PMI_SIZE"));
    if (number_of("SLURM_STEP_NUM_TASKS") > 1)
        return error_set(
            e, ERROR_STATE,
            "srun started %lld tasks that cannot find each other: use srun --mpi=pmix, or mpirun",
            (long long)number_of("SLURM_STEP_NUM_TASKS"));
    return true;
}

static int processors_of(pid_t pid, cpu_set_t *set) {
    CPU_ZERO(set);
    return sched_getaffinity(pid, sizeof *set, set) == 0 ? CPU_COUNT(set) : 1;
}

/* This rank's share of the processors it is bound to, and a line where mpirun bound it to too few. */
static void processors_share(MPI_Comm local) {
    cpu_set_t mine, above;
    int own = processors_of(0, &mine), all = processors_of(getppid(), &above), same = 1;
    if (job.local_size > 1) {
        cpu_set_t *list = mem_zero((size_t)job.local_size, sizeof *list);
        if (!list) give_up("out of memory for %d ranks", job.local_size);
        MPI_Allgather(&mine, sizeof mine, MPI_BYTE, list, sizeof mine, MPI_BYTE, local);
        for (int i = 0; i < job.local_size; i++) same += i != job.local_rank && CPU_EQUAL(&mine, &list[i]);
        mem_free(list);
    }
    job.processors = own / same > 0 ? own / same : 1;
    bool launcher = getenv("OMPI_COMM_WORLD_SIZE") != NULL;
    if (launcher && own * job.local_size / same < all && job.local_rank == 0)
        fprintf(stderr,
                "warning: mpirun bound each of %d ranks on %s, with all its threads, to %d of %d processors; "
                "mpirun --bind-to none uses them all\n",
                job.local_size, comm_host(job.rank), own, all);
    if ((launcher || job.size > 1) && !getenv("OMP_NUM_THREADS")) omp_set_num_threads(job.processors);
}

static bool join(Error *e) {
    int provided;
    MPI_Comm local;
    char name[HOST] = "";
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS)
        return error_set(e, ERROR_STATE, "MPI could not be started");
    job.mpi = true;
    error_last_words = comm_abort;
    if (provided < MPI_THREAD_SERIALIZED)
        return error_set(e, ERROR_STATE, "this MPI cannot be called from more than one thread");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &job.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &job.size);
    MPI_Comm_dup(MPI_COMM_WORLD, &job.world);
    MPI_Comm_dup(MPI_COMM_WORLD, &job.side);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, job.rank, MPI_INFO_NULL, &local);
    MPI_Comm_rank(local, &job.local_rank);
    MPI_Comm_size(local, &job.local_size);
    job.host = mem_zero((size_t)job.size, HOST);
    if (!job.host) return error_memory(e, (size_t)job.size * HOST);
    gethostname(name, HOST - 1);
    MPI_Allgather(name, HOST, MPI_CHAR, job.host, HOST, MPI_CHAR, job.world);
    if (job.size > 1) snprintf(error_who, sizeof error_who, "rank %d on %s: ", job.rank, comm_host(job.rank));
    processors_share(local);
    MPI_Comm_free(&local);
    return true;
}

bool comm_open(Error *e) {
    int64_t ranks;
    if (!launched(&ranks, e)) return false;
    pthread_mutex_init(&job.lock, NULL);
    pthread_cond_init(&job.put, NULL);
    pthread_cond_init(&job.done, NULL);
    if (ranks == 1) {
        processors_share(MPI_COMM_NULL);
        return true;
    }
    if (!join(e)) return false;
    int code = job.size > 1 ? pthread_create(&job.thread, NULL, speak, NULL) : 0;
    if (code) return error_set(e, ERROR_STATE, "cannot start a thread: %s", strerror(code));
    return true;
}

bool comm_agree_last(bool fine, Error *e) {
    return fine || !e->agreed ? comm_agree(fine, e) : false;
}

void comm_close(void) {
    if (!job.mpi) return;
    if (job.size > 1) {
        pthread_mutex_lock(&job.lock);
        job.stop = true;
        pthread_cond_broadcast(&job.put);
        pthread_mutex_unlock(&job.lock);
        pthread_join(job.thread, NULL);
    }
    MPI_Comm_free(&job.world);
    MPI_Comm_free(&job.side);
    error_last_words = NULL;
    MPI_Finalize();
    mem_free(job.host);
    job.host = NULL;
    job.mpi = false;
}

int comm_rank(void) {
    return job.rank;
}
int comm_size(void) {
    return job.size;
}
bool comm_first(void) {
    return job.rank == 0;
}
int comm_local_rank(void) {
    return job.local_rank;
}
int comm_local_size(void) {
    return job.local_size;
}
int comm_processors(void) {
    return job.processors;
}

const char *comm_host(int rank) {
    static char own[HOST];
    if (job.host) return job.host[rank];
    if (!own[0]) gethostname(own, HOST - 1);
    return own;
}

void comm_limit_set(double seconds) {
    job.limit = seconds;
}

void comm_patience(double times) {
    job.times = times;
}
