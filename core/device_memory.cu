#include "core/cuda.h"

#include <cudaTypedefs.h>

#include <stdio.h>
#include <stdlib.h>

Cuda cuda = {-1, 0, NULL, true};

/* ------------------------------------------------------------------------------------------- errors --- */

void cuda_check(cudaError_t status, const char *call, const char *file, int line) {
    size_t room = 0, all = 0;
    if (status == cudaSuccess) return;
    (void)cudaGetLastError(); /* it is told here, not at the next call */
    if (status == cudaErrorMemoryAllocation && cudaMemGetInfo(&room, &all) == cudaSuccess)
        give_up("%s:%d: %s: the GPU's memory is out, %zu of %zu MiB are free; lower train.batch, set "
                "model.recompute, or share the optimizer's state among more GPUs (train.shard)",
                file, line, call, room >> 20, all >> 20);
    give_up("%s:%d: %s: %s (%s)", file, line, call, cudaGetErrorString(status), cudaGetErrorName(status));
}

/* ------------------------------------------------------------------------------------------ opening --- */

static bool failed(char *text, size_t size, const char *call, cudaError_t status) {
    (void)cudaGetLastError();
    snprintf(text, size, "%s: %s", call, cudaGetErrorString(status));
    return false;
}

extern "C" int device_cuda_count(void) {
    int count = 0;
    if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
    /* The call that failed leaves its error behind for the next cudaGetLastError: take it away. */
    (void)cudaGetLastError();
    return 0;
}

extern "C" bool device_cuda_describe(int i, char *text, size_t size) {
    int count = 0;
    cudaDeviceProp p;
    cudaError_t status = cudaGetDeviceCount(&count);
    if (status == cudaSuccess && count == 0) status = cudaErrorNoDevice;
    if (status == cudaSuccess && (i < 0 || i >= count)) status = cudaErrorInvalidDevice;
    if (status != cudaSuccess) {
        (void)cudaGetLastError();
        snprintf(text, size, "no usable GPU: %s", cudaGetErrorString(status));
        return false;
    }
    if ((status = cudaGetDeviceProperties(&p, i)) != cudaSuccess)
        return failed(text, size, "cudaGetDeviceProperties", status);
    snprintf(text, size, "%s, %.1f GiB, compute capability %d.%d, %d multiprocessors", p.name,
             (double)p.totalGlobalMem / (1 << 30), p.major, p.minor, p.multiProcessorCount);
    return true;
}

extern "C" bool device_open(int index, bool exact, char *text, size_t size) {
    cudaDeviceProp p;
    cudaError_t status = cudaSetDevice(index);
    if (status != cudaSuccess) return failed(text, size, "cudaSetDevice", status);
    if ((status = cudaGetDeviceProperties(&p, index)) != cudaSuccess)
        return failed(text, size, "cudaGetDeviceProperties", status);
    if (!cuda.stream &&
        (status = cudaStreamCreateWithFlags(&cuda.stream, cudaStreamNonBlocking)) != cudaSuccess)
        return failed(text, size, "cudaStreamCreateWithFlags", status);
    cuda.device = index;
    cuda.processors = p.multiProcessorCount;
    cuda.exact = exact;
    snprintf(text, size, "%s, %.1f GiB", p.name, (double)p.totalGlobalMem / (1 << 30));
    return true;
}

extern "C" bool device_opened(void) {
    return cuda.device >= 0;
}

/* ------------------------------------------------------------------------------------------- memory --- */

/* Tests read memory of the GPU on the host: it is then managed, and that of steps all there from the
 * beginning. */
static bool managed(void) {
    return getenv("LETHE_CUDA_MANAGED") != NULL;
}

extern "C" size_t device_memory(size_t *free) {
    size_t all = 0;
    CUDA(cudaMemGetInfo(free, &all));
    return all;
}

extern "C" void *device_get(size_t bytes) {
    void *p = NULL;
    size_t room = 0, all, some = bytes ? bytes : 1;
    if ((managed() ? cudaMallocManaged(&p, some) : cudaMalloc(&p, some)) == cudaSuccess) return p;
    (void)cudaGetLastError();
    all = device_memory(&room);
    give_up(
        "the GPU's memory is out: %zu MiB more were wanted, %zu of %zu MiB are free; lower train.batch, set "
        "model.recompute, or share the optimizer's state among more GPUs (train.shard)",
        bytes >> 20, room >> 20, all >> 20);
}

extern "C" void device_free(void *p) {
    CUDA(cudaFree(p));
}

