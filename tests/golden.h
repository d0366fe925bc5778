/* golden: reading fixtures and comparing with them. */
#ifndef LETHE_TESTS_GOLDEN_H
#define LETHE_TESTS_GOLDEN_H

#include "core/device.h"
#include "core/safetensors.h"
#include "core/step.h"
#include "core/task.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Where steps run: on the GPU if LETHE_TEST_BACKEND is "cuda". Its memory can then be read by the host. */
static inline Backend golden_backend(void) {
    const char *wanted = getenv("LETHE_TEST_BACKEND");
    char text[300];
    if (!wanted || strcmp(wanted, "cuda") != 0) return BACKEND_CPU;
    setenv("LETHE_CUDA_MANAGED", "1", 1);
    if (!device_opened() && !device_open(0, true, text, sizeof text)) fail_msg("%s", text);
    return BACKEND_CUDA;
}

/* For reading on the host what steps computed. */
static inline void golden_wait(void) {
    if (device_opened()) device_wait();
}

/* The optimizer of the GPU is held against the processor's elsewhere (tests/device/test_optim_cuda.cu). */
static inline bool golden_optim(void) {
    return !device_opened();
}

/* The file's tensor as f32 or i32, owned by the caller (free the data with mem_free). */
static inline Tensor golden_read(const SafeFile *f, const char *name) {
    Error e = {0};
    const SafeEntry *x = safe_find(f, name);
    if (!x) fail_msg("the fixture has no tensor %s", name);
    Tensor t = {.ndim = x->ndim,
                .dtype = x->type == SAFE_I32  ? DT_I32
                         : x->type == SAFE_U8 ? DT_U8
                                              : DT_F32,
                .name = name};
    memcpy(t.dim, x->dim, sizeof t.dim);
    t.data = mem_get(tensor_bytes(&t));
    if (!t.data || !safe_read(f, x, &t, &e)) fail_msg("%s: %s", name, e.text);
    return t;
}

static inline double golden_number(const SafeFile *f, const char *name) {
    Tensor t = golden_read(f, name);
    double v = (double)tensor_at(&t, 0);
    mem_free(t.data);
    return v;
}

/* |got - want| / |want|, L2. */
static inline double golden_distance(const Tensor *got, const Tensor *want) {
    double diff = 0, norm = 0;
    golden_wait();
    if (tensor_count(got) != tensor_count(want)) fail_msg("%s: the counts differ", want->name);
    for (int64_t i = 0; i < tensor_count(want); i++) {
        double w = (double)tensor_at(want, i), d = (double)tensor_at(got, i) - w;
        diff += d * d;
        norm += w * w;
    }
    return sqrt(diff / (norm > 0 ? norm : 1));
}

static inline void golden_near(const SafeFile *f, const char *name, const Tensor *got, double limit) {
    Tensor want = golden_read(f, name);
    double d = golden_distance(got, &want);
    mem_free(want.data);
    if (!(d <= limit)) fail_msg("%s: relative distance %.3g, limit %.3g", name, d, limit);
}

#endif
