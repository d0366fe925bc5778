/* What core/device.cu, which asks NVIDIA's libraries for their versions, would give. */
#include "core/cuda.h"

extern "C" bool device_cuda_libraries(char *text, size_t size) {
    snprintf(text, size, "fake");
    return true;
}
