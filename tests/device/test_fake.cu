/* The fake CUDA runtime itself: what kernels and graphs do there is what they do on a GPU. */
#include "core/cuda.h"
#include "tests/device/expect.h"

#include <cuda.h>

#include <cmath>

static __global__ void count_kernel(int *sum, int64_t n) {
    FOR_GRID(i, n) sum[i]++;
}

/* Turns each stretch of blockDim.x numbers around, through shared memory. */
static __global__ void turn_kernel(int *v) {
    __shared__ int room[1024];
    int *own = v + blockIdx.x * blockDim.x;
    room[threadIdx.x] = own[threadIdx.x];
    __syncthreads();
    own[threadIdx.x] = room[blockDim.x - 1 - threadIdx.x];
}

static __global__ void sums_kernel(float *warp, float *block, float *down, unsigned *vote) {
    float v = (float)threadIdx.x;
    warp[threadIdx.x] = warp_sum(v);
    block[threadIdx.x] = block_sum(v) + block_sum(1);
    down[threadIdx.x] = __shfl_down_sync(0xFFFFFFFFu, v, 4, 8);
    vote[threadIdx.x] = __ballot_sync(0xFFFFFFFFu, threadIdx.x % 3 == 0);
}

static __global__ void add_kernel(float *to, const float *from, float by) {
    to[threadIdx.x] = from[threadIdx.x] + by;
}

template <class T> static T *device_memory(size_t n) {
    T *p = NULL;
    CUDA(cudaMalloc(&p, n * sizeof(T)));
    return p;
}

static void kernels_run() {
    enum { N = 1000 };
    int *n = device_memory<int>(N);
    CUDA(cudaMemsetAsync(n, 0, N * sizeof *n, cuda.stream));
    LAUNCH(count_kernel, 3, 64, n, (int64_t)N);
    LAUNCH(count_kernel, cuda_blocks(N, 32), 32, n, (int64_t)N);
    CUDA(cudaStreamSynchronize(cuda.stream));
    for (int i = 0; i < N; i++) EXPECT(n[i] == 2);
    for (int i = 0; i < N; i++) n[i] = i;
    LAUNCH(turn_kernel, dim3(4), 250, n);
    for (int i = 0; i < N; i++) EXPECT(n[i] == i / 250 * 250 + 249 - i % 250);
    CUDA(cudaFree(n));
}

static void lanes_exchange() {
    enum { N = 96 };
    float *f = device_memory<float>(3 * N);
    unsigned *vote = device_memory<unsigned>(N);
    EXPECT(std::isnan(f[0]) && std::isnan(f[3 * N - 1]));
    LAUNCH(sums_kernel, 2, N, f, f + N, f + 2 * N, vote);
    for (int i = 0; i < N; i++) {
        EXPECT(f[i] == (float)(i / 32 * 32 * 32 + 31 * 16));
        EXPECT(f[N + i] == N * (N - 1) / 2 + N);
        EXPECT(f[2 * N + i] == (float)(i % 8 < 4 ? i + 4 : i));
        for (int lane = 0; lane < 32; lane++)
            EXPECT((vote[i] >> lane & 1) == (unsigned)((i / 32 * 32 + lane) % 3 == 0));
    }
    CUDA(cudaFree(f));
    CUDA(cudaFree(vote));
}

