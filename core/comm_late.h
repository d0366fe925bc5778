/* comm_late: who is missing in a collective call that took too long. */
#ifndef LETHE_COMM_LATE_H
#define LETHE_COMM_LATE_H

#include "core/base.h"

#include <mpi.h>

typedef struct CommLate {
    MPI_Comm side; /* of nothing else */
    int rank, size;
    int64_t entered; /* collective calls this rank has begun, the one it waits in included */
    double waited;   /* seconds */
    const char *what;
} CommLate;

/* Tells every rank which call this one waits in, listens for two seconds, prints which ranks were not heard
 * of or are behind, and ends the job. Of the ranks that hear each other only the lowest prints. */
NORETURN void comm_late(const CommLate *l);

#endif
