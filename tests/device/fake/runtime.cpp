#include "tests/device/fake/inside.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

typedef std::vector<std::function<void()>> Closures;

namespace {

/* Ops of a stream that something comes after, for each stream of a capture: whoever knows n of them has
 * waited for n. */
typedef std::map<cudaStream_t, size_t> Known;

struct Capture {
    cudaStream_t origin;
    Closures ops;
    std::vector<cudaStream_t> members;
    bool spoilt;
};

} // namespace

struct CUstream_st {
    std::shared_ptr<Capture> capture;
    Known known; /* own ops as well */
};
struct CUevent_st {
    std::shared_ptr<Capture> capture; /* recorded there last */
    Known known;
    double at; /* seconds; negative: not recorded */
};
struct CUgraph_st {
    Closures ops;
};
struct CUgraphExec_st {
    Closures ops;
};

namespace {

std::mutex lock; /* guards taken and sizes */
long long taken;
std::map<void *, size_t> sizes;
std::atomic<int> captures; /* begun, not ended, by any thread */
thread_local cudaError_t last_error;
thread_local int device;
thread_local std::vector<std::weak_ptr<Capture>> begun_here;
CUstream_st default_stream;

cudaError_t fail(cudaError_t status) {
    return last_error = status;
}

/* Fails when this thread has a capture, which is spoilt by what the caller wants to do. */
cudaError_t may_wait() {
    bool found = false;
    if (captures == 0) return cudaSuccess;
    for (auto &w : begun_here)
        if (auto c = w.lock()) found = c->spoilt = true;
    return found ? fail(cudaErrorStreamCaptureUnsupported) : cudaSuccess;
}

double seconds() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void merge(Known *to, const Known &from) {
    for (const auto &k : from)
        if ((*to)[k.first] < k.second) (*to)[k.first] = k.second;
}

} // namespace

/* Runs f, or keeps it when the stream captures. The default stream waits for all others, so it may not be
 * used beside a capture. */
cudaError_t fake_enqueue(cudaStream_t s, std::function<void()> f) {
    if (!s) {
        if (may_wait() != cudaSuccess) return fail(cudaErrorStreamCaptureImplicit);
        s = &default_stream;
    }
    if (!s->capture) {
        f();
        return cudaSuccess;
    }
    if (s->capture->spoilt) return fail(cudaErrorStreamCaptureInvalidated);
    s->capture->ops.push_back(std::move(f));
    s->known[s]++;
    return cudaSuccess;
}

/* ---- errors and devices ---- */

extern "C" const char *cudaGetErrorName(cudaError_t status) {
    switch (status) {
#define ROW(name)                                                                                            \
    case name:                                                                                               \
        return #name;
        ROW(cudaSuccess)
        ROW(cudaErrorInvalidValue)
        ROW(cudaErrorMemoryAllocation)
        ROW(cudaErrorInvalidConfiguration)
        ROW(cudaErrorNoDevice)
        ROW(cudaErrorInvalidDevice)
        ROW(cudaErrorInvalidResourceHandle)
        ROW(cudaErrorIllegalState)
        ROW(cudaErrorNotReady)
        ROW(cudaErrorStreamCaptureUnsupported)
        ROW(cudaErrorStreamCaptureInvalidated)
        ROW(cudaErrorStreamCaptureMerge)
        ROW(cudaErrorStreamCaptureUnmatched)
        ROW(cudaErrorStreamCaptureUnjoined)
        ROW(cudaErrorStreamCaptureIsolation)
        ROW(cudaErrorStreamCaptureImplicit)
        ROW(cudaErrorCapturedEvent)
#undef ROW
    }
    return "unknown error";
}

extern "C" const char *cudaGetErrorString(cudaError_t status) {
    return cudaGetErrorName(status);
}

extern "C" cudaError_t cudaGetLastError(void) {
    cudaError_t status = last_error;
    last_error = cudaSuccess;
    return status;
}

extern "C" cudaError_t cudaPeekAtLastError(void) {
    return last_error;
}

extern "C" cudaError_t cudaGetDeviceCount(int *count) {
    const char *text = getenv("LETHE_FAKE_GPUS");
    *count = text ? atoi(text) : 1;
    return *count > 0 ? cudaSuccess : fail(cudaErrorNoDevice);
}

static bool there_is(int i) {
    int count = 0;
    return cudaGetDeviceCount(&count) == cudaSuccess && i >= 0 && i < count;
}

extern "C" cudaError_t cudaSetDevice(int i) {
    if (!there_is(i)) return fail(cudaErrorInvalidDevice);
    device = i;
    return cudaSuccess;
}

extern "C" cudaError_t cudaGetDevice(int *i) {
    *i = device;
    return cudaSuccess;
}

