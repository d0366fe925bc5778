#include "core/cuda.h"

#include <stdlib.h>

static cudaStream_t side[DEVICE_LANES]; /* but DEVICE_STEP, which is cuda.stream */

cudaStream_t cuda_lane(DeviceLane lane) {
    if (lane == DEVICE_STEP) return cuda.stream;
    if (!side[lane]) CUDA(cudaStreamCreateWithFlags(&side[lane], cudaStreamNonBlocking));
    return side[lane];
}

extern "C" void device_upload(void *to, const void *from, size_t bytes) {
    if (bytes) CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, cuda_lane(DEVICE_UPLOAD)));
}

/* -------------------------------------------------------------------------------------------- marks --- */

struct DeviceMark {
    cudaEvent_t event;
};

extern "C" DeviceMark *device_mark_open(bool timed) {
    DeviceMark *m = (DeviceMark *)mem_zero(1, sizeof *m);
    if (!m) give_up("out of memory");
    CUDA(cudaEventCreateWithFlags(&m->event, timed ? cudaEventDefault : cudaEventDisableTiming));
    return m;
}

extern "C" void device_mark_free(DeviceMark *m) {
    if (m) CUDA(cudaEventDestroy(m->event));
    mem_free(m);
}

extern "C" void device_mark(DeviceMark *m, DeviceLane lane) {
    CUDA(cudaEventRecord(m->event, cuda_lane(lane)));
}

extern "C" void device_after(DeviceLane lane, DeviceMark *m) {
    CUDA(cudaStreamWaitEvent(cuda_lane(lane), m->event, 0));
}

extern "C" bool device_mark_done(DeviceMark *m) {
    cudaError_t status = cudaEventQuery(m->event);
    if (status == cudaErrorNotReady) return false;
    CUDA(status);
    return true;
}

extern "C" void device_mark_wait(DeviceMark *m) {
    CUDA(cudaEventSynchronize(m->event));
}

extern "C" double device_mark_seconds(DeviceMark *from, DeviceMark *to) {
    float ms = 0;
    CUDA(cudaEventElapsedTime(&ms, from->event, to->event));
    return 1e-3 * (double)ms;
}

/* ------------------------------------------------------------------------------------------- graphs --- */

struct DeviceGraph {
    cudaGraphExec_t run;
};

/* This thread's calls alone: loaders may allocate meanwhile. */
extern "C" void device_capture_begin(void) {
    CUDA(cudaStreamBeginCapture(cuda.stream, cudaStreamCaptureModeThreadLocal));
}

extern "C" DeviceGraph *device_capture_end(void) {
    cudaGraph_t graph;
    DeviceGraph *g = (DeviceGraph *)mem_zero(1, sizeof *g);
    if (!g) give_up("out of memory");
    CUDA(cudaStreamEndCapture(cuda.stream, &graph));
    CUDA(cudaGraphInstantiate(&g->run, graph, 0));
    CUDA(cudaGraphDestroy(graph));
    return g;
}

extern "C" void device_replay(DeviceGraph *g) {
    CUDA(cudaGraphLaunch(g->run, cuda.stream));
}

extern "C" void device_graph_free(DeviceGraph *g) {
    if (g) CUDA(cudaGraphExecDestroy(g->run));
    mem_free(g);
}

/* ------------------------------------------------------------------------------------ small kernels --- */

/* A thread a pixel: three bytes in, one value into each plane. */
template <class T>
__global__ static void normalise(const uint8_t *in, T *out, const float *level, int64_t pixels,
                                 int64_t plane) {
    FOR_GRID(i, pixels) {
        int64_t n = i / plane, at = i - n * plane;
        for (int c = 0; c < 3; c++) store(out + (n * 3 + c) * plane + at, level[c * 256 + in[3 * i + c]]);
    }
}

extern "C" void device_normalise(const uint8_t *in, void *out, bool half, const float *level, int64_t n,
                                 int64_t side) {
    int64_t plane = side * side, pixels = n * plane;
    if (half)
        LAUNCH(normalise, cuda_blocks(pixels, 256), 256, in, (bf16 *)out, level, pixels, plane);
    else
        LAUNCH(normalise, cuda_blocks(pixels, 256), 256, in, (float *)out, level, pixels, plane);
}

__global__ static void swap(float *a, float *b, int64_t n) {
    FOR_GRID(i, n) {
        float x = a[i];
        a[i] = b[i];
        b[i] = x;
    }
}

extern "C" void device_swap(float *a, float *b, int64_t n) {
    LAUNCH(swap, cuda_blocks(n, 256), 256, a, b, n);
}

__global__ static void halve(const float *value, bf16 *half, int64_t n) {
    FOR_GRID(i, n) store(half + i, value[i]);
}

extern "C" void device_halve(const float *value, uint16_t *half, int64_t n) {
    LAUNCH(halve, cuda_blocks(n, 256), 256, value, half, n);
}

/* ------------------------------------------------------------------------------- bf16 copies of weights ---
 */

static struct {
    const float *value;
    const bf16 *half;
    int64_t n;
} halves;

extern "C" void device_halves_are(const float *value, const uint16_t *half, int64_t n) {
    halves = {value, half, n};
}

extern "C" const bf16 *cuda_half(const Tensor *w) {
    const float *p = (const float *)w->data;
    if (!halves.half || !w->param || p < halves.value || p >= halves.value + halves.n) return NULL;
    return halves.half + (p - halves.value);
}
