/* A CUDA runtime on the processor: our .cu files, compiled as C++, really run, under ASan and UBSan too.
 *
 *     g++ -x c++ -std=c++17 -fno-strict-aliasing -Wno-unknown-pragmas -DLETHE_CUDA -Itests/device/fake -I. \
 *         -c core/op/add.cu
 *
 * Kernels. Blocks run one after another; the threads of a block are fibers of one OS thread. A fiber takes
 * threads in turn for as long as they run to their end, so a kernel that never waits costs one call a thread.
 * At a barrier or shuffle the next fiber goes on. A barrier that some threads never reach ends the program.
 * __shared__ is a static variable: it holds what the block before left there.
 *
 * Host. Streams run what they are given at once, in order. While a stream captures, kernels, copies and fills
 * are kept as closures with their arguments by value and not run; a stream that waits for an event of a
 * capture joins it. A call that would wait or allocate fails during a capture and spoils it, as for a real
 * capture in thread-local mode. Device memory is filled with 0xFF, a NaN in any float type, when it is
 * allocated. Device and host memory are one: what a kernel may read, the host may read.
 *
 * LETHE_FAKE_GPUS=n: that many devices (1). */
#ifndef LETHE_FAKE_CUDA_RUNTIME_H
#define LETHE_FAKE_CUDA_RUNTIME_H

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>

/* ---- the language ---- */

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __restrict__ __restrict
#define __shared__   static thread_local
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct uint3 {
    unsigned x, y, z;
};
extern __thread uint3 threadIdx, blockIdx, blockDim, gridDim;
enum { warpSize = 32 };

#define FAKE_VECTOR(type, name)                                                                              \
    struct alignas(2 * sizeof(type)) name##2 {                                                               \
        type x, y;                                                                                           \
    };                                                                                                       \
    struct alignas(4 * sizeof(type)) name##4 {                                                               \
        type x, y, z, w;                                                                                     \
    };                                                                                                       \
    static inline name##2 make_##name##2(type x, type y) {                                                   \
        return {x, y};                                                                                       \
    }                                                                                                        \
    static inline name##4 make_##name##4(type x, type y, type z, type w) {                                   \
        return {x, y, z, w};                                                                                 \
    }
FAKE_VECTOR(float, float)
FAKE_VECTOR(int, int)
FAKE_VECTOR(unsigned, uint)
FAKE_VECTOR(unsigned short, ushort)
#undef FAKE_VECTOR

/* ---- threads that wait for each other ---- */

void fake_block_wait();
/* What the lanes of `mask` gave, once all of them have come: the value of lane `from`, and a bit for each
 * lane whose value is not 0. */
typedef struct FakeGift {
    uint64_t value;
    unsigned votes;
} FakeGift;
FakeGift fake_exchange(unsigned mask, uint64_t mine, int from);

static inline int fake_own_lane() {
    return (int)((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32);
}
static inline void __syncthreads() {
    fake_block_wait();
}
static inline void __syncwarp(unsigned mask = 0xFFFFFFFFu) {
    fake_exchange(mask, 0, fake_own_lane());
}
static inline void __threadfence() {}

/* The value of lane `from`; the own one when that lies outside of the own group of `width` lanes. */
template <class T> static inline T fake_shuffle(unsigned mask, T v, int from, int width) {
    static_assert(sizeof(T) <= 8, "a shuffle moves 8 bytes at most");
    int own = fake_own_lane(), first = own / width * width;
    uint64_t word = 0;
    memcpy(&word, &v, sizeof v);
    word = fake_exchange(mask, word, from < first || from >= first + width ? own : from).value;
    memcpy(&v, &word, sizeof v);
    return v;
}
template <class T> static inline T __shfl_xor_sync(unsigned mask, T v, int by, int width = 32) {
    return fake_shuffle(mask, v, fake_own_lane() ^ by, width);
}
template <class T> static inline T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32) {
    return fake_shuffle(mask, v, fake_own_lane() + (int)by, width);
}
template <class T> static inline T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32) {
    return fake_shuffle(mask, v, fake_own_lane() - (int)by, width);
}
template <class T> static inline T __shfl_sync(unsigned mask, T v, int from, int width = 32) {
    return fake_shuffle(mask, v, fake_own_lane() / width * width + from % width, width);
}
static inline unsigned __ballot_sync(unsigned mask, int yes) {
    return fake_exchange(mask, yes != 0, fake_own_lane()).votes;
}
static inline int __any_sync(unsigned mask, int yes) {
    return __ballot_sync(mask, yes) != 0;
}
static inline int __all_sync(unsigned mask, int yes) {
    return __ballot_sync(mask, !yes) == 0;
}

