/* What the parts of the fake share. */
#ifndef LETHE_FAKE_INSIDE_H
#define LETHE_FAKE_INSIDE_H

#include <cuda_runtime.h>

enum { FAKE_MEMORY = 4 }; /* GiB a device has */

/* Takes memory from the device, or gives it back when negative; false: there is not so much. */
bool fake_memory_take(long long bytes);

/* Runs a kernel now. False: the device cannot launch that shape. */
bool fake_kernel_fits(dim3 blocks, dim3 threads);
void fake_kernel_run(dim3 blocks, dim3 threads, const std::function<void()> &thread);

#endif
