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

/* ---- the GPU of this process; in a build without CUDA nothing may call these but device_opened ---- */

/* Takes device `index`; from now on steps may run on it. `exact`: deterministic kernels only. */
bool device_open(int index, bool exact, char *text, size_t size);
bool device_opened(void);

/* Device memory that outlives a step; ends the program with a line about what was wanted and had when there
 * is not enough. Contents undefined. */
void *device_get(size_t bytes);
void device_free(void *p); /* NULL is fine */
/* Host memory that copies at full speed and beside computing. */
void *device_pinned_get(size_t bytes);
void device_pinned_free(void *p);

/* In the order of the step's work; host memory that is not pinned makes them wait. */
void device_zero(void *p, size_t bytes);
void device_copy(void *to, const void *from, size_t bytes);
void device_set(float *p, float value);
void device_wait(void); /* until all is done */

/* Address space for step memory, filled with memory up to a mark that grows. */
void *device_reserve(size_t bytes);
bool device_commit(void *base, size_t from, size_t to); /* false: memory is out */
void device_release(void *base, size_t reserved, size_t committed);
size_t device_memory(size_t *free); /* of the device, in bytes: all, and what is free now */

/* Lines for `lethe --version`: the processor, the CUDA libraries, every CUDA device. */
void device_report(FILE *out);

#ifdef __cplusplus
}
#endif

#endif
