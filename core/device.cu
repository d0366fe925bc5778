#include "core/device.h"

#include <cublasLt.h>
#include <cuda_runtime.h>
#include <cudnn.h>
#include <nccl.h>

/* Fills the line with what was asked for and why it failed; returns false. */
static bool failed(char *text, size_t size, const char *call, const char *why) {
    snprintf(text, size, "%s failed: %s", call, why);
    return false;
}

extern "C" bool device_cuda_libraries(char *text, size_t size) {
    int runtime = 0, driver = 0, nccl = 0;
    cudaError_t status = cudaRuntimeGetVersion(&runtime);
    if (status != cudaSuccess) return failed(text, size, "cudaRuntimeGetVersion", cudaGetErrorString(status));
    if ((status = cudaDriverGetVersion(&driver)) != cudaSuccess)
        return failed(text, size, "cudaDriverGetVersion", cudaGetErrorString(status));
    ncclResult_t talk = ncclGetVersion(&nccl);
    if (talk != ncclSuccess) return failed(text, size, "ncclGetVersion", ncclGetErrorString(talk));
    size_t cudnn = cudnnGetVersion(), lt = cublasLtGetVersion();
    if (cudnnGetCudartVersion() / 1000 != (size_t)runtime / 1000)
        return failed(text, size, "cudnnGetCudartVersion", "cuDNN was made for another CUDA");
    char drives[32] = "no driver";
    if (driver) snprintf(drives, sizeof drives, "driver for %d.%d", driver / 1000, driver % 1000 / 10);
    snprintf(text, size, "CUDA %d.%d (%s), cuBLASLt %zu.%zu.%zu, cuDNN %zu.%zu.%zu, NCCL %d.%d.%d",
             runtime / 1000, runtime % 1000 / 10, drives, lt / 10000, lt / 100 % 100, lt % 100, cudnn / 10000,
             cudnn / 100 % 100, cudnn % 100, nccl / 10000, nccl / 100 % 100, nccl % 100);
    return true;
}
