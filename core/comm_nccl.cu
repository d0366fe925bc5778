#include "core/comm_nccl.h"
#include "core/cuda.h"

#include <nccl.h>

#include <stdio.h>
#include <unistd.h>

static ncclComm_t comm;
static DeviceMark *ready, *done;

static void check(ncclResult_t status, const char *call, int line) {
    if (status == ncclSuccess || status == ncclInProgress) return;
    give_up("core/comm_nccl.cu:%d: %s: %s; %s", line, call, ncclGetErrorString(status),
            comm ? ncclGetLastError(comm) : "no communicator");
}
#define NCCL(call) check((call), #call, __LINE__)

/* A call on a communicator that never blocks may still be on its way to the GPU: the next must wait for it.
 */
static bool settled(void *unused) {
    ncclResult_t state = ncclSuccess;
    (void)unused;
    NCCL(ncclCommGetAsyncError(comm, &state));
    NCCL(state);
    return state != ncclInProgress;
}

static void settle(const char *what) {
    comm_wait_until(settled, NULL, what);
}

extern "C" bool nccl_open(Error *e) {
    ncclUniqueId id;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclResult_t status = comm_first() ? ncclGetUniqueId(&id) : ncclSuccess;
    bool fine =
        status == ncclSuccess || error_set(e, ERROR_STATE, "ncclGetUniqueId: %s", ncclGetErrorString(status));
    if (!comm_agree(fine, e)) return false;
    comm_share(&id, sizeof id);
    config.blocking = 0;
    NCCL(ncclCommInitRankConfig(&comm, comm_size(), id, comm_rank(), &config));
    settle("joining the GPUs (ncclCommInitRankConfig)");
    ready = device_mark_open(false);
    done = device_mark_open(false);
    return true;
}

extern "C" void nccl_close(void) {
    if (!comm) return;
    device_mark_free(ready);
    device_mark_free(done);
    NCCL(ncclCommFinalize(comm));
    settle("parting from the GPUs (ncclCommFinalize)");
    NCCL(ncclCommDestroy(comm));
    comm = NULL;
}

extern "C" void nccl_start(const CommWork *w) {
    cudaStream_t lane = cuda_lane(DEVICE_REDUCE);
    size_t piece = (size_t)(w->n / comm_size());
    real *mine = w->data + piece * (size_t)comm_rank();
    device_mark(ready, DEVICE_STEP);
    device_after(DEVICE_REDUCE, ready);
    switch (w->kind) {
    case COMM_SUM:
        NCCL(ncclAllReduce(w->data, w->data, (size_t)w->n, ncclFloat, ncclSum, comm, lane));
        break;
    case COMM_SCATTER:
        NCCL(ncclReduceScatter(w->data, mine, piece, ncclFloat, ncclSum, comm, lane));
        break;
    case COMM_COLLECT:
        NCCL(ncclAllGather(mine, w->data, piece, ncclFloat, comm, lane));
        break;
    }
    settle(w->what);
}

extern "C" void nccl_join(void) {
    device_mark(done, DEVICE_REDUCE);
    device_after(DEVICE_STEP, done);
}

static void sum(void *p, int n, ncclDataType_t type) {
    if (!comm) return;
    device_mark(ready, DEVICE_STEP);
    device_after(DEVICE_REDUCE, ready);
    NCCL(ncclAllReduce(p, p, (size_t)n, type, ncclSum, comm, cuda_lane(DEVICE_REDUCE)));
    settle("a sum over the GPUs");
    nccl_join();
}

extern "C" void nccl_sum_double(double *p, int n) {
    sum(p, n, ncclDouble);
}

extern "C" void nccl_sum_float(float *p, int n) {
    sum(p, n, ncclFloat);
}

extern "C" bool nccl_broken(char *text, size_t size) {
    ncclResult_t state = ncclSuccess;
    if (!comm || (ncclCommGetAsyncError(comm, &state) == ncclSuccess &&
                  (state == ncclSuccess || state == ncclInProgress)))
        return false;
    snprintf(text, size, "NCCL: %s; %s", ncclGetErrorString(state), ncclGetLastError(comm));
    return true;
}
