#include "core/safetensors_values.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the data of a safetensors file is little endian");

enum { PIECE = 1 << 14 }; /* bytes converted at a time, on the stack: reading takes no memory */

/* IEEE 754 binary16. Subnormals are m * 2^-24. */
static float f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 31u, m = h & 0x3FFu;
    union {
        uint32_t u;
        float f;
    } v;
    if (exponent == 0) {
        v.f = (float)m * 0x1p-24f;
        v.u |= sign;
    } else {
        v.u = sign | (exponent == 31 ? 255u : exponent + 112u) << 23 | m << 13;
    }
    return v.f;
}

/* Whole numbers stand only for torch's counters (num_batches_tracked, a scalar of I64). */
static bool is_real(const SafeEntry *x) {
    SafeType t = x->type;
    return t == SAFE_F16 || t == SAFE_BF16 || t == SAFE_F32 || t == SAFE_F64 ||
           (t == SAFE_I64 && x->ndim == 0);
}

/* Element i of a piece in memory. */
static double element(const uint8_t *piece, SafeType t, size_t i) {
    uint16_t h;
    float f;
    double d;
    int64_t n;
    switch (t) {
    case SAFE_F16:
        memcpy(&h, piece + 2 * i, 2);
        return (double)f16_to_f32(h);
    case SAFE_BF16:
        memcpy(&h, piece + 2 * i, 2);
        return (double)bf16_to_f32(h);
    case SAFE_F32:
        memcpy(&f, piece + 4 * i, 4);
        return (double)f;
    case SAFE_I64:
        memcpy(&n, piece + 8 * i, 8);
        return (double)n;
    default:
        memcpy(&d, piece + 8 * i, 8);
        return d;
    }
}

/* Into t, f32 or bf16, of as many elements. */
static bool convert(const SafeBytes *b, const SafeEntry *x, const Tensor *t, Error *e) {
    uint8_t piece[PIECE];
    size_t width = (size_t)safe_type_bits(x->type) / 8;
    int64_t to = 0;
    for (uint64_t at = 0; at < x->size; at += PIECE) {
        size_t bytes = x->size - at < PIECE ? (size_t)(x->size - at) : PIECE, n = bytes / width;
        if (!b->get(b->self, x, at, piece, bytes, e)) return false;
        for (size_t i = 0; i < n; i++) tensor_put(t, to++, (real)element(piece, x->type, i));
    }
    return true;
}

static SafeType type_of_real(void) {
    return sizeof(real) == 8 ? SAFE_F64 : SAFE_F32;
}

static bool unfit(const char *path, const SafeEntry *x, Error *e, const char *what) {
    char name[SAFE_NAME_TEXT], text[224];
    return error_set(e, ERROR_VALUE, "%s: tensor %s is %s; %s", path, safe_name_text(x->name, name),
                     safe_entry_text(x, text), what);
}

bool safe_values_real(const SafeBytes *b, const SafeEntry *x, real *out, int64_t count, Error *e) {
    if (!is_real(x)) return unfit(b->path, x, e, "F16, BF16, F32 or F64 was wanted");
    if (count != safe_entry_count(x)) die("safe_read_real: room for %" PRId64 " elements", count);
    if (x->type == type_of_real()) return b->get(b->self, x, 0, out, (size_t)x->size, e);
    Tensor t = {.dtype = DT_F32, .ndim = 1, .dim = {count}, .data = out};
    return convert(b, x, &t, e);
}

bool safe_values_fit(const char *path, const SafeEntry *x, const Tensor *t, Error *e) {
    char want[96], text[160];
    bool type = t->dtype == DT_I32  ? x->type == SAFE_I32
                : t->dtype == DT_U8 ? x->type == SAFE_U8 || x->type == SAFE_BOOL
                                    : is_real(x);
    bool shape = x->ndim == t->ndim;
    for (int i = 0; shape && i < t->ndim; i++) shape = x->dim[i] == t->dim[i];
    if (type && shape) return true;
    snprintf(text, sizeof text, "%s was wanted", tensor_text(t, want));
    return unfit(path, x, e, text);
}

bool safe_values_read(const SafeBytes *b, const SafeEntry *x, Tensor *t, Error *e) {
    if (!safe_values_fit(b->path, x, t, e)) return false;
    if (t->dtype == DT_F32) return safe_values_real(b, x, tensor_real(t), tensor_count(t), e);
    if (t->dtype == DT_BF16 && x->type != SAFE_BF16) return convert(b, x, t, e);
    return b->get(b->self, x, 0, t->data, tensor_bytes(t), e);
}
