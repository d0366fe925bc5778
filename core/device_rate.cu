#include "core/cuda_gemm.h"
#include "core/device.h"

/* Seconds of one product of squares, the best of a few. */
static double product_seconds(Mat a, Mat b, Mat c, DeviceMark *from, DeviceMark *to) {
    enum { TIMES = 8 };
    double best = 1e30;
    for (int i = 0; i < TIMES; i++) {
        device_mark(from, DEVICE_STEP);
        cuda_gemm(a, b, c, NULL, false);
        device_mark(to, DEVICE_STEP);
        device_mark_wait(to);
        double seconds = device_mark_seconds(from, to);
        if (seconds < best) best = seconds;
    }
    return best;
}

/* Zeros multiply as fast as anything on a processor, but a GPU that saves power would clock higher on them:
 * half of the bits of each operand change from value to value. */
static Mat square(DType type, int64_t side) {
    size_t bytes = (size_t)(side * side) * dtype_size(type);
    uint32_t *host = (uint32_t *)mem_get(bytes), x = 1;
    Mat m = {device_get(bytes), type, side, side, side, 1};
    if (!host) give_up("out of memory: %zu bytes were wanted", bytes);
    for (size_t i = 0; i < bytes / 4; i++) {
        x = x * 1664525u + 1013904223u;
        host[i] = (x & 0x807F807Fu) | 0x3F003F00u; /* magnitudes from 1/2 to 2, both signs, in either type */
    }
    device_copy(m.data, host, bytes);
    device_wait();
    mem_free(host);
    return m;
}

extern "C" double device_matmul_rate(bool half) {
    const double enough = 1e-3; /* seconds: a product that takes so long is a large one */
    double rate = 0, seconds = 0;
    DType type = half ? DT_BF16 : DT_F32;
    DeviceMark *from = device_mark_open(true), *to = device_mark_open(true);
    for (int64_t side = 64; side <= 8192 && seconds < enough; side *= 2) {
        Mat a = square(type, side), b = square(type, side), c = square(type, side);
        seconds = product_seconds(a, b, c, from, to);
        rate = 2.0 * (double)side * (double)side * (double)side / seconds;
        device_free(a.data);
        device_free(b.data);
        device_free(c.data);
    }
    device_mark_free(from);
    device_mark_free(to);
    return rate;
}
