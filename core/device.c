#include "core/device.h"

#include "core/comm_nccl.h"
#include "core/gemm.h"
#include "core/op/simd.h"

#include <dnnl.h>
#include <omp.h>

enum { LINE = 400 };

#if !defined(LETHE_CUDA) || defined(LETHE_DOUBLE)
int device_cuda_count(void) {
    return 0;
}

static bool without_cuda(char *text, size_t size) {
    snprintf(text, size, "built without CUDA (make CUDA=1)");
    return false;
}

bool device_cuda_describe(int i, char *text, size_t size) {
    (void)i;
    return without_cuda(text, size);
}

bool device_cuda_libraries(char *text, size_t size) {
    return without_cuda(text, size);
}

bool device_open(int index, bool exact, char *text, size_t size) {
    (void)index;
    (void)exact;
    return without_cuda(text, size);
}

bool device_opened(void) {
    return false;
}

/* The rest is called with an open device only; nothing is freed where nothing was made. */
#pragma GCC diagnostic ignored "-Wunused-parameter"
#define WITHOUT(declaration)                                                                                 \
    declaration {                                                                                            \
        die("%s: built without CUDA", __func__);                                                             \
    }
WITHOUT(bool nccl_open(Error *e))
WITHOUT(void nccl_start(const CommWork *w))
WITHOUT(void nccl_join(void))
WITHOUT(void nccl_sum_double(double *p, int n))
WITHOUT(void nccl_sum_float(float *p, int n))
WITHOUT(bool nccl_broken(char *text, size_t size))
WITHOUT(void *device_get(size_t bytes))
WITHOUT(void *device_pinned_get(size_t bytes))
WITHOUT(void device_zero(void *p, size_t bytes))
WITHOUT(void device_copy(void *to, const void *from, size_t bytes))
WITHOUT(void device_set(float *p, float value))
WITHOUT(void device_wait(void))
WITHOUT(void *device_reserve(size_t bytes))
WITHOUT(bool device_commit(void *base, size_t from, size_t to))
WITHOUT(void device_release(void *base, size_t reserved, size_t committed))
WITHOUT(size_t device_memory(size_t *free))
WITHOUT(void tensor_accumulate_cuda(const Tensor *to, const Tensor *from, bool fresh))
WITHOUT(void device_add_scaled(float *to, const float *from, float factor, bool fresh))
WITHOUT(double device_matmul_rate(bool half))
WITHOUT(void device_upload(void *to, const void *from, size_t bytes))
WITHOUT(DeviceMark *device_mark_open(bool timed))
WITHOUT(void device_mark(DeviceMark *m, DeviceLane lane))
WITHOUT(void device_after(DeviceLane lane, DeviceMark *m))
WITHOUT(bool device_mark_done(DeviceMark *m))
WITHOUT(void device_mark_wait(DeviceMark *m))
WITHOUT(double device_mark_seconds(DeviceMark *from, DeviceMark *to))
WITHOUT(void device_capture_begin(void))
WITHOUT(DeviceGraph *device_capture_end(void))
WITHOUT(void device_replay(DeviceGraph *g))
WITHOUT(void device_normalise(const uint8_t *in, void *out, bool half, const float *level, int64_t n,
                              int64_t side))
WITHOUT(void device_swap(float *a, float *b, int64_t n))
WITHOUT(void device_halve(const float *value, uint16_t *half, int64_t n))
WITHOUT(void device_halves_are(const float *value, const uint16_t *half, int64_t n))
void device_free(void *p) {
    if (p) die("%s: built without CUDA", __func__);
}
void device_pinned_free(void *p) {
    if (p) die("%s: built without CUDA", __func__);
}
void device_mark_free(DeviceMark *m) {
    if (m) die("%s: built without CUDA", __func__);
}
void device_graph_free(DeviceGraph *g) {
    if (g) die("%s: built without CUDA", __func__);
}
#endif

#ifndef LETHE_DOUBLE /* oneDNN has no part in the check of derivatives */
void device_report(FILE *out) {
    char text[LINE];
    const dnnl_version_t *v = dnnl_version();
    fprintf(out, "cpu: %d threads, %s bf16, oneDNN %d.%d.%d\n", omp_get_max_threads(),
            gemm_bf16_native() ? "native" : "emulated", v->major, v->minor, v->patch);
    bool known = device_cuda_libraries(text, sizeof text);
    fprintf(out, "cuda: %s\n", text);
    if (!known) return;
    int count = device_cuda_count();
    for (int i = 0; i < count; i++) {
        device_cuda_describe(i, text, sizeof text);
        fprintf(out, "cuda:%d: %s\n", i, text);
    }
    if (count > 0) return;
    device_cuda_describe(0, text, sizeof text);
    fprintf(out, "cuda: %s; runs use the processor\n", text);
}
#endif
