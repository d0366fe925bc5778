/* What core/comm_nccl.cu does with NCCL, by MPI in the same place on the stream: device memory is the host's
 * here. */
#include "core/comm_nccl.h"
#include "core/cuda.h"

#define OMPI_SKIP_MPICXX
#include <mpi.h>

static bool opened;

/* Ranks meet in the order in which their streams run, which is the program's. */
static void enqueue(std::function<void()> f) {
    static DeviceMark *ready = device_mark_open(false);
    device_mark(ready, DEVICE_STEP);
    device_after(DEVICE_REDUCE, ready);
    CUDA(fake_enqueue(cuda_lane(DEVICE_REDUCE), f));
}

extern "C" bool nccl_open(Error *) {
    opened = true;
    return true;
}

extern "C" void nccl_close(void) {
    opened = false;
}

extern "C" void nccl_start(const CommWork *w) {
    CommKind kind = w->kind;
    float *data = w->data;
    int n = (int)w->n, piece = n / comm_size();
    float *mine = data + (size_t)piece * comm_rank();
    enqueue([=] {
        if (kind == COMM_SUM) MPI_Allreduce(MPI_IN_PLACE, data, n, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        if (kind == COMM_SCATTER) {
            MPI_Reduce_scatter_block(MPI_IN_PLACE, data, piece, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
            if (mine != data) memcpy(mine, data, (size_t)piece * sizeof *data);
        }
        if (kind == COMM_COLLECT)
            MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, data, piece, MPI_FLOAT, MPI_COMM_WORLD);
    });
}

extern "C" void nccl_join(void) {
    static DeviceMark *done = device_mark_open(false);
    device_mark(done, DEVICE_REDUCE);
    device_after(DEVICE_STEP, done);
}

template <class T> static void sum(T *p, int n, MPI_Datatype type) {
    if (!opened) return;
    enqueue([=] { MPI_Allreduce(MPI_IN_PLACE, p, n, type, MPI_SUM, MPI_COMM_WORLD); });
    nccl_join();
}

extern "C" void nccl_sum_double(double *p, int n) {
    sum(p, n, MPI_DOUBLE);
}

extern "C" void nccl_sum_float(float *p, int n) {
    sum(p, n, MPI_FLOAT);
}

extern "C" bool nccl_broken(char *, size_t) {
    return false;
}