/* Few multiprocessors: grids are small, so that kernels must loop over them. */
extern "C" cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int i) {
    if (!there_is(i)) return fail(cudaErrorInvalidDevice);
    *p = {"fake GPU on the processor", (size_t)FAKE_MEMORY << 30, 48 << 10, 9, 0, 2, 32, 1024};
    return cudaSuccess;
}

extern "C" cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr what, int i) {
    cudaDeviceProp p;
    if (cudaGetDeviceProperties(&p, i) != cudaSuccess) return cudaErrorInvalidDevice;
    *value = what == cudaDevAttrMultiProcessorCount      ? p.multiProcessorCount
             : what == cudaDevAttrComputeCapabilityMajor ? p.major
                                                         : p.minor;
    return cudaSuccess;
}

extern "C" cudaError_t cudaRuntimeGetVersion(int *version) {
    *version = 13000;
    return cudaSuccess;
}

extern "C" cudaError_t cudaDriverGetVersion(int *version) {
    return cudaRuntimeGetVersion(version);
}

extern "C" cudaError_t cudaDeviceSynchronize(void) {
    return may_wait();
}

/* ---- memory ---- */

bool fake_memory_take(long long bytes) {
    std::lock_guard<std::mutex> hold(lock);
    if (taken + bytes > (long long)FAKE_MEMORY << 30) return false;
    taken += bytes;
    return true;
}

extern "C" cudaError_t cudaMemGetInfo(size_t *free, size_t *total) {
    std::lock_guard<std::mutex> hold(lock);
    *total = (size_t)FAKE_MEMORY << 30;
    *free = *total - (size_t)taken;
    return cudaSuccess;
}

cudaError_t fake_malloc(void **p, size_t bytes) {
    *p = nullptr;
    if (may_wait() != cudaSuccess) return cudaErrorStreamCaptureUnsupported;
    if (bytes == 0) return cudaSuccess;
    if (!fake_memory_take((long long)bytes)) return fail(cudaErrorMemoryAllocation);
    if (posix_memalign(p, 256, bytes) != 0) {
        fake_memory_take(-(long long)bytes);
        return fail(cudaErrorMemoryAllocation);
    }
    memset(*p, 0xFF, bytes);
    std::lock_guard<std::mutex> hold(lock);
    sizes[*p] = bytes;
    return cudaSuccess;
}

extern "C" cudaError_t cudaFree(void *p) {
    if (may_wait() != cudaSuccess) return cudaErrorStreamCaptureUnsupported;
    if (!p) return cudaSuccess;
    long long bytes = 0;
    {
        std::lock_guard<std::mutex> hold(lock);
        auto found = sizes.find(p);
        if (found == sizes.end()) return fail(cudaErrorInvalidValue);
        bytes = (long long)found->second;
        sizes.erase(found);
    }
    fake_memory_take(-bytes);
    free(p);
    return cudaSuccess;
}

extern "C" cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned) {
    *p = nullptr;
    if (may_wait() != cudaSuccess) return cudaErrorStreamCaptureUnsupported;
    return posix_memalign(p, 4096, bytes ? bytes : 1) == 0 ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}

extern "C" cudaError_t cudaFreeHost(void *p) {
    if (may_wait() != cudaSuccess) return cudaErrorStreamCaptureUnsupported;
    free(p);
    return cudaSuccess;
}

extern "C" cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind) {
    if (may_wait() != cudaSuccess) return cudaErrorStreamCaptureUnsupported;
    memcpy(to, from, bytes);
    return cudaSuccess;
}

extern "C" cudaError_t cudaMemset(void *to, int value, size_t bytes) {
    if (may_wait() != cudaSuccess) return cudaErrorStreamCaptureUnsupported;
    memset(to, value, bytes);
    return cudaSuccess;
}

extern "C" cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind,
                                       cudaStream_t s) {
    return fake_enqueue(s, [=] { memmove(to, from, bytes); });
}

extern "C" cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t s) {
    return fake_enqueue(s, [=] { memset(to, value, bytes); });
}

/* ---- streams and events ---- */

extern "C" cudaError_t cudaStreamCreate(cudaStream_t *s) {
    *s = new CUstream_st();
    return cudaSuccess;
}

extern "C" cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned) {
    return cudaStreamCreate(s);
}

extern "C" cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned, int) {
    return cudaStreamCreate(s);
}

extern "C" cudaError_t cudaStreamDestroy(cudaStream_t s) {
    delete s;
    return cudaSuccess;
}

extern "C" cudaError_t cudaStreamSynchronize(cudaStream_t s) {
    if (!s) return may_wait();
    if (!s->capture) return cudaSuccess;
    s->capture->spoilt = true;
    return fail(cudaErrorStreamCaptureUnsupported);
}