/* ---- arithmetic ---- */

static inline float __uint_as_float(unsigned u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}
static inline unsigned __float_as_uint(float f) {
    unsigned u;
    memcpy(&u, &f, sizeof u);
    return u;
}
static inline float __int_as_float(int i) {
    return __uint_as_float((unsigned)i);
}
static inline int __float_as_int(float f) {
    return (int)__float_as_uint(f);
}
static inline unsigned __umulhi(unsigned a, unsigned b) {
    return (unsigned)((uint64_t)a * b >> 32);
}
static inline int __ffs(int v) {
    return __builtin_ffs(v);
}
static inline int __popc(unsigned v) {
    return __builtin_popcount(v);
}
static inline int __clz(int v) {
    return v ? __builtin_clz((unsigned)v) : 32;
}
template <class T> static inline T __ldg(const T *p) {
    return *p;
}
static inline float rsqrtf(float v) {
    return 1.0f / sqrtf(v);
}
#define __expf expf /* glibc has the other name for itself */
static inline float __fdividef(float a, float b) {
    return a / b;
}
static inline float __fmaf_rn(float a, float b, float c) {
    return fmaf(a, b, c);
}
/* As in CUDA, without std::, for integers of one type and for floats. */
#define FAKE_MIN_MAX(type)                                                                                   \
    static inline type min(type a, type b) {                                                                 \
        return b < a ? b : a;                                                                                \
    }                                                                                                        \
    static inline type max(type a, type b) {                                                                 \
        return a < b ? b : a;                                                                                \
    }
FAKE_MIN_MAX(int)
FAKE_MIN_MAX(unsigned)
FAKE_MIN_MAX(long)
FAKE_MIN_MAX(long long)
FAKE_MIN_MAX(float)
FAKE_MIN_MAX(double)
#undef FAKE_MIN_MAX

/* ---- the runtime ---- */

typedef enum cudaError {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorIllegalState = 401,
    cudaErrorNotReady = 600,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorStreamCaptureInvalidated = 901,
    cudaErrorStreamCaptureMerge = 902,
    cudaErrorStreamCaptureUnmatched = 903,
    cudaErrorStreamCaptureUnjoined = 904,
    cudaErrorStreamCaptureIsolation = 905,
    cudaErrorStreamCaptureImplicit = 906,
    cudaErrorCapturedEvent = 907,
} cudaError_t;

typedef enum cudaMemcpyKind {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
    cudaMemcpyDefault,
} cudaMemcpyKind;

typedef enum cudaStreamCaptureMode {
    cudaStreamCaptureModeGlobal,
    cudaStreamCaptureModeThreadLocal,
    cudaStreamCaptureModeRelaxed,
} cudaStreamCaptureMode;

typedef enum cudaStreamCaptureStatus {
    cudaStreamCaptureStatusNone,
    cudaStreamCaptureStatusActive,
    cudaStreamCaptureStatusInvalidated,
} cudaStreamCaptureStatus;

typedef enum cudaDeviceAttr {
    cudaDevAttrMultiProcessorCount = 16,
    cudaDevAttrComputeCapabilityMajor = 75,
    cudaDevAttrComputeCapabilityMinor = 76,
} cudaDeviceAttr;

typedef enum cudaDriverEntryPointQueryResult {
    cudaDriverEntryPointSuccess,
    cudaDriverEntryPointSymbolNotFound,
    cudaDriverEntryPointVersionNotSufficent, /* as NVIDIA spells it */
} cudaDriverEntryPointQueryResult;

