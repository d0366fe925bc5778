/* device: what a run can compute on. The processor is always there; CUDA devices are there where this build
 * knows CUDA (make CUDA=1) and the machine has a driver and a GPU. Readable by C and CUDA C++. */
#ifndef LETHE_DEVICE_H
#define LETHE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
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
void device_add_scaled(float *to, const float *from, float factor, bool fresh); /* one value; fresh: to = */
void device_wait(void);                                                         /* until all is done */

/* Work runs in lanes; each keeps its own order. The functions above and all kernels are on DEVICE_STEP. */
typedef enum { DEVICE_STEP, DEVICE_UPLOAD, DEVICE_REDUCE, DEVICE_LANES } DeviceLane;
void device_upload(void *to, const void *from, size_t bytes); /* on DEVICE_UPLOAD, from pinned memory */

/* A place in a lane's work, to be waited for. */
typedef struct DeviceMark DeviceMark;
DeviceMark *device_mark_open(bool timed);
void device_mark_free(DeviceMark *m);              /* NULL is fine */
void device_mark(DeviceMark *m, DeviceLane lane);  /* here, in that lane */
void device_after(DeviceLane lane, DeviceMark *m); /* what comes next in that lane comes after m */
bool device_mark_done(DeviceMark *m);
void device_mark_wait(DeviceMark *m);
double device_mark_seconds(DeviceMark *from, DeviceMark *to); /* both timed and done */

/* What is put on DEVICE_STEP between begin and end, and on lanes that come after it, does not run but becomes
 * a graph, which runs as a whole by device_replay. All must be joined to DEVICE_STEP again by the end. */
typedef struct DeviceGraph DeviceGraph;
void device_capture_begin(void);
DeviceGraph *device_capture_end(void);
void device_replay(DeviceGraph *g);
void device_graph_free(DeviceGraph *g); /* NULL is fine */

/* out = (in / 255 - mean) / std by `level` [3][256] (device memory), n pictures u8 [side, side, 3] to planes
 * [3, side, side] in f32, or bf16. */
void device_normalise(const uint8_t *in, void *out, bool half, const float *level, int64_t n, int64_t side);
void device_swap(float *a, float *b, int64_t n);
/* The bf16 copies of n values, which kernels then take for weights that lie among them. NULL: none. */
void device_halve(const float *value, uint16_t *half, int64_t n);
void device_halves_are(const float *value, const uint16_t *half, int64_t n);

/* FLOP/s of a large square matrix product, f32 or bf16, measured now. */
double device_matmul_rate(bool half);

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