/* Two streams in one capture; nothing runs until the graph is launched, with the arguments of the capture. */
static void capture_replays() {
    enum { N = 8 };
    float *a = device_memory<float>(N), *b = device_memory<float>(N), by = 2;
    cudaStream_t side;
    cudaEvent_t fork, join;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    CUDA(cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking));
    CUDA(cudaEventCreate(&fork));
    CUDA(cudaEventCreateWithFlags(&join, cudaEventDisableTiming));
    for (int i = 0; i < N; i++) a[i] = b[i] = 1;
    CUDA(cudaStreamBeginCapture(cuda.stream, cudaStreamCaptureModeThreadLocal));
    LAUNCH(add_kernel, 1, N, a, a, by);
    by = 100;
    CUDA(cudaEventRecord(fork, cuda.stream));
    CUDA(cudaStreamWaitEvent(side, fork));
    CUDA(cudaMemcpyAsync(b, a, N * sizeof *a, cudaMemcpyDeviceToDevice, side));
    cudaStreamCaptureStatus status;
    CUDA(cudaStreamIsCapturing(side, &status));
    EXPECT(status == cudaStreamCaptureStatusActive);
    CUDA(cudaEventRecord(join, side));
    CUDA(cudaStreamWaitEvent(cuda.stream, join));
    CUDA(cudaStreamEndCapture(cuda.stream, &graph));
    EXPECT(a[0] == 1 && b[0] == 1);
    CUDA(cudaGraphInstantiate(&exec, graph, 0));
    CUDA(cudaGraphDestroy(graph));
    for (int i = 0; i < 2; i++) CUDA(cudaGraphLaunch(exec, cuda.stream));
    EXPECT(a[N - 1] == 5 && b[N - 1] == 5);
    CUDA(cudaGraphExecDestroy(exec));

    CUDA(cudaStreamBeginCapture(cuda.stream, cudaStreamCaptureModeThreadLocal));
    CUDA(cudaEventRecord(fork, cuda.stream));
    CUDA(cudaStreamWaitEvent(side, fork));
    CUDA(cudaMemsetAsync(b, 0, N * sizeof *b, side));
    EXPECT(cudaStreamEndCapture(cuda.stream, &graph) == cudaErrorStreamCaptureUnjoined);

    CUDA(cudaStreamBeginCapture(cuda.stream, cudaStreamCaptureModeThreadLocal));
    EXPECT(cudaDeviceSynchronize() == cudaErrorStreamCaptureUnsupported);
    EXPECT(cudaStreamEndCapture(cuda.stream, &graph) == cudaErrorStreamCaptureInvalidated);
    CUDA(cudaStreamBeginCapture(cuda.stream, cudaStreamCaptureModeThreadLocal));
    void *p;
    EXPECT(cudaMalloc(&p, 8) == cudaErrorStreamCaptureUnsupported);
    EXPECT(cudaMemcpy(a, b, 4, cudaMemcpyDefault) == cudaErrorStreamCaptureUnsupported);
    EXPECT(cudaStreamSynchronize(cuda.stream) == cudaErrorStreamCaptureUnsupported);
    EXPECT(cudaStreamEndCapture(cuda.stream, &graph) == cudaErrorStreamCaptureInvalidated);
    (void)cudaGetLastError();

    CUDA(cudaStreamDestroy(side));
    CUDA(cudaEventDestroy(fork));
    CUDA(cudaEventDestroy(join));
    CUDA(cudaFree(a));
    CUDA(cudaFree(b));
}

template <class F> static F *driver(F *, const char *name) {
    void *f = NULL;
    cudaDriverEntryPointQueryResult found;
    CUDA(cudaGetDriverEntryPointByVersion(name, &f, 12000, cudaEnableDefault, &found));
    EXPECT(found == cudaDriverEntryPointSuccess);
    return (F *)f;
}
#define DRIVER(name) driver(name, #name)

static void memory_is_mapped() {
    size_t size = 0, before, after, total;
    CUmemAllocationProp prop = {};
    CUmemAccessDesc access = {};
    CUdeviceptr at = 0;
    CUmemGenericAllocationHandle handle = 0;
    prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    prop.location.type = access.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    CUDA(cudaMemGetInfo(&before, &total));
    EXPECT(DRIVER(cuMemGetAllocationGranularity)(&size, &prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM) ==
           CUDA_SUCCESS);
    EXPECT(DRIVER(cuMemAddressReserve)(&at, size << 15, 0, 0, 0) == CUDA_SUCCESS);
    EXPECT(DRIVER(cuMemCreate)(&handle, 2 * size, &prop, 0) == CUDA_SUCCESS);
    EXPECT(DRIVER(cuMemMap)(at, 2 * size, 0, handle, 0) == CUDA_SUCCESS);
    EXPECT(DRIVER(cuMemRelease)(handle) == CUDA_SUCCESS);
    EXPECT(DRIVER(cuMemSetAccess)(at, 2 * size, &access, 1) == CUDA_SUCCESS);
    EXPECT(std::isnan(((float *)at)[size / 2 - 1]));
    CUDA(cudaMemsetAsync((void *)at, 0, 2 * size, cuda.stream));
    CUDA(cudaMemGetInfo(&after, &total));
    EXPECT(before - after == 2 * size);
    EXPECT(DRIVER(cuMemUnmap)(at, 2 * size) == CUDA_SUCCESS);
    EXPECT(DRIVER(cuMemAddressFree)(at, size << 15) == CUDA_SUCCESS);
    CUDA(cudaMemGetInfo(&after, &total));
    EXPECT(before == after);
}

int main() {
    char text[400];
    EXPECT(device_open(0, true, text, sizeof text));
    kernels_run();
    lanes_exchange();
    capture_replays();
    memory_is_mapped();
    puts("4 passed, 0 failed");
    return 0;
}
