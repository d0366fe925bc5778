/* What core/device.cu, which needs NVIDIA's libraries, would give: for tests of kernels without a GPU. */
#include "core/cuda.h"

#include <cstdlib>

static cudaStream_t stream_make() {
    cudaStream_t s;
    cudaStreamCreate(&s);
    return s;
}

Cuda cuda = {0, 2, stream_make(), true};

void cuda_check(cudaError_t status, const char *call, const char *file, int line) {
    if (status != cudaSuccess) die("%s:%d: %s: %s", file, line, call, cudaGetErrorString(status));
}

extern "C" const bf16 *cuda_half(const Tensor *) {
    return nullptr;
}

extern "C" int device_cuda_count(void) {
    int count = 0;
    return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

extern "C" bool device_cuda_describe(int i, char *text, size_t size) {
    cudaDeviceProp p;
    bool there = cudaGetDeviceProperties(&p, i) == cudaSuccess;
    snprintf(text, size, "%s", there ? p.name : "no such GPU");
    return there;
}

extern "C" bool device_cuda_libraries(char *text, size_t size) {
    snprintf(text, size, "fake");
    return true;
}
