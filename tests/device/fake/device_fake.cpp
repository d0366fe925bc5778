/* What core/device.cu, which asks NVIDIA's libraries for their versions, would give. */
#include "core/cuda.h"

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
