#include "core/device.h"

#include "core/gemm.h"

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
#endif

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
