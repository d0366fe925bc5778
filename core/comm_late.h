/* comm_late: who is missing in a collective call that took too long. */
#ifndef LETHE_COMM_LATE_H
#define LETHE_COMM_LATE_H

#include "core/base.h"

#include <mpi.h>

typedef struct CommLate {
    MPI_Comm side; /* of nothing else */
    int rank, size;
    double waited; /* seconds */
    const char *what;
} CommLate;

/* Tells every rank that this one waits, listens for two seconds, prints which ranks were not heard of, and
 * ends the job. Whoever waits is not the one that is missing, even if it waits in an earlier call. Of the
 * ranks that hear each other only the lowest prints. */
NORETURN void comm_late(const CommLate *l);

#endif