enum { cudaStreamDefault = 0, cudaStreamNonBlocking = 1, cudaEventDefault = 0, cudaEventDisableTiming = 2 };
enum { cudaHostAllocDefault = 0, cudaHostAllocPortable = 1, cudaMemAttachGlobal = 1, cudaEnableDefault = 0 };

typedef struct CUstream_st *cudaStream_t;
typedef struct CUevent_st *cudaEvent_t;
typedef struct CUgraph_st *cudaGraph_t;
typedef struct CUgraphExec_st *cudaGraphExec_t;
typedef struct CUgraphNode_st *cudaGraphNode_t;

typedef struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem, sharedMemPerBlock;
    int major, minor, multiProcessorCount, warpSize, maxThreadsPerBlock;
} cudaDeviceProp;

extern "C" {

const char *cudaGetErrorString(cudaError_t status);
const char *cudaGetErrorName(cudaError_t status);
cudaError_t cudaGetLastError(void);
cudaError_t cudaPeekAtLastError(void);

cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device);
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr what, int device);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaMemGetInfo(size_t *free, size_t *total);
cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaGetDriverEntryPoint(const char *symbol, void **function, unsigned long long flags,
                                    cudaDriverEntryPointQueryResult *found = nullptr);
cudaError_t cudaGetDriverEntryPointByVersion(const char *symbol, void **function, unsigned version,
                                             unsigned long long flags,
                                             cudaDriverEntryPointQueryResult *found = nullptr);

cudaError_t cudaFree(void *p);
cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t s = nullptr);
cudaError_t cudaMemset(void *to, int value, size_t bytes);
cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t s = nullptr);

cudaError_t cudaStreamCreate(cudaStream_t *s);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags);
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int priority);
cudaError_t cudaStreamDestroy(cudaStream_t s);
cudaError_t cudaStreamSynchronize(cudaStream_t s);
cudaError_t cudaStreamQuery(cudaStream_t s);
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t event, unsigned flags = 0);
cudaError_t cudaLaunchHostFunc(cudaStream_t s, void (*f)(void *), void *self);

cudaError_t cudaEventCreate(cudaEvent_t *event);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t s = nullptr);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to);

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *graph);
cudaError_t cudaStreamIsCapturing(cudaStream_t s, cudaStreamCaptureStatus *status);
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags = 0);
cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t s);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);
}

cudaError_t fake_malloc(void **p, size_t bytes);
template <class T> static inline cudaError_t cudaMalloc(T **p, size_t bytes) {
    return fake_malloc((void **)p, bytes);
}
template <class T>
static inline cudaError_t cudaMallocManaged(T **p, size_t bytes, unsigned = cudaMemAttachGlobal) {
    return fake_malloc((void **)p, bytes);
}
template <class T> static inline cudaError_t cudaMallocHost(T **p, size_t bytes) {
    return cudaHostAlloc((void **)p, bytes, 0);
}

/* ---- launches ---- */

/* f as work of the stream: for what stands for NVIDIA's libraries. */
cudaError_t fake_enqueue(cudaStream_t s, std::function<void()> f);
void fake_enqueue_kernel(cudaStream_t s, dim3 blocks, dim3 threads, std::function<void()> thread);

/* The arguments are evaluated and copied here, as a real launch does. */
template <class F, class... A>
static inline void fake_launch(cudaStream_t s, dim3 blocks, dim3 threads, F kernel, A... a) {
    std::tuple<A...> kept(a...);
    fake_enqueue_kernel(s, blocks, threads, [kernel, kept] { std::apply(kernel, kept); });
}

#define LAUNCH(kernel, blocks, threads, ...)                                                                 \
    do {                                                                                                     \
        fake_launch(                                                                                         \
            cuda.stream, dim3(blocks), dim3(threads), [](auto... a) { kernel(a...); }, __VA_ARGS__);         \
        CUDA(cudaGetLastError());                                                                            \
    } while (0)

#endif
