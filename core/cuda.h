/* cuda: this rank's GPU, for the CUDA files (*.cu) alone: its stream, checked calls, launches, the float
 * types. C code knows of it what core/device.h says. One GPU a process: the handle is the one global here.
 *
 * Rules of a CUDA kernel, beside those of core/op.h
 * - Everything runs on cuda.stream and nothing waits for it: the whole step is captured as one CUDA graph, so
 * a kernel reads nothing on the host that changes from step to step: sample ids and the step's number are
 * read in the kernel from Step.sample and Step.index_at, which are device memory.
 * - Tensors' data are device memory: host code reads their shapes only.
 * - Sums are made in a fixed order, without atomics: two runs give the same bits.
 * - f32 inside, whatever is stored. Shared memory is static. Scratch comes from op_scratch.
 * - Launch with LAUNCH, loop with a grid stride or one block a row; shapes are not multiples of anything.
 * tests/device/fake runs the same files on the processor: no inline PTX, no cooperative groups, warps through
 * the functions below. */
#ifndef LETHE_CUDA_H
#define LETHE_CUDA_H

#include "core/device.h"
#include "core/tensor.h"

#include <cuda_runtime.h>

typedef struct Cuda {
    int device;          /* -1: not opened */
    int processors;      /* multiprocessors */
    cudaStream_t stream; /* where the step runs */
    bool exact;          /* deterministic kernels only */
} Cuda;
extern Cuda cuda;

/* The stream of a lane (core/device.h). */
cudaStream_t cuda_lane(DeviceLane lane);

/* Ends the program naming call, file and line; out of memory also says how much is free and which keys to
 * lower. */
void cuda_check(cudaError_t status, const char *call, const char *file, int line);
#define CUDA(call) cuda_check((call), #call, __FILE__, __LINE__)

/* The bf16 copy of an f32 parameter that the optimizer keeps up to date; NULL: `w` has none (it is no
 * parameter, or the step computes in f32). */
extern "C" const bf16 *cuda_half(const Tensor *w);

/* LAUNCH(kernel, blocks, threads a block, arguments...) on cuda.stream. `blocks` may be a dim3. */
#ifndef LAUNCH
#define LAUNCH(kernel, blocks, threads, ...)                                                                 \
    do {                                                                                                     \
        kernel<<<(blocks), (threads), 0, cuda.stream>>>(__VA_ARGS__);                                        \
        CUDA(cudaGetLastError());                                                                            \
    } while (0)
#endif

/* Blocks for n elements, a thread each, capped: kernels loop with a grid stride. */
static inline int cuda_blocks(int64_t n, int threads) {
    int64_t blocks = (n + threads - 1) / threads, most = (int64_t)cuda.processors * 16;
    return (int)(blocks < 1 ? 1 : blocks < most ? blocks : most);
}

#define FOR_GRID(i, n)                                                                                       \
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < (n);                                \
         i += (int64_t)gridDim.x * blockDim.x)

/* One element in either float type, by load and store: float stays, bf16 (uint16_t) is widened and rounded to
 * nearest even. */
__device__ static inline float load(const float *p) {
    return *p;
}
__device__ static inline float load(const bf16 *p) {
    return __uint_as_float((unsigned)*p << 16);
}
__device__ static inline void store(float *p, float v) {
    *p = v;
}
__device__ static inline void store(bf16 *p, float v) {
    unsigned u = __float_as_uint(v);
    bool nan = (u & 0x7FFFFFFFu) > 0x7F800000u;
    *p = (bf16)(nan ? (u >> 16) | 0x40u : (u + 0x7FFFu + ((u >> 16) & 1u)) >> 16);
}

/* Sums over a warp and over a block (any multiple of 32 threads up to 1024), in a fixed order; every thread
 * gets the sum. All threads of the block must call. */
__device__ static inline float warp_sum(float v) {
    for (int d = 16; d; d >>= 1) v += __shfl_xor_sync(0xFFFFFFFFu, v, d);
    return v;
}
__device__ static inline float block_sum(float v) {
    __shared__ float part[32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = (blockDim.x + 31) / 32;
    v = warp_sum(v);
    __syncthreads(); /* part may still be read from the call before */
    if (lane == 0) part[warp] = v;
    __syncthreads();
    v = 0;
    for (int w = 0; w < warps; w++) v += part[w];
    return v;
}

#endif
