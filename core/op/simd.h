/* simd: rows of tensors in f32 for CPU kernels, whatever they are stored as, and the transcendental functions
 * that gcc can keep inside a vector loop. f32 rows are used in place; bf16 rows pass through a small room. */
#ifndef LETHE_OP_SIMD_H
#define LETHE_OP_SIMD_H

#include "core/op.h"

#include <string.h>

/* to += from, or to = from when fresh; either may be bf16. Same count. */
void tensor_accumulate(const Tensor *to, const Tensor *from, bool fresh);
void tensor_accumulate_cuda(const Tensor *to, const Tensor *from, bool fresh); /* in device memory */

#ifndef LETHE_DOUBLE

/* sum[j] += sum over rows of t (rows x cols). */
void columns_add(OpCall *c, const Tensor *t, int64_t rows, int64_t cols, float *sum);

/* t (B, C, ..) += shift[c]; and sum[c] += the sum of t over samples and places. */
void planes_shift(const Tensor *t, const float *shift);
void planes_sum(const Tensor *t, float *sum);

static inline void floats_from_bf16(float *restrict to, const bf16 *restrict from, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) to[i] = bf16_to_f32(from[i]);
}

static inline void floats_to_bf16(bf16 *restrict to, const float *restrict from, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) to[i] = bf16_from_f32(from[i]);
}

/* Row r (d wide) of t as floats: in place, or converted into `room` (d floats). */
static inline const float *row_load(const Tensor *t, int64_t r, int64_t d, float *room) {
    if (t->dtype != DT_BF16) return tensor_real(t) + r * d;
    floats_from_bf16(room, tensor_bf16(t) + r * d, d);
    return room;
}

/* Where to write row r of t before row_store: in place, or `room`. */
static inline float *row_room(const Tensor *t, int64_t r, int64_t d, float *room) {
    return t->dtype == DT_BF16 ? room : tensor_real(t) + r * d;
}

static inline void row_store(const Tensor *t, int64_t r, int64_t d, const float *row) {
    if (t->dtype == DT_BF16) floats_to_bf16(tensor_bf16(t) + r * d, row, d);
}

/* Elements at .. at+n-1 of t as floats: in place, or converted into `room`; and back. */
static inline const float *tensor_strip(const Tensor *t, int64_t at, int64_t n, float *room) {
    if (t->dtype != DT_BF16) return tensor_real(t) + at;
    floats_from_bf16(room, tensor_bf16(t) + at, n);
    return room;
}

static inline void tensor_strip_put(const Tensor *t, int64_t at, int64_t n, const float *v) {
    if (t->dtype == DT_BF16)
        floats_to_bf16(tensor_bf16(t) + at, v, n);
    else
        memmove(tensor_real(t) + at, v, (size_t)n * sizeof *v);
}

/* e^x for x <= 88: 2^n * p(f), f in [-ln2/2, ln2/2], degree 6. Relative error below 2.5e-7; 0 below -87. */
static inline float fast_exp(float x) {
    float c = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
    float n = __builtin_rintf(c * 1.44269504f);
    float f = c - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * f + 1.3981999507e-3f;
    p = p * f + 8.3334519073e-3f;
    p = p * f + 4.1665795894e-2f;
    p = p * f + 1.6666665459e-1f;
    p = p * f + 5.0000001201e-1f;
    p = p * f * f + f + 1.0f;
    union {
        uint32_t u;
        float f;
    } scale = {.u = (uint32_t)((int32_t)n + 127) << 23}; /* unsigned: a NaN comes this way too */
    return x < -87.0f ? 0.0f : p * scale.f;
}

/* log(1 + e) for e in 0 .. 1: twice the inverse hyperbolic tangent of e / (2 + e), by its series. Relative
 * error below 2e-7. */
static inline float fast_log1p(float e) {
    float s = e / (2.0f + e), t = s * s;
    float p = 1.0f / 13;
    p = p * t + 1.0f / 11;
    p = p * t + 1.0f / 9;
    p = p * t + 1.0f / 7;
    p = p * t + 1.0f / 5;
    p = p * t + 1.0f / 3;
    return 2 * s * (p * t + 1.0f);
}

/* 2^x for x <= 127 and nothing above, as softmax needs: 2^n * p(f), f in [-1/2, 1/2], degree 5. Relative
 * error below 2e-7; 0 below -126.5. */
static inline float fast_exp2(float x) {
    const float shift = 12582912.0f + 127.0f; /* 1.5 * 2^23: the sum's low bits are n + 127 */
    float c = x < -127.0f ? -127.0f : x;
    union {
        float f;
        uint32_t u;
    } n = {.f = c + shift};
    float f = c - (n.f - shift);
    float p = 1.3264727313e-3f;
    p = p * f + 9.6715129912e-3f;
    p = p * f + 5.5507335812e-2f;
    p = p * f + 2.4022242427e-1f;
    p = p * f + 6.9314700365e-1f;
    n.u <<= 23;
    return (p * f + 1.0f) * n.f; /* a NaN is in p */
}

/* The normal distribution's Phi(x) and, in *density, phi(x): GELU is x Phi(x), its derivative Phi(x) + x
 * phi(x). erf by Abramowitz and Stegun 7.1.26: absolute error of Phi below 1e-7. */
static inline float fast_normal(float x, float *density) {
    float z = __builtin_fabsf(x) * 0.70710678118f, e = fast_exp(-z * z), t = 1.0f / (1.0f + 0.3275911f * z);
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    float tail = 0.5f * p * t * e; /* 1 - Phi(|x|) */
    *density = 0.39894228040f * e;
    return x < 0.0f ? tail : 1.0f - tail;
}

#endif
#endif
