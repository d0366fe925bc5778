#include "core/device.h"

#include "core/gemm.h"
#include "core/op/simd.h"

#include <dnnl.h>
#include <omp.h>

enum { LINE = 400 };

#ifndef LETHE_CUDA
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

/* The rest is called with an open device only. */
#define WITHOUT_CUDA die("%s: built without CUDA", __func__)

void *device_get(size_t bytes) {
    (void)bytes;
    WITHOUT_CUDA;
}
void device_free(void *p) {
    if (p) WITHOUT_CUDA;
}
void *device_pinned_get(size_t bytes) {
    (void)bytes;
    WITHOUT_CUDA;
}
void device_pinned_free(void *p) {
    if (p) WITHOUT_CUDA;
}
void device_zero(void *p, size_t bytes) {
    (void)p;
    (void)bytes;
    WITHOUT_CUDA;
}
void device_copy(void *to, const void *from, size_t bytes) {
    (void)to;
    (void)from;
    (void)bytes;
    WITHOUT_CUDA;
}
void device_set(float *p, float value) {
    (void)p;
    (void)value;
    WITHOUT_CUDA;
}
void device_wait(void) {
    WITHOUT_CUDA;
}
void *device_reserve(size_t bytes) {
    (void)bytes;
    WITHOUT_CUDA;
}
bool device_commit(void *base, size_t from, size_t to) {
    (void)base;
    (void)from;
    (void)to;
    WITHOUT_CUDA;
}
void device_release(void *base, size_t reserved, size_t committed) {
    (void)base;
    (void)reserved;
    (void)committed;
    WITHOUT_CUDA;
}
size_t device_memory(size_t *free) {
    (void)free;
    WITHOUT_CUDA;
}
void tensor_accumulate_cuda(const Tensor *to, const Tensor *from, bool fresh) {
    (void)to;
    (void)from;
    (void)fresh;
    WITHOUT_CUDA;
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
