/* device: what a run can compute on. The processor is always there; CUDA devices are there where this build
 * knows CUDA (make CUDA=1) and the machine has a driver and a GPU. Readable by C and CUDA C++. */
#ifndef LETHE_DEVICE_H
#define LETHE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Number of CUDA devices that can be used; 0 without a GPU, without a driver, and in a build without CUDA. */
int device_cuda_count(void);

/* One line about device i: name, memory, compute capability. On failure false, and the line says why. */
bool device_cuda_describe(int i, char *text, size_t size);

/* One line about CUDA as a whole: versions of the libraries this build is linked with, as the libraries
 * themselves give them. False, and the line says why, in a build without CUDA or when a library does not
 * answer. */
bool device_cuda_libraries(char *text, size_t size);

/* Lines for `lethe --version`: the processor, the CUDA libraries, every CUDA device. */
void device_report(FILE *out);

#ifdef __cplusplus
}
#endif

#endif
