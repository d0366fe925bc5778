#include "core/comm_late.h"

#include "core/clock.h"
#include "core/comm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const double LISTEN =
    2; /* seconds: ranks that wait in one call run out of time at nearly one moment */

/* Marks the ranks that say they wait, too. */
static void listen(const CommLate *l, bool *heard) {
    double began = clock_seconds();
    for (int r = 0; r < l->size; r++) {
        MPI_Request sent;
        if (r == l->rank) continue;
        if (MPI_Isend(NULL, 0, MPI_BYTE, r, 0, l->side, &sent) == MPI_SUCCESS) MPI_Request_free(&sent);
    }
    while (clock_seconds() - began < LISTEN) {
        int there = 0;
        MPI_Status status;
        if (MPI_Iprobe(MPI_ANY_SOURCE, 0, l->side, &there, &status) == MPI_SUCCESS && there) {
            MPI_Recv(NULL, 0, MPI_BYTE, status.MPI_SOURCE, 0, l->side, MPI_STATUS_IGNORE);
            heard[status.MPI_SOURCE] = true;
        } else {
            usleep(1000);
        }
    }
}

void comm_late(const CommLate *l) {
    enum { NAMED = 8 };
    char missing[NAMED * 90] = "";
    size_t used = 0;
    int late = 0, lowest = l->rank;
    bool *heard = mem_zero((size_t)l->size, sizeof *heard);
    if (!heard) comm_abort();
    heard[l->rank] = true;
    listen(l, heard);
    for (int r = l->size - 1; r >= 0; r--)
        if (heard[r]) lowest = r;
    for (int r = 0; r < l->size; r++) {
        if (heard[r]) continue;
        if (late++ < NAMED)
            used += (size_t)snprintf(missing + used, sizeof missing - used, "%s rank %d on %s",
                                     late > 1 ? "," : "", r, comm_host(r));
    }
    if (lowest != l->rank) { /* it speaks; if it cannot end us, we end ourselves */
        sleep(5);
        comm_abort();
    }
    if (!late)
        give_up("%s was not done after %.0f s, though every rank is in it: the network between them is too "
                "slow or broken (train.comm_timeout)",
                l->what, l->waited);
    give_up("waited %.0f s in %s for%s%s: not heard of; the job ends, the last checkpoint stays "
            "usable (train.comm_timeout)",
            l->waited, l->what, missing, late > NAMED ? " and others" : "");
}
