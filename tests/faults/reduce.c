/* For LD_PRELOAD, beside faults.c: LETHE_FAULT_REDUCE=n kills the process with SIGKILL as soon as its n-th
 * sum of gradients over the ranks is under way. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <mpi.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { GRADIENTS = 100 /* elements: the small sums of a step are shorter */ };

typedef int (*Iallreduce)(const void *, void *, int, MPI_Datatype, MPI_Op, MPI_Comm, MPI_Request *);

int MPI_Iallreduce(const void *from, void *to, int n, MPI_Datatype type, MPI_Op op, MPI_Comm comm,
                   MPI_Request *r) {
    static long seen;
    const char *at = getenv("LETHE_FAULT_REDUCE");
    Iallreduce real = (Iallreduce)dlsym(RTLD_NEXT, "MPI_Iallreduce");
    if (!real) abort();
    int status = real(from, to, n, type, op, comm, r);
    if (at && n > GRADIENTS && ++seen == strtol(at, NULL, 10)) kill(getpid(), SIGKILL);
    return status;
}