extern "C" void *device_pinned_get(size_t bytes) {
    void *p = NULL;
    CUDA(cudaHostAlloc(&p, bytes ? bytes : 1, cudaHostAllocDefault));
    return p;
}

extern "C" void device_pinned_free(void *p) {
    if (p) CUDA(cudaFreeHost(p));
}

extern "C" void device_zero(void *p, size_t bytes) {
    if (bytes) CUDA(cudaMemsetAsync(p, 0, bytes, cuda.stream));
}

extern "C" void device_copy(void *to, const void *from, size_t bytes) {
    if (bytes) CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, cuda.stream));
}

__global__ static void set(float *p, float value) {
    *p = value;
}

extern "C" void device_set(float *p, float value) {
    LAUNCH(set, 1, 1, p, value);
}

__global__ static void add_scaled(float *to, const float *from, float factor, bool fresh) {
    *to = (fresh ? 0 : *to) + factor * *from;
}

extern "C" void device_add_scaled(float *to, const float *from, float factor, bool fresh) {
    LAUNCH(add_scaled, 1, 1, to, from, factor, fresh);
}

extern "C" void device_wait(void) {
    CUDA(cudaStreamSynchronize(cuda.stream));
}

/* --------------------------------------------------------------------------- memory that grows in place ---
 */

/* The driver's calls, found at run time: the program must start where there is no driver. */
template <class F> static F driver(const char *name) {
    void *call = NULL;
    cudaDriverEntryPointQueryResult found;
    CUDA(cudaGetDriverEntryPointByVersion(name, &call, 12000, cudaEnableDefault, &found));
    if (!call) give_up("%s: the driver has no such call; a driver for CUDA 12 or newer is wanted", name);
    return (F)call;
}
#define DRIVER(name) driver<PFN_##name##_v10020>(#name)

static void driver_check_at(int line, CUresult status, const char *call) {
    if (status != CUDA_SUCCESS) give_up("%s:%d: %s: CUDA driver error %d", __FILE__, line, call, (int)status);
}
#define driver_check(status, call) driver_check_at(__LINE__, (status), (call))

static CUmemAllocationProp on_device(void) {
    CUmemAllocationProp p = {};
    p.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    p.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    p.location.id = cuda.device;
    return p;
}

static size_t granularity(void) {
    static size_t bytes;
    CUmemAllocationProp p = on_device();
    if (!bytes)
        driver_check(DRIVER(cuMemGetAllocationGranularity)(&bytes, &p, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED),
                     "cuMemGetAllocationGranularity");
    return bytes;
}

static size_t whole(size_t bytes) {
    return (bytes + granularity() - 1) / granularity() * granularity();
}

extern "C" void *device_reserve(size_t bytes) {
    CUdeviceptr p = 0;
    void *shared = NULL;
    if (managed()) {
        CUDA(cudaMallocManaged(&shared, bytes));
        return shared;
    }
    driver_check(DRIVER(cuMemAddressReserve)(&p, whole(bytes), 0, 0, 0), "cuMemAddressReserve");
    return (void *)(uintptr_t)p;
}

/* One piece from the old mark to the new; marks are multiples of the granularity, but for the caller. */
extern "C" bool device_commit(void *base, size_t from, size_t to) {
    CUmemGenericAllocationHandle piece;
    CUmemAllocationProp p = on_device();
    if (managed()) return true;
    size_t begin = whole(from), n = whole(to) - begin;
    CUdeviceptr at = (CUdeviceptr)(uintptr_t)base + begin;
    if (n == 0) return true;
    if (DRIVER(cuMemCreate)(&piece, n, &p, 0) != CUDA_SUCCESS) return false;
    driver_check(DRIVER(cuMemMap)(at, n, 0, piece, 0), "cuMemMap");
    driver_check(DRIVER(cuMemRelease)(piece), "cuMemRelease"); /* the mapping keeps it */
    CUmemAccessDesc access = {p.location, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    driver_check(DRIVER(cuMemSetAccess)(at, n, &access, 1), "cuMemSetAccess");
    return true;
}

extern "C" void device_release(void *base, size_t reserved, size_t committed) {
    CUdeviceptr p = (CUdeviceptr)(uintptr_t)base;
    device_wait();
    if (managed()) {
        CUDA(cudaFree(base));
        return;
    }
    if (committed) driver_check(DRIVER(cuMemUnmap)(p, whole(committed)), "cuMemUnmap");
    driver_check(DRIVER(cuMemAddressFree)(p, whole(reserved)), "cuMemAddressFree");
}