extern "C" cudaError_t cudaStreamQuery(cudaStream_t s) {
    return cudaStreamSynchronize(s);
}

extern "C" cudaError_t cudaLaunchHostFunc(cudaStream_t s, void (*f)(void *), void *self) {
    return fake_enqueue(s, [=] { f(self); });
}

extern "C" cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t event, unsigned) {
    if (!s) s = &default_stream;
    if (!event->capture) return s->capture ? fail(cudaErrorStreamCaptureIsolation) : cudaSuccess;
    if (s->capture && s->capture != event->capture) return fail(cudaErrorStreamCaptureMerge);
    if (!s->capture) {
        s->capture = event->capture;
        s->capture->members.push_back(s);
    }
    merge(&s->known, event->known);
    return cudaSuccess;
}

extern "C" cudaError_t cudaEventCreate(cudaEvent_t *event) {
    *event = new CUevent_st();
    (*event)->at = -1;
    return cudaSuccess;
}

extern "C" cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) {
    return cudaEventCreate(event);
}

extern "C" cudaError_t cudaEventDestroy(cudaEvent_t event) {
    delete event;
    return cudaSuccess;
}

extern "C" cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t s) {
    if (!s) s = &default_stream;
    event->capture = s->capture;
    event->known = s->known;
    if (!s->capture) event->at = seconds();
    return cudaSuccess;
}

extern "C" cudaError_t cudaEventQuery(cudaEvent_t event) {
    if (!event->capture) return cudaSuccess;
    event->capture->spoilt = true;
    return fail(cudaErrorCapturedEvent);
}

extern "C" cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    return cudaEventQuery(event);
}

extern "C" cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to) {
    if (from->capture || to->capture) return fail(cudaErrorCapturedEvent);
    if (from->at < 0 || to->at < 0) return fail(cudaErrorInvalidResourceHandle);
    *ms = (float)(1e3 * (to->at - from->at));
    return cudaSuccess;
}

void fake_enqueue_kernel(cudaStream_t s, dim3 blocks, dim3 threads, std::function<void()> thread) {
    if (!fake_kernel_fits(blocks, threads)) {
        fail(cudaErrorInvalidConfiguration);
        return;
    }
    fake_enqueue(s, [=] { fake_kernel_run(blocks, threads, thread); });
}

/* ---- graphs ---- */

extern "C" cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode) {
    if (!s) return fail(cudaErrorStreamCaptureUnsupported);
    if (s->capture) return fail(cudaErrorIllegalState);
    s->capture = std::make_shared<Capture>();
    s->capture->origin = s;
    s->capture->members.push_back(s);
    begun_here.push_back(s->capture);
    captures++;
    return cudaSuccess;
}

/* Fails when a stream that joined has work that the first stream has not waited for. */
extern "C" cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *graph) {
    *graph = nullptr;
    if (!s || !s->capture) return fail(cudaErrorIllegalState);
    std::shared_ptr<Capture> c = s->capture;
    if (c->origin != s) return fail(cudaErrorStreamCaptureUnmatched);
    bool joined = true;
    for (cudaStream_t member : c->members) joined &= s->known[member] == member->known[member];
    for (cudaStream_t member : c->members) {
        member->capture = nullptr;
        member->known.clear();
    }
    captures--;
    for (size_t i = begun_here.size(); i-- > 0;)
        if (begun_here[i].lock() == c) begun_here.erase(begun_here.begin() + (ptrdiff_t)i);
    if (c->spoilt) return fail(cudaErrorStreamCaptureInvalidated);
    if (!joined) return fail(cudaErrorStreamCaptureUnjoined);
    *graph = new CUgraph_st{std::move(c->ops)};
    return cudaSuccess;
}

extern "C" cudaError_t cudaStreamIsCapturing(cudaStream_t s, cudaStreamCaptureStatus *status) {
    *status = !s || !s->capture    ? cudaStreamCaptureStatusNone
              : s->capture->spoilt ? cudaStreamCaptureStatusInvalidated
                                   : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

extern "C" cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count) {
    if (nodes) return fail(cudaErrorInvalidValue); /* only their number is known */
    *count = graph->ops.size();
    return cudaSuccess;
}

extern "C" cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long) {
    *exec = new CUgraphExec_st{graph->ops};
    return cudaSuccess;
}

extern "C" cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) {
    return cudaSuccess;
}

extern "C" cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s) {
    return fake_enqueue(s, [exec] {
        for (const auto &op : exec->ops) op();
    });
}

extern "C" cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return cudaSuccess;
}

extern "C" cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    delete exec;
    return cudaSuccess;
}
